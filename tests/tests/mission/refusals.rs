//! What is refused, and that a refusal starts nothing: no export, no object, no token.

mod token_endpoint;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::Header;
use headgate_testkit::auth::access_token::{self, AccessTokenClaims};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::{Answer, Level};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::jwt;
use crate::stage::{ALL, GROUP, Stage, diagnostics, play, refusal};

#[test]
fn a_revoked_consent_ends_tokens_that_are_still_valid() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        stage.app.revoke(&stage.quiet, &app).await?;
        let issues = refusal(&client.kick_off(&Level::Patient, &[]).await?, 403, &[client.token()])?;
        ensure!(diagnostics(&issues).contains("consent"), "{issues:?}");
        let url = &stage.quiet.token_url;
        let form = app.form(ALL, &app.assertion(url)?);
        let error = stage.app.request_token(url, &form).await?.expect(400)?.json()?;
        ensure!(error["error"] == "unauthorized_client", "{error}");
        stage.assert_quiet(&app).await
    })
}

/// The access token of a client, issued anew by the server's own key with other times.
async fn reissued(stage: &Stage, token: &str, issued_s_ago: i64, lifetime_s: i64) -> Result<String> {
    let mut claims: AccessTokenClaims = serde_json::from_value(jwt::parts(token)?.1)?;
    claims.iat -= issued_s_ago;
    claims.exp = claims.iat + lifetime_s;
    Ok(access_token::issue(&stage.app.signing_key().await?, &claims)?)
}

#[test]
fn an_expired_token_is_refused_with_401_everywhere() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        let unknown = format!("fhir-services/$export-status/{}", "0".repeat(32));
        let fresh = client.with_token(reissued(stage, client.token(), 1700, 1800).await?);
        fresh.poll(&unknown).await?.expect(404)?;
        let stale = client.with_token(reissued(stage, client.token(), 1900, 1800).await?);
        for answer in [
            stale.kick_off(&Level::Patient, &[]).await?,
            stale.poll(&unknown).await?,
            stale.delete(&unknown).await?,
        ] {
            let issues = refusal(&answer, 401, &[stale.token()])?;
            ensure!(diagnostics(&issues).contains("expired"), "{issues:?}");
            let challenge = answer.header("www-authenticate").context("no WWW-Authenticate")?;
            ensure!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
        }
        stage.assert_quiet(&app).await
    })
}

#[test]
fn no_token_a_forged_one_and_an_assertion_are_refused_with_401() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        let url = format!("{}/Patient/$export", stage.quiet.base_url);
        let answer = Answer::to(stage.app.http().get(&url)).await?;
        refusal(&answer, 401, &[])?;
        // No error code where no token came (RFC 6750, section 3.1).
        ensure!(answer.header("www-authenticate") == Some("Bearer"), "{:?}", answer.headers);

        let (header, mut claims) = jwt::parts(client.token())?;
        claims["scope"] = "system/*.rs system/Patient.rs".into();
        let stolen_name = Header { kid: header["kid"].as_str().map(str::to_owned), ..app.key.header() };
        let forged = app.key.sign_with_header(&stolen_name, &claims)?;
        let (message, signature) = client.token().rsplit_once('.').context("no signature")?;
        let unsigned = format!("{message}.");
        let broken = format!("{message}.{}", signature.chars().rev().collect::<String>());
        let assertion = app.assertion(&stage.quiet.token_url)?;
        for wrong in [forged, unsigned, broken, assertion, "no-token-at-all".to_owned()] {
            let answer = client.with_token(wrong.clone()).kick_off(&Level::Patient, &[]).await?;
            refusal(&answer, 401, &[&wrong])?;
            let challenge = answer.header("www-authenticate").context("no WWW-Authenticate")?;
            ensure!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
        }
        stage.assert_quiet(&app).await
    })
}

#[test]
fn a_token_of_another_practice_is_refused_with_403() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.quiet, &app).await?;
        stage.app.consent(&stage.clinic, &app).await?;
        let here = stage.app.client(&stage.quiet, &app).await?;
        let elsewhere = here.with_token(stage.app.token(&stage.clinic, &app, ALL).await?);
        let unknown = format!("fhir-services/$export-status/{}", "0".repeat(32));
        for answer in [
            elsewhere.kick_off(&Level::Patient, &[]).await?,
            elsewhere.poll(&unknown).await?,
            elsewhere.delete(&unknown).await?,
        ] {
            let issues = refusal(&answer, 403, &[elsewhere.token()])?;
            ensure!(diagnostics(&issues).contains("another practice"), "{issues:?}");
        }
        stage.assert_quiet(&app).await
    })
}

#[test]
fn a_type_beyond_the_token_is_insufficient_scope_and_named() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        let narrow = stage.app.token(&stage.quiet, &app, "system/Patient.rs").await?;
        let narrow = client.with_token(narrow);
        let query = [("_type", "Patient,Observation,Goal")];
        let answer = narrow.kick_off(&Level::Patient, &query).await?;
        let issues = refusal(&answer, 403, &[narrow.token()])?;
        let told = diagnostics(&issues);
        ensure!(told.contains("Goal") && told.contains("Observation") && !told.contains("Patient"), "{told}");
        let challenge = answer.header("www-authenticate").context("no WWW-Authenticate")?;
        ensure!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        ensure!(challenge.contains("scope=\"system/Goal.rs system/Observation.rs\""), "{challenge}");
        // Nothing that both the token and the source have.
        let useless = client.with_token(stage.app.token(&stage.quiet, &app, "system/Coverage.rs").await?);
        let answer = useless.kick_off(&Level::Patient, &[]).await?;
        refusal(&answer, 403, &[useless.token()])?;
        let challenge = answer.header("www-authenticate").context("no WWW-Authenticate")?;
        ensure!(challenge.contains("insufficient_scope"), "{challenge}");
        stage.assert_quiet(&app).await
    })
}

#[test]
fn a_manifest_is_not_shown_to_a_token_narrower_than_the_export() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.clinic).await?;
        let status_url = client.start(&Level::Patient, &[("_type", "Patient,Goal")]).await?;
        client.wait_complete(&status_url).await?;
        let narrow = client.with_token(stage.app.token(&stage.clinic, &app, "system/Patient.rs").await?);
        let answer = narrow.poll(&status_url).await?;
        ensure!(diagnostics(&refusal(&answer, 403, &[narrow.token()])?).contains("Goal"));
        ensure!(answer.header("www-authenticate").is_some_and(|c| c.contains("insufficient_scope")));
        client.poll(&status_url).await?.expect(200)?;
        Ok(())
    })
}

#[test]
fn a_foreign_status_id_is_answered_like_an_unknown_one_byte_for_byte() -> Result<()> {
    play(async |stage| {
        let (owner, theirs) = stage.client(&stage.clinic).await?;
        let (_, other) = stage.client(&stage.clinic).await?;
        let status_url = theirs.start(&Level::Patient, &[("_type", "Patient")]).await?;
        let id = status_url.rsplit('/').next().context("no id")?;
        // The owner itself, at another practice.
        stage.app.consent(&stage.quiet, &owner).await?;
        let at_quiet = stage.app.client(&stage.quiet, &owner).await?;

        for client in [&other, &at_quiet] {
            let at = |id: &str| format!("fhir-services/$export-status/{id}");
            for method in [Method::GET, Method::DELETE] {
                let mut answers = Vec::new();
                for id in [id, &"0".repeat(32), "no-export-has-such-an-id"] {
                    let mut answer = Answer::to(client.request(method.clone(), &at(id))).await?;
                    refusal(&answer, 404, &[client.token(), id])?;
                    answer.headers.remove("date");
                    answers.push((answer.status, answer.headers, answer.body));
                }
                ensure!(answers[0] == answers[1], "a foreign id can be told from an unknown one");
                ensure!(answers[0] == answers[2], "a foreign id can be told from a malformed one");
            }
        }
        // It was there all the time.
        theirs.wait_complete(&status_url).await?;
        Ok(())
    })
}

/// Sends a request with exactly these headers beside `Host`; an HTTP client would add an `Accept` of its own.
async fn bare_get(url: &str, headers: &[(&str, &str)]) -> Result<String> {
    let (host, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("not an http URL")?;
    let mut request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn a_kick_off_without_accept_or_prefer_is_told_the_exact_header_to_add() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        let bearer = format!("Bearer {}", client.token());
        const ACCEPT: (&str, &str) = ("Accept", "application/fhir+json");
        const PREFER: (&str, &str) = ("Prefer", "respond-async");
        for level in [Level::System, Level::Patient] {
            let url = format!("{}/{}", stage.quiet.base_url, level.path());
            for (sent, asks_for) in [
                (&[PREFER][..], &["`Accept: application/fhir+json`"][..]),
                (&[("Accept", "text/html"), PREFER], &["`Accept: application/fhir+json`"]),
                (&[ACCEPT], &["`Prefer: respond-async`"]),
                (&[ACCEPT, ("Prefer", "handling=lenient")], &["`Prefer: respond-async`"]),
                (&[], &["`Accept: application/fhir+json`", "`Prefer: respond-async`"]),
            ] {
                let mut headers = vec![("Authorization", bearer.as_str())];
                headers.extend(sent);
                let answer = bare_get(&url, &headers).await?;
                ensure!(answer.starts_with("HTTP/1.1 400 "), "{sent:?}: {answer}");
                let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
                let outcome: Value = serde_json::from_str(body)?;
                let issues = outcome["issue"].as_array().context("no issue")?;
                ensure!(issues.len() == asks_for.len(), "{sent:?}: {body}");
                for (issue, header) in issues.iter().zip(asks_for) {
                    ensure!(issue["code"] == "required", "{body}");
                    ensure!(issue["diagnostics"].as_str().is_some_and(|d| d.contains(header)), "{body}");
                }
                ensure!(!answer.contains(client.token()));
            }
        }
        stage.assert_quiet(&app).await
    })
}

#[test]
fn parameters_that_are_unknown_or_malformed_are_refused_by_name() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        for (name, value, told) in [
            ("_type", "MissingType", "MissingType"),
            ("_type", "Patient,patient", "patient"),
            ("_type", "Coverage", "Coverage"),
            ("_type", "", "_type"),
            ("_typeFilter", "Patient?active:not=true", "_typeFilter"),
            ("_elements", "Patient.name.family", "_elements"),
            ("organizeOutputBy", "Patient", "organizeOutputBy"),
            ("patient", "Patient/x", "patient"),
            ("_Since", "2022-10-01T00:00:00Z", "_Since"),
            ("_since", "2022-10-01", "_since"),
            ("_since", "yesterday", "_since"),
            ("_since", "", "_since"),
            ("_since", "0000-60-01T30:70:80+05:00", "_since"),
            ("_since", "2022-10-01T24:00:00Z", "_since"),
            ("_since", "2057-01-01T00:00:00Z", "_since"),
            ("_since", "infinity", "_since"),
        ] {
            for level in [Level::System, Level::Patient] {
                let answer = client.kick_off(&level, &[(name, value)]).await?;
                let issues =
                    refusal(&answer, 400, &[client.token()]).with_context(|| format!("{name}={value}"))?;
                ensure!(diagnostics(&issues).contains(told), "{name}={value}: {issues:?}");
            }
        }
        // Everything that is wrong is told at once.
        let query =
            [("_type", "MissingType"), ("_since", "2022-10-01"), ("_elements", "Patient.name.family")];
        let issues = refusal(&client.kick_off(&Level::System, &query).await?, 400, &[client.token()])?;
        ensure!(issues.len() == 3, "{issues:?}");
        stage.assert_quiet(&app).await
    })
}

#[test]
fn an_unknown_group_and_one_that_consent_does_not_cover_are_the_same_404() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent_with(&stage.clinic, &app, json!({ "group_ids": ["1.2.3"] })).await?;
        let client = stage.app.client(&stage.clinic, &app).await?;
        let mut bodies = Vec::new();
        for id in [GROUP, "1.2.3", "9.9.9"] {
            let answer = client.kick_off(&Level::Group(id.to_owned()), &[]).await?;
            refusal(&answer, 404, &[client.token(), id])?;
            bodies.push(answer.body);
        }
        ensure!(bodies.iter().all(|body| *body == bodies[0]), "groups can be told apart");
        // A consent for groups opens neither all patients nor everything.
        for level in [Level::Patient, Level::System] {
            let issues = refusal(&client.kick_off(&level, &[]).await?, 403, &[client.token()])?;
            ensure!(diagnostics(&issues).contains("Group/[id]/$export"), "{issues:?}");
        }
        ensure!(stage.exports_of(&app).await? == 0);
        Ok(())
    })
}

#[test]
fn a_practice_whose_source_was_never_read_answers_503_transient() -> Result<()> {
    play(async |stage| {
        let number = stage.number();
        let practice = json!({
            "number": number,
            "slug": format!("dark{number}"),
            "name": "Dark",
            "base_url": format!("{}/dark{number}/fhir/r4", stage.app.public_url()),
            "source": { "dsn_ref": "env:NOT_SET_FOR_ANY_TEST" },
        });
        let practice = stage.app.admin().post("practices", &practice).await?.expect(201)?.json()?;
        let app = stage.app.vendor_app(&[ALL]).await?;
        let consent = json!({ "client_id": app.client_id });
        stage.app.admin().post(&format!("practices/{number}/consents"), &consent).await?.expect(201)?;
        let url = practice["token_url"].as_str().context("no token_url")?;
        let form = app.form(ALL, &app.assertion(url)?);
        let token = stage.app.request_token(url, &form).await?.expect(200)?.json()?;
        let token = token["access_token"].as_str().context("no access_token")?;
        let base_url = practice["base_url"].as_str().context("no base_url")?;
        let request = stage.app.http().get(format!("{base_url}/Patient/$export")).bearer_auth(token);
        let request = request.header("Accept", "application/fhir+json").header("Prefer", "respond-async");
        let answer = Answer::to(request).await?;
        let issues = refusal(&answer, 503, &[token])?;
        ensure!(issues[0]["code"] == "transient", "{issues:?}");
        let pause: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
        ensure!(pause > 0);
        ensure!(stage.exports_of(&app).await? == 0);
        Ok(())
    })
}

#[test]
fn what_is_no_operation_is_404_and_a_wrong_method_405() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        for path in ["", "Patient", "Patient/1", "Group/1/$exports", "$export/", "metadata/"] {
            let answer = Answer::to(client.request(Method::GET, path)).await?;
            refusal(&answer, 404, &[client.token()]).with_context(|| path.to_owned())?;
        }
        for (method, path, allowed) in [
            (Method::PUT, "$export", "GET, POST"),
            (Method::DELETE, "Patient/$export", "GET, POST"),
            (Method::PUT, "fhir-services/$export-status/1", "GET, DELETE"),
            (Method::POST, "metadata", "GET, HEAD"),
        ] {
            let answer = Answer::to(client.request(method, path)).await?;
            refusal(&answer, 405, &[client.token()]).with_context(|| path.to_owned())?;
            ensure!(answer.header("allow") == Some(allowed), "{:?}", answer.headers);
        }
        stage.assert_quiet(&app).await
    })
}

#[test]
fn the_logs_hold_no_token_no_assertion_no_query_and_no_patient() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        let url = &stage.quiet.token_url;
        let assertion = app.assertion(url)?;
        stage.app.request_token(url, &app.form("system/Nothing.rs", &assertion)).await?.expect(400)?;
        stage.app.request_token(url, &app.form(ALL, &assertion)).await?.expect(200)?;
        stage.app.request_token(url, &app.form(ALL, &assertion)).await?.expect(400)?;
        let query = [("_since", "not-an-instant-4242"), ("patient", "Patient/phi-4711")];
        client.kick_off(&Level::Patient, &query).await?.expect(400)?;
        let logs = stage.app.logs();
        ensure!(logs.contains("kick_off"), "the requests are logged");
        for secret in [assertion.as_str(), client.token(), "not-an-instant-4242", "phi-4711"] {
            ensure!(!logs.contains(secret), "the logs hold {secret}");
        }
        stage.assert_quiet(&app).await
    })
}

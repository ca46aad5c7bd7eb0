//! What the token endpoint refuses. No refusal gives a token, and none uses an assertion up.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headgate_testkit::auth::{Algorithm, Header, PrivateKey};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle};

use crate::stage::{ALL, Stage, play};

/// The error of a refusal at the token endpoint (RFC 6749, section 5.2). Fails unless it says something, and
/// repeats nothing secret.
fn oauth_refusal(answer: &Answer, assertion: &str) -> Result<Value> {
    let text = answer.text();
    ensure!(answer.status == 400, "status {}: {text}", answer.status);
    ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
    ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
    let error = answer.json()?;
    ensure!(error["access_token"].is_null(), "a refusal with a token");
    ensure!(error["error_description"].as_str().is_some_and(|d| d.split(' ').count() > 2), "{text}");
    ensure!(assertion.is_empty() || !text.contains(assertion), "the assertion is repeated");
    Ok(error)
}

#[test]
fn without_consent_both_token_endpoints_refuse_the_client() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        for url in [&stage.shared_token_url(), &stage.quiet.token_url] {
            let assertion = app.assertion(url)?;
            let answer = stage.app.request_token(url, &app.form(ALL, &assertion)).await?;
            let error = oauth_refusal(&answer, &assertion)?;
            ensure!(error["error"] == "unauthorized_client", "{error}");
            let told = error["error_description"].as_str().unwrap_or_default();
            ensure!(told.contains("client id"), "it says what to do: {told}");
        }
        ensure!(stage.tokens_of(&app).await? == 0);
        stage.assert_quiet(&app).await
    })
}

/// The error of a token request with an assertion of one's own making.
async fn refused_assertion(stage: &Stage, app: &AppHandle, assertion: &str) -> Result<Value> {
    let url = &stage.quiet.token_url;
    let answer = stage.app.request_token(url, &app.form(ALL, assertion)).await?;
    let error = oauth_refusal(&answer, assertion)?;
    ensure!(error["error"] == "invalid_client", "{error}");
    Ok(error)
}

#[test]
fn an_assertion_is_good_once() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.quiet, &app).await?;
        let url = &stage.quiet.token_url;
        let claims = app.claims(url);
        let assertion = app.key.sign(&claims)?;
        stage.app.request_token(url, &app.form(ALL, &assertion)).await?.expect(200)?;
        let error = refused_assertion(stage, &app, &assertion).await?;
        ensure!(error["error_description"].as_str().is_some_and(|d| d.contains("jti")), "{error}");
        // The same id in another assertion does not pass either.
        let mut again = claims.clone();
        again["exp"] = (again["exp"].as_i64().unwrap_or_default() - 1).into();
        refused_assertion(stage, &app, &app.key.sign(&again)?).await?;
        ensure!(stage.tokens_of(&app).await? == 1);
        // Nor at once: of many that arrive together, one passes.
        let assertion = app.assertion(url)?;
        let form = app.form(ALL, &assertion);
        let (a, b, c, d) = tokio::join!(
            stage.app.request_token(url, &form),
            stage.app.request_token(url, &form),
            stage.app.request_token(url, &form),
            stage.app.request_token(url, &form),
        );
        let mut statuses = [a?.status, b?.status, c?.status, d?.status];
        statuses.sort_unstable();
        ensure!(statuses == [200, 400, 400, 400], "{statuses:?}");
        ensure!(stage.tokens_of(&app).await? == 2);
        Ok(())
    })
}

#[test]
fn claims_that_do_not_prove_the_client_are_invalid_client() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.quiet, &app).await?;
        let url = stage.quiet.token_url.as_str();
        let now = app.claims(url)["iat"].as_i64().context("no iat")?;
        let other = stage.app.vendor_app(&[ALL]).await?;
        for (member, value, told) in [
            ("aud", json!(stage.quiet.base_url), "aud"),
            ("aud", json!(stage.shared_token_url()), "aud"),
            ("aud", json!(format!("{url}/")), "aud"),
            ("aud", json!([url, "https://elsewhere.example/token"]), "aud"),
            ("aud", Value::Null, "aud"),
            ("exp", json!(now + 3600), "5 minutes"),
            ("exp", json!(now - 3600), "expired"),
            ("exp", json!("tomorrow"), "exp"),
            ("exp", Value::Null, "exp"),
            ("nbf", json!(now + 3600), "nbf"),
            ("iat", json!(now + 3600), "iat"),
            ("jti", Value::Null, "jti"),
            ("jti", json!(""), "jti"),
            ("jti", json!("x".repeat(256)), "jti"),
            ("sub", json!(other.client_id), "sub"),
            ("sub", Value::Null, "sub"),
            ("iss", json!(other.client_id), "iss"),
            ("iss", json!("fhir00"), "iss"),
        ] {
            let mut claims = app.claims(url);
            match value {
                Value::Null => drop(claims.as_object_mut().context("an object")?.remove(member)),
                ref value => claims[member] = value.clone(),
            }
            let error = refused_assertion(stage, &app, &app.key.sign(&claims)?)
                .await
                .with_context(|| format!("{member}: {value}"))?;
            let description = error["error_description"].as_str().unwrap_or_default();
            ensure!(description.contains(told), "{member}: {value}: {description}");
        }
        ensure!(stage.tokens_of(&app).await? == 0 && stage.tokens_of(&other).await? == 0);
        stage.assert_quiet(&app).await
    })
}

#[test]
fn keys_and_headers_that_do_not_prove_the_client_are_invalid_client() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.quiet, &app).await?;
        let url = &stage.quiet.token_url;
        let signed = |header: Header| app.key.sign_with_header(&header, &app.claims(url));
        let kid = |kid: Option<&str>| Header { kid: kid.map(str::to_owned), ..app.key.header() };
        let stranger = PrivateKey::generate(Algorithm::Es384)?;
        let (message, _) = app
            .assertion(url)?
            .rsplit_once('.')
            .map(|(m, s)| (m.to_owned(), s.to_owned()))
            .context("a JWT")?;
        let none = {
            let header = json!({ "typ": "JWT", "alg": "none", "kid": app.key.kid() });
            format!("{}.{}.", encoded(&header), encoded(&app.claims(url)))
        };
        for (assertion, told) in [
            (signed(kid(Some("no-such-key")))?, "kid"),
            (signed(kid(None))?, "kid"),
            (signed(Header { typ: Some("at+jwt".into()), ..app.key.header() })?, "typ"),
            (signed(Header { jku: Some("https://evil.example/jwks".into()), ..app.key.header() })?, "jku"),
            (stranger.sign(&app.claims(url))?, "kid"),
            (stranger.sign_with_header(&app.key.header(), &app.claims(url))?, "signature"),
            (format!("{message}.{}", "A".repeat(128)), "signature"),
            (format!("{message}."), ""),
            (none, "alg"),
            ("not.a.jwt".to_owned(), "JWT"),
            ("x".repeat(9000), "8192"),
        ] {
            let error = refused_assertion(stage, &app, &assertion).await.with_context(|| told.to_owned())?;
            let description = error["error_description"].as_str().unwrap_or_default();
            ensure!(description.contains(told), "{told}: {description}");
        }
        ensure!(stage.tokens_of(&app).await? == 0);
        stage.assert_quiet(&app).await
    })
}

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[test]
fn a_token_request_that_is_no_proper_form_is_refused() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.quiet, &app).await?;
        let url = &stage.quiet.token_url;
        let assertion = app.assertion(url)?;
        let good = app.form(ALL, &assertion);
        // A JSON body, with everything in it.
        let body: Value =
            good.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let answer = Answer::to(stage.app.http().post(url).json(&body)).await?;
        let error = oauth_refusal(&answer, &assertion)?;
        ensure!(error["error"] == "invalid_request", "{error}");
        let told = error["error_description"].as_str().unwrap_or_default();
        ensure!(told.contains("application/x-www-form-urlencoded"), "{told}");

        let changed = |name: &str, value: Option<&str>| {
            let mut form = good.clone();
            form.retain(|(n, _)| n != name);
            form.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            form
        };
        let twice = |name: &str, value: &str| {
            let mut form = good.clone();
            form.push((name.to_owned(), value.to_owned()));
            form
        };
        for (form, code) in [
            (changed("grant_type", None), "invalid_request"),
            (changed("grant_type", Some("password")), "unsupported_grant_type"),
            (changed("client_assertion_type", Some("jwt")), "invalid_client"),
            (changed("client_assertion", None), "invalid_client"),
            (changed("client_id", Some(&format!("fhir{}", "0".repeat(50)))), "invalid_client"),
            (changed("scope", None), "invalid_scope"),
            (changed("scope", Some("system/Patient.write")), "invalid_scope"),
            (changed("scope", Some("system/Patient.rs launch/patient")), "invalid_scope"),
            (changed("scope", Some("user/Patient.rs")), "invalid_scope"),
            (changed("scope", Some("system/Nothing.rs")), "invalid_scope"),
            (twice("scope", "system/Patient.rs"), "invalid_request"),
            (twice("client_assertion", "a.b.c"), "invalid_request"),
            (twice("resource", &stage.clinic.base_url), "invalid_target"),
        ] {
            let answer = stage.app.request_token(url, &form).await?;
            let error = oauth_refusal(&answer, &assertion).with_context(|| code.to_owned())?;
            ensure!(error["error"] == code, "{code}: {error}");
        }
        ensure!(stage.tokens_of(&app).await? == 0);
        // None of them used the assertion up.
        stage.app.request_token(url, &good).await?.expect(200)?;
        stage.assert_quiet(&app).await
    })
}

#[test]
fn scopes_that_the_consent_does_not_cover_give_no_token() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent_with(&stage.quiet, &app, json!({ "scopes": "system/Patient.rs" })).await?;
        let url = &stage.quiet.token_url;
        let answer = stage.app.request_token(url, &app.form("system/Goal.rs", &app.assertion(url)?)).await?;
        let error = oauth_refusal(&answer, "")?;
        ensure!(error["error"] == "invalid_scope", "{error}");
        ensure!(stage.tokens_of(&app).await? == 0);
        Ok(())
    })
}

//! Client assertions over HTTP (SMART App Launch, Client Authentication: Asymmetric; RFC 7523), and the token request
//! around them (SMART Backend Services, Obtain Access Token; RFC 6749, sections 4.4 and 5).

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::{Algorithm, PrivateKey};
use headgate_testkit::reqwest::{self, Method};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, Settings};

use crate::forge;
use crate::scene::{ALL, Scene, key_set, oauth_error, play, text};

/// Assertions that must not pass, by what is wrong with them.
type Wrong = Vec<(String, String)>;

/// Has each refused at an endpoint as `invalid_client`; afterwards a good one passes, so it was their own fault.
async fn all_refused(scene: &Scene, app: &AppHandle, url: &str, wrong: Wrong) -> Result<()> {
    let before = scene.tokens_of(app).await?;
    for (what, assertion) in wrong {
        let answer = scene.ask(app, url, &assertion).await?;
        let error = oauth_error(&answer, &assertion).with_context(|| what.clone())?;
        ensure!(error["error"] == "invalid_client", "{what}: {error}");
    }
    ensure!(scene.tokens_of(app).await? == before, "a token was issued");
    scene.ask(app, url, &app.assertion(url)?).await?.expect(200)?;
    Ok(())
}

/// Runs a table at the shared endpoint and at the practice's own.
fn at_both(table: impl Fn(&Scene, &AppHandle, &str) -> Result<Wrong>) -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        for url in [scene.shared_token_url(), scene.clinic.token_url.clone()] {
            let wrong = table(scene, &app, &url)?;
            all_refused(scene, &app, &url, wrong).await.with_context(|| format!("at {url}"))?;
        }
        Ok(())
    })
}

fn header(app: &AppHandle) -> Value {
    json!({ "alg": "ES384", "typ": "JWT", "kid": app.key.kid() })
}

/// Assertions with one claim after the other replaced (null: taken out), rightly signed.
fn with_claims(app: &AppHandle, url: &str, claim: &str, values: Vec<Value>) -> Result<Wrong> {
    values
        .into_iter()
        .map(|value| {
            let mut claims = app.claims(url);
            let what = format!("{claim} {:.60}", value.to_string());
            match value {
                Value::Null => drop(claims.as_object_mut().context("an object")?.remove(claim)),
                value => claims[claim] = value,
            }
            Ok((what, app.key.sign(&claims)?))
        })
        .collect()
}

/// Assertions whose header has a member more or another value, rightly signed.
fn with_header(app: &AppHandle, url: &str, member: &str, values: Vec<Value>) -> Result<Wrong> {
    let changed = |value: Value| {
        let mut header = header(app);
        header[member] = value.clone();
        let message = forge::message(&header, &app.claims(url));
        Ok((format!("{member} {:.60}", value.to_string()), forge::with_key(&app.key, &message)?))
    };
    values.into_iter().map(changed).collect()
}

#[test]
fn a_signature_of_another_kind_than_the_keys_does_not_pass() -> Result<()> {
    at_both(|_, app, url| {
        let claims = app.claims(url);
        let with_alg = |alg: &str| json!({ "alg": alg, "typ": "JWT", "kid": app.key.kid() });
        let public = app.key.public_jwk().to_json();
        let signed = |alg: &str| forge::with_key(&app.key, &forge::message(&with_alg(alg), &claims));
        let mut wrong: Wrong = Vec::new();
        for none in ["none", "None", "NONE", ""] {
            wrong.push((format!("unsigned {none}"), forge::unsigned(&with_alg(none), &claims)));
            wrong.push((none.to_owned(), signed(none)?));
        }
        for key in [public.to_string().into_bytes(), text(&public, "x")?.as_bytes().to_vec(), Vec::new()] {
            wrong.push((
                "HMAC with the public key".to_owned(),
                forge::with_hmac(&key, &with_alg("HS256"), &claims),
            ));
        }
        for alg in ["RS384", "ES256", "ES512", "RS256", "PS384", "HS384", "es384", "EdDSA"] {
            wrong.push((alg.to_owned(), signed(alg)?));
        }
        wrong.push(("ES256 on P-256".to_owned(), forge::with_p256(&with_alg("ES256"), &claims)?));
        wrong.push(("P-256 as ES384".to_owned(), forge::with_p256(&with_alg("ES384"), &claims)?));
        Ok(wrong)
    })
}

#[test]
fn the_algorithm_has_to_fit_the_registered_key_whichever_it_is() -> Result<()> {
    play(async |scene| {
        let url = &scene.clinic.token_url;
        let app = scene.app.vendor_app_with(&[ALL], PrivateKey::generate(Algorithm::Rs384)?).await?;
        scene.app.consent(&scene.clinic, &app).await?;
        let claims = app.claims(url);
        let good = app.key.sign(&claims)?;
        let as_ec = forge::message(&header(&app), &claims);
        // An elliptic key of somebody else, under the name of the RSA key.
        let stranger = PrivateKey::generate(Algorithm::Es384)?;
        let mut named = stranger.header();
        named.kid = Some(app.key.kid().to_owned());
        let wrong = vec![
            ("RSA as ES384".to_owned(), format!("{as_ec}.{}", forge::signature(&good)?)),
            ("another family".to_owned(), stranger.sign_with_header(&named, &claims)?),
        ];
        all_refused(scene, &app, url, wrong).await
    })
}

#[test]
fn the_audience_is_the_url_of_the_endpoint_and_nothing_like_it() -> Result<()> {
    at_both(|scene, app, url| {
        let one = if url == scene.clinic.token_url {
            scene.shared_token_url()
        } else {
            scene.clinic.token_url.clone()
        };
        let (_, after_host) = url.split_once("127.0.0.1").context("a host")?;
        with_claims(
            app,
            url,
            "aud",
            vec![
                Value::Null,
                json!(""),
                json!(one),
                json!(scene.other.token_url),
                json!(scene.clinic.base_url),
                json!(scene.app.public_url()),
                json!(format!("{url}/")),
                json!(format!("{url}?")),
                json!(format!("{url}#a")),
                json!(format!(" {url}")),
                json!(url.to_uppercase()),
                json!(url.replacen("http:", "HTTP:", 1)),
                json!(url.replacen("http:", "https:", 1)),
                json!(url.replace("/token", "/%74oken")),
                json!(format!("http://localhost{after_host}")),
                json!([url, "https://elsewhere.example/token"]),
                json!([url, url]),
                json!([]),
                json!([[url]]),
                json!({ "url": url }),
                json!(7),
                json!(true),
            ],
        )
    })
}

#[test]
fn times_that_are_missing_past_or_too_far_ahead_do_not_pass() -> Result<()> {
    at_both(|_, app, url| {
        let now = app.claims(url)["iat"].as_i64().context("no iat")?;
        let mut wrong = with_claims(
            app,
            url,
            "exp",
            vec![
                Value::Null,
                json!(now - 61),
                json!(now + 365),
                json!(now + 86_400),
                json!(0),
                json!(-1),
                json!(-1e308),
                json!(1e308),
                json!(u64::MAX),
                json!((now + 60) * 1000),
                json!((now + 60).to_string()),
                json!([now + 60]),
                json!(true),
            ],
        )?;
        let ahead = vec![json!(now + 90), json!(1e308), json!("soon"), json!({})];
        wrong.extend(with_claims(app, url, "nbf", ahead.clone())?);
        wrong.extend(with_claims(app, url, "iat", ahead)?);
        // A number that JSON has and no float can hold.
        let claims = app.claims(url);
        let exp = format!("\"exp\":{}", claims["exp"]);
        let claims = claims.to_string().replace(&exp, "\"exp\":1e999");
        ensure!(claims.contains("1e999"), "the claims are written otherwise now");
        let message = forge::message_of(&header(app).to_string(), &claims);
        wrong.push(("exp 1e999".to_owned(), forge::with_key(&app.key, &message)?));
        Ok(wrong)
    })
}

#[test]
fn an_exp_of_exactly_five_minutes_passes_and_neither_iat_nor_nbf_is_needed() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        let mut claims = app.claims(url);
        claims["exp"] = (claims["iat"].as_i64().context("no iat")? + 300).into();
        claims.as_object_mut().context("an object")?.remove("iat");
        scene.ask(&app, url, &app.key.sign(&claims)?).await?.expect(200)?;
        // One audience may stand in an array.
        let mut claims = app.claims(url);
        claims["aud"] = json!([url]);
        scene.ask(&app, url, &app.key.sign(&claims)?).await?.expect(200)?;
        // What the tables of this page forge passes where nothing is wrong with it.
        let message = forge::message(&header(&app), &app.claims(url));
        scene.ask(&app, url, &forge::with_key(&app.key, &message)?).await?.expect(200)?;
        Ok(())
    })
}

#[test]
fn who_the_assertion_is_from_and_its_id_are_texts_of_the_registered_app() -> Result<()> {
    at_both(|_, app, url| {
        let wrong_ids = vec![
            Value::Null,
            json!(""),
            json!("x".repeat(256)),
            json!(7),
            json!({}),
            json!("a\0b"),
            json!([]),
        ];
        let mut wrong = with_claims(app, url, "jti", wrong_ids)?;
        let unknown = format!("fhir{}", "0".repeat(50));
        let upper = app.client_id.to_uppercase();
        let names =
            vec![Value::Null, json!(""), json!(unknown), json!(upper), json!([app.client_id]), json!(7)];
        wrong.extend(with_claims(app, url, "sub", names.clone())?);
        wrong.extend(with_claims(app, url, "iss", names)?);
        Ok(wrong)
    })
}

#[test]
fn a_key_id_chooses_exactly_one_registered_key_and_is_never_more_than_a_name() -> Result<()> {
    at_both(|_, app, url| {
        let kids = vec![
            json!("unknown"),
            json!(""),
            json!("../../x"),
            json!("' OR '1'='1"),
            json!("'; DROP TABLE headgate.app_key; --"),
            json!(format!("{}\0", app.key.kid())),
            json!(app.key.kid().to_uppercase()),
            json!("k".repeat(300)),
            json!("k".repeat(5_000)),
            json!([app.key.kid()]),
            json!(7),
            Value::Null,
        ];
        let mut wrong = with_header(app, url, "kid", kids)?;
        // Twice: the last one counts (RFC 7515, section 4).
        let twice = format!(r#"{{"alg":"ES384","kid":"{}","typ":"JWT","kid":"x"}}"#, app.key.kid());
        let message = forge::message_of(&twice, &app.claims(url).to_string());
        wrong.push(("kid twice".to_owned(), forge::with_key(&app.key, &message)?));
        Ok(wrong)
    })
}

#[test]
fn a_key_id_of_a_megabyte_is_refused_and_the_next_request_is_answered() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        let header = json!({ "alg": "ES384", "typ": "JWT", "kid": "k".repeat(1 << 20) });
        let assertion = format!("{}.{}", forge::message(&header, &app.claims(url)), "A".repeat(128));
        // It is refused while it is still being sent, so the answer may not be seen.
        if let Ok(answer) = scene.ask(&app, url, &assertion).await {
            let answer = answer.expect(413)?;
            ensure!(answer.json()?["error"] == "invalid_request", "{}", answer.text());
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        scene.ask(&app, url, &app.assertion(url)?).await?.expect(200)?;
        Ok(())
    })
}

#[test]
fn keys_and_places_that_an_assertion_brings_along_are_never_used() -> Result<()> {
    at_both(|_, app, url| {
        let stranger = PrivateKey::generate(Algorithm::Es384)?;
        let claims = app.claims(url);
        let mut wrong: Wrong = Vec::new();
        for (member, value) in [
            ("jwk", stranger.public_jwk().to_json()),
            ("jku", json!("https://evil.example/jwks.json")),
            ("jku", json!("")),
            ("jku", json!(["https://evil.example/jwks.json"])),
            ("x5u", json!("https://evil.example/chain.pem")),
            ("x5c", json!(["MIIB"])),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
        ] {
            let mut header = header(app);
            header[member] = value;
            let named = forge::message(&header, &claims);
            wrong.push((format!("{member} of a stranger"), forge::with_key(&stranger, &named)?));
            // Even beside the right signature: what must not be there is not ignored.
            wrong.push((member.to_owned(), forge::with_key(&app.key, &named)?));
        }
        Ok(wrong)
    })
}

#[test]
fn of_a_hundred_uses_of_an_assertion_at_two_processes_exactly_one_gives_a_token() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        let second = scene.app.start_second_api(&Settings::new()).await?;
        let assertion = app.assertion(url)?;
        let form = app.form(ALL, &assertion);
        let requests = (0..100).map(|n| {
            let (http, url) =
                if n % 2 == 0 { (scene.app.http(), url.clone()) } else { (second.http(), second.url(url)) };
            tokio::spawn(Answer::to(http.post(url).form(&form)))
        });
        let mut tokens = 0;
        for request in requests.collect::<Vec<_>>() {
            let answer = request.await??;
            match answer.status {
                200 => tokens += 1,
                _ => ensure!(
                    oauth_error(&answer, &assertion)?["error"] == "invalid_client",
                    "{}",
                    answer.text()
                ),
            }
        }
        ensure!(tokens == 1 && scene.tokens_of(&app).await? == 1, "{tokens} tokens");
        // It is used up in both, and a new one is good in both.
        for (http, url_there) in [(scene.app.http(), url.clone()), (second.http(), second.url(url))] {
            let again = Answer::to(http.post(&url_there).form(&form)).await?;
            oauth_error(&again, &assertion)?;
            Answer::to(http.post(&url_there).form(&app.form(ALL, &app.assertion(url)?)))
                .await?
                .expect(200)?;
        }
        Ok(())
    })
}

#[test]
fn a_jti_counts_for_each_client_apart() -> Result<()> {
    play(async |scene| {
        let url = &scene.clinic.token_url;
        for app in [scene.consented(&scene.clinic).await?, scene.consented(&scene.clinic).await?] {
            let mut claims = app.claims(url);
            claims["jti"] = "the same".into();
            scene.ask(&app, url, &app.key.sign(&claims)?).await?.expect(200)?;
        }
        Ok(())
    })
}

#[test]
fn a_resource_that_belongs_to_somebody_else_is_refused_as_one_that_does_not_exist() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let ask = async |url: &str, resources: &[&str]| {
            let mut form = app.form(ALL, &app.assertion(url)?);
            form.extend(resources.iter().map(|value| ("resource".to_owned(), (*value).to_owned())));
            scene.app.request_token(url, &form).await
        };
        let unknown = format!("{}/nobody/fhir/r4", scene.app.public_url());
        for url in [scene.shared_token_url(), scene.clinic.token_url.clone()] {
            let foreign = ask(&url, &[&scene.other.base_url]).await?;
            ensure!(oauth_error(&foreign, "")?["error"] == "invalid_target", "{}", foreign.text());
            ensure!(foreign.body == ask(&url, &[&unknown]).await?.body, "{}", foreign.text());
            ensure!(!foreign.text().contains(&scene.other.base_url), "{}", foreign.text());
            for wrong in [&["not a url"][..], &["*"], &[&scene.clinic.base_url, &scene.other.base_url]] {
                let answer = ask(&url, wrong).await?;
                let error = oauth_error(&answer, "")?;
                ensure!(["invalid_target", "invalid_request"].contains(&text(&error, "error")?), "{error}");
            }
            ask(&url, &[&scene.clinic.base_url]).await?.expect(200)?;
        }
        Ok(())
    })
}

/// Scopes of no kind that a system may be granted.
const INVALID_SCOPES: [&str; 25] = [
    "",
    " ",
    "launch fhirUser",
    "system/UnknownResource.read",
    "system/UnknownResource.r",
    "system/Patient.unknownAction",
    "system/Patient.xyz",
    "system/Patient.write",
    "system/Patient.c",
    "system/Patient.u",
    "system/Patient.d",
    "system/Patient.cud",
    "system/Patient.sr",
    "system/Patient.",
    "system/Patient",
    "system/.rs",
    "patient/Patient.rs",
    "user/*.rs",
    "openid",
    "offline_access",
    "system/patient.rs",
    "system/Patient.rs\u{a0}system/Goal.rs",
    "system/Patient.rs,system/Goal.rs",
    "system/*.rs' OR 1=1",
    "\u{202e}",
];

#[test]
fn scopes_that_are_not_for_reading_by_a_system_are_invalid_and_the_others_are_granted() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        for scope in INVALID_SCOPES {
            let answer = scene.app.request_token(url, &app.form(scope, &app.assertion(url)?)).await?;
            let error = oauth_error(&answer, "").with_context(|| scope.to_owned())?;
            ensure!(error["error"] == "invalid_scope", "{scope}: {error}");
        }
        for (asked, granted) in [
            (
                "system/Patient.read system/Observation.rs",
                ["system/Patient.read", "system/Observation.rs"].as_slice(),
            ),
            ("system/*.read", &["system/*.read"]),
            ("system/*.rs", &["system/*.rs"]),
        ] {
            let answer = scene
                .app
                .request_token(url, &app.form(asked, &app.assertion(url)?))
                .await?
                .expect(200)?
                .json()?;
            let scope = text(&answer, "scope")?;
            let mut got: Vec<&str> = scope.split(' ').collect();
            let mut wanted = granted.to_vec();
            got.sort_unstable();
            wanted.sort_unstable();
            ensure!(got == wanted, "{asked}: {scope}");
        }
        // Beyond reading nothing is ever granted, whether the request is refused or cut down.
        for asked in
            ["system/*.*", "system/*.cruds", "system/Patient.*", "system/Patient.cruds", "system/Patient.crs"]
        {
            let answer = scene.app.request_token(url, &app.form(asked, &app.assertion(url)?)).await?;
            match answer.status {
                200 => {
                    let answer = answer.json()?;
                    let scope = text(&answer, "scope")?;
                    ensure!(
                        scope
                            .split(' ')
                            .all(|s| s.ends_with(".rs") || s.ends_with(".read") || s.ends_with(".r")),
                        "{asked}: {scope}"
                    );
                }
                _ => ensure!(
                    oauth_error(&answer, "")?["error"] == "invalid_scope",
                    "{asked}: {}",
                    answer.text()
                ),
            }
        }
        Ok(())
    })
}

#[test]
fn a_token_request_is_a_form_with_every_field_by_post() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        for url in [scene.shared_token_url(), scene.clinic.token_url.clone()] {
            let assertion = app.assertion(&url)?;
            let form = app.form(ALL, &assertion);
            for (missing, code) in [
                ("grant_type", "invalid_request"),
                ("client_assertion_type", "invalid_client"),
                ("client_assertion", "invalid_client"),
                ("scope", "invalid_scope"),
            ] {
                for empty in [false, true] {
                    let mut form = form.clone();
                    match empty {
                        false => form.retain(|(name, _)| name != missing),
                        true => {
                            form.iter_mut().filter(|(name, _)| name == missing).for_each(|(_, v)| v.clear())
                        }
                    }
                    let answer = scene.app.request_token(&url, &form).await?;
                    let error = oauth_error(&answer, &assertion).with_context(|| missing.to_owned())?;
                    ensure!(error["error"] == code, "{missing}: {error}");
                }
            }
            for grant in ["authorization_code", "password", "refresh_token", "CLIENT_CREDENTIALS"] {
                let mut form = form.clone();
                form.retain(|(name, _)| name != "grant_type");
                form.push(("grant_type".to_owned(), grant.to_owned()));
                let answer = scene.app.request_token(&url, &form).await?;
                ensure!(oauth_error(&answer, &assertion)?["error"] == "unsupported_grant_type", "{grant}");
            }
            // In a URL an assertion would stand in logs.
            let with_form = reqwest::Url::parse_with_params(&url, &form)?;
            let got = Answer::to(scene.app.http().get(with_form)).await?.expect(405)?;
            ensure!(got.header("allow").is_some_and(|allow| allow.contains("POST")), "{:?}", got.headers);
            ensure!(!got.text().contains("access_token"), "{}", got.text());
            for method in [Method::PUT, Method::DELETE, Method::PATCH] {
                Answer::to(scene.app.http().request(method, &url).form(&form)).await?.expect(405)?;
            }
            for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
                let request = scene.app.http().post(&url).header("Content-Type", content_type);
                let answer = Answer::to(request.body("grant_type=client_credentials")).await?;
                ensure!(
                    oauth_error(&answer, "")?["error"] == "invalid_request",
                    "{content_type}: {}",
                    answer.text()
                );
            }
            // None of that used it up; unknown fields and a repeated one hurt nobody.
            let mut form = form;
            form.extend(
                [("encryption_method", "ES384"), ("scope", ALL), ("x", "y")]
                    .map(|(n, v)| (n.into(), v.into())),
            );
            let answer = scene.app.request_token(&url, &form).await?.expect(200)?;
            ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
            ensure!(answer.header("pragma") == Some("no-cache"), "{:?}", answer.headers);
            let token = answer.json()?;
            ensure!(
                token["token_type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("bearer")),
                "{token}"
            );
            ensure!(token["expires_in"].is_u64() && token["scope"].is_string(), "{token}");
            ensure!(token.get("refresh_token").is_none(), "{token}");
        }
        Ok(())
    })
}

#[test]
fn keys_that_no_assertion_may_be_signed_with_are_not_registered() -> Result<()> {
    play(async |scene| {
        let vendor =
            json!({ "name": format!("Keys {}", scene.number()), "contact_email": "a@vendor.example" });
        let vendor = scene.app.admin().post("vendors", &vendor).await?.expect(201)?.json()?;
        let good = PrivateKey::generate(Algorithm::Es384)?;
        let secret: Value = headgate_testkit::serde_json::from_str(&good.to_private_jwk()?)?;
        let public = good.public_jwk().to_json();
        let with = |member: &str, value: Value| {
            let mut key = public.clone();
            key[member] = value;
            json!({ "keys": [key] })
        };
        for (what, jwks) in [
            ("no key", json!({ "keys": [] })),
            ("no set", public.clone()),
            ("a private key", json!({ "keys": [secret] })),
            ("a symmetric key", json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "AAAA" }] })),
            ("a kid twice", json!({ "keys": [public, public] })),
            ("no kid", with("kid", Value::Null)),
            ("another curve", with("crv", json!("P-256"))),
            ("not on the curve", with("x", public["y"].clone())),
            ("33 keys", json!({ "keys": vec![public.clone(); 33] })),
        ] {
            let body = json!({
                "vendor_id": vendor["vendor_id"], "name": "A", "security_contact": "s@vendor.example", "jwks": jwks,
            });
            let answer = scene.app.admin().post("apps", &body).await?;
            let problem = crate::scene::problem(&answer, 400, "invalid").with_context(|| what.to_owned())?;
            ensure!(text(&problem, "detail")?.starts_with("jwks"), "{what}: {problem}");
            ensure!(!answer.text().contains(text(&secret, "d")?), "{what}: a private key is repeated");
        }
        let body = json!({
            "vendor_id": vendor["vendor_id"], "name": "A", "security_contact": "s@vendor.example", "jwks": key_set(&[&good]),
        });
        scene.app.admin().post("apps", &body).await?.expect(201)?;
        Ok(())
    })
}

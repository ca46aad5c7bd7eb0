//! The token endpoint as the documentation describes it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, Level, TestApp};

use crate::stage::{ALL, Stage, USCDI, export, play};
use crate::{curl, jwt};

/// The documented request at the shared endpoint, for an app that only the clinic consents to.
async fn documented(stage: &Stage, app: &AppHandle, scope: &str) -> Result<Answer> {
    let url = stage.shared_token_url();
    let assertion = app.assertion(&url)?;
    Answer::to(curl::token_request(stage.app.http(), &url, &app.client_id, scope, &assertion)).await
}

async fn consented_app(stage: &Stage) -> Result<AppHandle> {
    let app = stage.app.vendor_app(&[ALL]).await?;
    stage.app.consent(&stage.clinic, &app).await?;
    Ok(app)
}

fn members(object: &Value) -> BTreeSet<&str> {
    object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn now_s() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?)
}

#[test]
fn m08_the_documented_form_gets_a_token_whatever_noise_comes_with_it() -> Result<()> {
    play(async |stage| {
        let app = consented_app(stage).await?;
        let answer = documented(stage, &app, curl::SCOPES).await?.expect(200)?.json()?;
        let token = answer["access_token"].as_str().context("no access_token")?;
        // It opens the practice: an export nobody knows is a 404 and not a 401.
        let client = stage.app.client(&stage.clinic, &app).await?.with_token(token);
        let unknown = format!("fhir-services/$export-status/{}", "0".repeat(32));
        client.poll(&unknown).await?.expect(404)?;
        Ok(())
    })
}

#[test]
fn m09_client_ids_are_fhir_and_fifty_hex_digits() -> Result<()> {
    play(async |stage| {
        let (one, two) = (stage.app.vendor_app(&[ALL]).await?, stage.app.vendor_app(&[ALL]).await?);
        ensure!(one.client_id != two.client_id);
        for app in [one, two] {
            let digits = app.client_id.strip_prefix("fhir").context("no prefix")?;
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            ensure!(digits.len() == 50 && digits.chars().all(hex), "{}", app.client_id);
        }
        Ok(())
    })
}

#[test]
fn m10_the_assertion_is_an_es384_jwt_of_five_claims_five_minutes_ahead() -> Result<()> {
    play(async |stage| {
        let app = consented_app(stage).await?;
        let url = stage.shared_token_url();
        let assertion = app.key.sign(&json!({
            "iss": app.client_id,
            "sub": app.client_id,
            "aud": url,
            "exp": now_s()? + 300,
            "jti": "7f1f3a0c5d3b4a0e9d0f",
        }))?;
        let (header, _) = jwt::parts(&assertion)?;
        ensure!(header == json!({ "typ": "JWT", "alg": "ES384", "kid": app.key.kid() }), "{header}");
        let request = curl::token_request(stage.app.http(), &url, &app.client_id, ALL, &assertion);
        Answer::to(request).await?.expect(200)?;
        Ok(())
    })
}

#[test]
fn m11_the_twenty_one_scopes_of_the_example_grant_the_twenty_types() -> Result<()> {
    play(async |stage| {
        ensure!(curl::SCOPES.split_ascii_whitespace().count() == 21);
        let app = consented_app(stage).await?;
        let answer = documented(stage, &app, curl::SCOPES).await?.expect(200)?.json()?;
        let granted: Vec<&str> = answer["scope"].as_str().context("no scope")?.split(' ').collect();
        let expected = USCDI.map(|name| format!("system/{name}.rs"));
        ensure!(granted.len() == 20, "{granted:?}");
        ensure!(BTreeSet::from_iter(granted) == expected.iter().map(String::as_str).collect());
        // Each of them can be exported.
        let token = answer["access_token"].as_str().context("no access_token")?;
        let client = stage.app.client(&stage.clinic, &app).await?.with_token(token);
        let (_, download) = export(&client, &Level::System, &[("_type", &USCDI.join(","))]).await?;
        let types = download.by_type();
        let types: BTreeSet<&str> = types.keys().map(String::as_str).collect();
        ensure!(types == BTreeSet::from(USCDI), "{types:?}");
        Ok(())
    })
}

#[test]
fn m12_the_token_response_has_the_documented_members() -> Result<()> {
    play(async |stage| {
        let app = consented_app(stage).await?;
        let answer =
            documented(stage, &app, "system/Patient.rs system/Goal.rs").await?.expect(200)?.json()?;
        let documented = [
            "access_token",
            "expires_in",
            "refresh_expires_in",
            "token_type",
            "not-before-policy",
            "scope",
            "allowedFhirUrl",
        ];
        ensure!(members(&answer) == BTreeSet::from(documented), "{answer}");
        ensure!(answer["expires_in"] == 1800, "{answer}");
        ensure!(answer["refresh_expires_in"] == 0 && answer["not-before-policy"] == 0, "{answer}");
        ensure!(answer["token_type"] == "Bearer", "{answer}");
        ensure!(answer["scope"] == "system/Patient.rs system/Goal.rs", "{answer}");
        ensure!(answer["allowedFhirUrl"] == stage.clinic.base_url.as_str(), "{answer}");
        Ok(())
    })
}

#[test]
fn m13_the_access_token_is_an_rs256_jwt_with_the_documented_claims() -> Result<()> {
    play(async |stage| {
        let app = consented_app(stage).await?;
        let asked_at = now_s()?;
        let answer = documented(stage, &app, curl::SCOPES).await?.expect(200)?.json()?;
        let (header, claims) = jwt::parts(answer["access_token"].as_str().context("no access_token")?)?;
        ensure!(header["alg"] == "RS256" && header["typ"] == "JWT" && header["kid"].is_string(), "{header}");
        let documented = [
            "exp",
            "iat",
            "jti",
            "iss",
            "sub",
            "typ",
            "azp",
            "scope",
            "allowedFhirUrl",
            "clientHost",
            "clientId",
            "clientAddress",
            // Beyond the documentation: what a careful resource server asks for (RFC 9068).
            "aud",
        ];
        ensure!(members(&claims) == BTreeSet::from(documented), "{claims}");
        ensure!(claims["iss"] == format!("{}/auth/realms/fhir", stage.app.public_url()), "{claims}");
        ensure!(claims["typ"] == "Bearer", "{claims}");
        for name in ["azp", "clientId"] {
            ensure!(claims[name] == app.client_id.as_str(), "{name}: {claims}");
        }
        for name in ["clientHost", "clientAddress"] {
            ensure!(claims[name] == "127.0.0.1", "{name}: {claims}");
        }
        for name in ["sub", "jti"] {
            ensure!(claims[name].as_str().is_some_and(is_uuid), "{name}: {claims}");
        }
        for name in ["aud", "allowedFhirUrl"] {
            ensure!(claims[name] == stage.clinic.base_url.as_str(), "{name}: {claims}");
        }
        ensure!(claims["scope"] == answer["scope"], "{claims}");
        let issued_at = claims["iat"].as_i64().context("no iat")?;
        ensure!((asked_at..=now_s()?).contains(&issued_at), "{claims}");
        ensure!(claims["exp"] == issued_at + 1800, "{claims}");
        Ok(())
    })
}

#[test]
fn m13_the_lifetime_of_access_tokens_is_configurable() -> Result<()> {
    play(async |_| {
        let short = TestApp::builder().workers(0).set("token.lifetime_s", 300).start().await?;
        let practice = unseen_practice(&short).await?;
        let app = short.vendor_app(&[ALL]).await?;
        let consent = json!({ "client_id": app.client_id });
        short.admin().post("practices/1/consents", &consent).await?.expect(201)?;
        let url = practice["token_url"].as_str().context("no token_url")?;
        let form = app.form(ALL, &app.assertion(url)?);
        let answer = short.request_token(url, &form).await?.expect(200)?.json()?;
        ensure!(answer["expires_in"] == 300, "{answer}");
        let (_, claims) = jwt::parts(answer["access_token"].as_str().context("no access_token")?)?;
        let life = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
        ensure!(life == Some(300), "{claims}");
        short.stop().await;
        Ok(())
    })
}

/// A practice whose source no worker has looked at.
async fn unseen_practice(app: &TestApp) -> Result<Value> {
    let body = json!({
        "number": 1,
        "slug": "unseen",
        "name": "Unseen",
        "base_url": format!("{}/unseen/fhir/r4", app.public_url()),
        "source": { "dsn_ref": "env:NOT_SET_FOR_ANY_TEST" },
    });
    app.admin().post("practices", &body).await?.expect(201)?.json()
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

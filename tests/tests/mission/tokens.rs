//! What the token endpoints and the discovery documents do beyond the documentation.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::{Algorithm, PrivateKey};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, Level};

use crate::jwt;
use crate::stage::{ALL, Stage, USCDI, export, play};

/// A token request at an endpoint, with an assertion for it.
async fn request(stage: &Stage, app: &AppHandle, url: &str, more: &[(&str, &str)]) -> Result<Answer> {
    let mut form = app.form(ALL, &app.assertion(url)?);
    form.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    stage.app.request_token(url, &form).await
}

#[test]
fn an_rs384_client_exports_like_an_es384_one() -> Result<()> {
    play(async |stage| {
        let key = PrivateKey::generate(Algorithm::Rs384)?;
        let app = stage.app.vendor_app_with(&[ALL], key).await?;
        stage.app.consent(&stage.clinic, &app).await?;
        let (header, _) = jwt::parts(&app.assertion(&stage.clinic.token_url)?)?;
        ensure!(header["alg"] == "RS384", "{header}");
        let client = stage.app.client(&stage.clinic, &app).await?;
        let (_, download) = export(&client, &Level::Patient, &[("_type", "Patient")]).await?;
        ensure!(download.ids("Patient")?.len() == 3);
        Ok(())
    })
}

#[test]
fn the_shared_endpoint_asks_for_the_resource_where_several_practices_consent() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        let shared = stage.shared_token_url();
        let (one, two) = (&stage.clinic, &stage.quiet);
        stage.app.consent(one, &app).await?;
        // One is implied.
        let answer = request(stage, &app, &shared, &[]).await?.expect(200)?.json()?;
        ensure!(answer["allowedFhirUrl"] == one.base_url.as_str(), "{answer}");

        stage.app.consent(two, &app).await?;
        let third = stage.empty_practice().await?;
        for wrong in [&[][..], &[("resource", third.base_url.as_str())], &[("resource", "https://x.example")]]
        {
            let error = request(stage, &app, &shared, wrong).await?.expect(400)?.json()?;
            ensure!(error["error"] == "invalid_target", "{error}");
            let told = error["error_description"].as_str().unwrap_or_default();
            ensure!(told.contains(&one.base_url) && told.contains(&two.base_url), "{told}");
            ensure!(!told.contains(&third.base_url), "a practice that does not consent is named: {told}");
        }
        for practice in [one, two] {
            for resource in [practice.base_url.clone(), format!("{}/", practice.base_url)] {
                let answer =
                    request(stage, &app, &shared, &[("resource", &resource)]).await?.expect(200)?.json()?;
                ensure!(answer["allowedFhirUrl"] == practice.base_url.as_str(), "{answer}");
            }
        }
        Ok(())
    })
}

#[test]
fn each_practice_has_a_token_endpoint_of_its_own() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        for practice in [&stage.clinic, &stage.quiet] {
            stage.app.consent(practice, &app).await?;
        }
        for (practice, other) in [(&stage.clinic, &stage.quiet), (&stage.quiet, &stage.clinic)] {
            ensure!(practice.token_url.starts_with(&format!("{}/", practice.base_url)));
            let answer = request(stage, &app, &practice.token_url, &[]).await?.expect(200)?.json()?;
            ensure!(answer["allowedFhirUrl"] == practice.base_url.as_str(), "{answer}");
            // An assertion is for one endpoint.
            for url in [&other.token_url, &stage.shared_token_url()] {
                let form = app.form(ALL, &app.assertion(url)?);
                let error = stage.app.request_token(&practice.token_url, &form).await?.expect(400)?.json()?;
                ensure!(error["error"] == "invalid_client", "{error}");
                let told = error["error_description"].as_str().unwrap_or_default();
                ensure!(told.contains(&practice.token_url), "it says which aud is right: {told}");
            }
            // Saying the resource is harmless where it is the right one.
            request(stage, &app, &practice.token_url, &[("resource", &practice.base_url)])
                .await?
                .expect(200)?;
        }
        Ok(())
    })
}

#[test]
fn anyone_can_verify_an_access_token_with_the_published_keys() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.quiet).await?;
        let certs = format!("{}/auth/realms/fhir/protocol/openid-connect/certs", stage.app.public_url());
        let answer = Answer::to(stage.app.http().get(certs)).await?.expect(200)?;
        ensure!(answer.header("content-type").is_some_and(|t| t.starts_with("application/json")));
        let jwks = answer.json()?;
        jwt::verify_rs256(client.token(), &jwks)?;
        for key in jwks["keys"].as_array().context("no keys")? {
            for secret in ["d", "p", "q", "dp", "dq", "qi"] {
                ensure!(key.get(secret).is_none(), "a private member is published");
            }
        }
        // The check can fail.
        let (message, signature) = client.token().rsplit_once('.').context("no signature")?;
        let changed: String = signature.chars().rev().collect();
        ensure!(jwt::verify_rs256(&format!("{message}.{changed}"), &jwks).is_err());
        Ok(())
    })
}

#[test]
fn tokens_of_a_client_share_the_subject_and_nothing_else() -> Result<()> {
    play(async |stage| {
        let (app, first) = stage.client(&stage.quiet).await?;
        let second = stage.app.client(&stage.quiet, &app).await?;
        let (_, other) = stage.client(&stage.quiet).await?;
        let claims = |token: &str| jwt::parts(token).map(|(_, claims)| claims);
        let (first, second, other) =
            (claims(first.token())?, claims(second.token())?, claims(other.token())?);
        ensure!(first["sub"] == second["sub"] && first["sub"] != other["sub"]);
        ensure!(first["jti"] != second["jti"]);
        Ok(())
    })
}

#[test]
fn token_responses_are_never_cached() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.quiet, &app).await?;
        // RFC 6749, section 5.1.
        let answer = request(stage, &app, &stage.quiet.token_url, &[]).await?.expect(200)?;
        ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
        ensure!(answer.header("pragma") == Some("no-cache"), "{:?}", answer.headers);
        ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
        Ok(())
    })
}

#[test]
fn the_grant_is_what_app_and_consent_cover_of_what_was_asked_for() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&["system/Patient.rs", "system/Goal.rs", "system/Device.rs"]).await?;
        let narrower = json!({ "scopes": "system/Patient.rs system/Goal.rs" });
        stage.app.consent_with(&stage.quiet, &app, narrower).await?;
        let url = &stage.quiet.token_url;
        for (asked, granted) in [
            ("system/Goal.rs system/Device.rs system/Encounter.rs", "system/Goal.rs"),
            ("system/*.rs", "system/Goal.rs system/Patient.rs"),
            // In the form in which it was asked for.
            ("system/Patient.read", "system/Patient.read"),
            ("system/Patient.rs   system/Patient.rs", "system/Patient.rs"),
        ] {
            let form = app.form(asked, &app.assertion(url)?);
            let answer = stage.app.request_token(url, &form).await?.expect(200)?.json()?;
            ensure!(answer["scope"] == granted, "{asked}: {}", answer["scope"]);
            let (_, claims) = jwt::parts(answer["access_token"].as_str().context("no access_token")?)?;
            ensure!(claims["scope"] == granted, "{asked}: {claims}");
        }
        Ok(())
    })
}

#[test]
fn the_smart_configuration_of_a_practice_says_what_backend_services_need() -> Result<()> {
    play(async |stage| {
        let url = format!("{}/.well-known/smart-configuration", stage.clinic.base_url);
        // Without a token and whatever the client accepts (SMART App Launch, Conformance).
        for accept in ["application/json", "application/fhir+json", "text/html"] {
            let answer =
                Answer::to(stage.app.http().get(&url).header("Accept", accept)).await?.expect(200)?;
            ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
            let document = answer.json()?;
            ensure!(document["token_endpoint"] == stage.clinic.token_url.as_str(), "{document}");
            let has = |member: &str, value: &str| {
                document[member].as_array().is_some_and(|values| values.contains(&Value::from(value)))
            };
            for (member, value) in [
                ("grant_types_supported", "client_credentials"),
                ("token_endpoint_auth_methods_supported", "private_key_jwt"),
                ("token_endpoint_auth_signing_alg_values_supported", "ES384"),
                ("token_endpoint_auth_signing_alg_values_supported", "RS384"),
                ("capabilities", "client-confidential-asymmetric"),
                ("capabilities", "permission-v2"),
                ("code_challenge_methods_supported", "S256"),
            ] {
                ensure!(has(member, value), "{member} lacks {value}: {document}");
            }
            ensure!(!has("code_challenge_methods_supported", "plain"), "{document}");
            for name in USCDI {
                ensure!(has("scopes_supported", &format!("system/{name}.rs")), "{name}: {document}");
            }
            // These belong to user sign-on, which is not offered.
            ensure!(document.get("issuer").is_none() && document.get("jwks_uri").is_none(), "{document}");
        }
        Ok(())
    })
}

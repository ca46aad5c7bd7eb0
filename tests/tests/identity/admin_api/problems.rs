//! Faults are problem details (RFC 9457) with a stable reason, and repeat nothing that was sent.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::Answer;
use headgate_testkit::auth::AdminRole;
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::json;

use crate::scene::{play, problem};

#[test]
fn every_kind_of_fault_has_the_form_of_a_problem() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let practice = format!("practices/{}", scene.clinic.number);
        let none = "00000000-0000-0000-0000-000000000000";
        for (method, path, body, status, reason) in [
            (Method::GET, "nowhere", "", 404, "no_such_place"),
            (Method::GET, "me/", "", 404, "no_such_place"),
            (Method::DELETE, "me", "", 405, "method_not_allowed"),
            (Method::POST, "me", "{}", 405, "method_not_allowed"),
            (Method::GET, "practices/7", "", 404, "not_found"),
            (Method::GET, "practices/seven", "", 404, "not_found"),
            (Method::GET, "practices/-1", "", 404, "not_found"),
            (Method::GET, "practices/99999999999999999999", "", 404, "not_found"),
            (Method::GET, "apps/fhir00", "", 404, "not_found"),
            (Method::GET, &format!("vendors/{none}"), "", 404, "not_found"),
            (Method::GET, "vendors/..%2f..%2fme", "", 404, "not_found"),
            (Method::GET, &format!("{practice}/groups/no.such"), "", 404, "not_found"),
            (Method::GET, &format!("{practice}/groups/%00"), "", 404, "not_found"),
            (Method::GET, &format!("{practice}/exports/{}", "0".repeat(32)), "", 404, "not_found"),
            (
                Method::POST,
                "vendors",
                "{\"name\":\"a\",\"contact_email\":\"a@b.example\",\"id\":7}",
                400,
                "invalid",
            ),
            (Method::POST, "vendors", "{\"contact_email\":\"a@b.example\"}", 400, "invalid"),
            (Method::POST, "vendors", "{\"name\":7,\"contact_email\":\"a@b.example\"}", 400, "invalid"),
            (
                Method::POST,
                "vendors",
                "{\"name\":\"a\",\"name\":\"b\",\"contact_email\":\"a@b.example\"}",
                400,
                "invalid",
            ),
            (Method::POST, "vendors", "name=a", 400, "invalid"),
            (
                Method::POST,
                "vendors",
                "{\"name\":\"a\\u0000\",\"contact_email\":\"a@b.example\"}",
                400,
                "invalid",
            ),
            (Method::POST, &format!("{practice}/consents"), "{\"client_id\":\"nobody\"}", 400, "invalid"),
        ] {
            let request = admin.request(method.clone(), path);
            let request = if body.is_empty() { request } else { request.body(body.to_owned()) };
            let answer = Answer::to(request).await?;
            problem(&answer, status, reason).with_context(|| format!("{method} {path} {body}"))?;
        }
        Ok(())
    })
}

#[test]
fn who_is_not_let_in_is_told_how_and_not_why_in_detail() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let none = Answer::to(scene.app.http().get(format!("{}/me", admin.url()))).await?;
        problem(&none, 401, "unauthorized")?;
        ensure!(none.header("www-authenticate") == Some("Bearer"), "{:?}", none.headers);
        for token in ["garbage", "a.b.c", &format!("{}x", admin.token()), &"t".repeat(7_000)] {
            let answer = admin.with_token((*token).to_owned()).get("me").await?;
            problem(&answer, 401, "unauthorized")?;
            let challenge = answer.header("www-authenticate").context("no challenge")?;
            ensure!(challenge.starts_with("Bearer") && challenge.contains("invalid_token"), "{challenge}");
            ensure!(!answer.text().contains(token) && !challenge.contains(token), "the token is repeated");
        }
        let basic = scene.app.http().get(format!("{}/me", admin.url())).basic_auth("admin", Some("admin"));
        problem(&Answer::to(basic).await?, 401, "unauthorized")?;
        // In the query a token would stand in logs.
        let url = format!("{}/me?access_token={}", admin.url(), admin.token());
        problem(&Answer::to(scene.app.http().get(url)).await?, 401, "unauthorized")?;
        // A place that is not there is no better known without a token.
        let nowhere = format!("{}/nowhere", admin.url());
        let answer = Answer::to(scene.app.http().get(nowhere)).await?;
        ensure!(answer.status == 401 || answer.status == 404, "{}", answer.status);
        Ok(())
    })
}

#[test]
fn me_says_what_the_token_is() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let me = admin.get("me").await?.expect(200)?.json()?;
        ensure!(me["role"] == "operator" && me["practice"].is_null() && me["vendor_id"].is_null(), "{me}");
        ensure!(me["subject"] == "test" && me["expires_at"].is_string() && me["issuer"].is_string(), "{me}");
        let number = headgate_testkit::domain::PracticeNumber::new(scene.clinic.number)?;
        let me = admin
            .acting_as("frank", &AdminRole::PracticeAdmin(number))?
            .get("me")
            .await?
            .expect(200)?
            .json()?;
        ensure!(me["role"] == "practice_admin" && me["practice"] == scene.clinic.number, "{me}");
        let app = scene.app.vendor_app(&["system/*.rs"]).await?;
        let vendor = AdminRole::Vendor(app.vendor_id.parse()?);
        let me = admin.acting_as("dev", &vendor)?.get("me").await?.expect(200)?.json()?;
        ensure!(me["role"] == "vendor" && me["vendor_id"] == app.vendor_id.as_str(), "{me}");
        ensure!(admin.get("me").await?.json()?["subject"] != json!("dev"));
        Ok(())
    })
}

//! A deed that cannot be written down is not done.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::json;
use headgate_testkit::{Answer, Level, TestApp};

use crate::stage::{ALL, alone, control, options, practice};

/// Whatever a deed would have changed.
const TRACES: &str = "SELECT jsonb_build_array(
    (SELECT count(*) FROM headgate.export), (SELECT sum(links_times) FROM headgate.export),
    (SELECT jsonb_agg(state ORDER BY export_id) FROM headgate.export),
    (SELECT jsonb_agg(to_jsonb(c) ORDER BY consent_id) FROM headgate.consent c),
    (SELECT jsonb_agg(to_jsonb(a) ORDER BY client_id) FROM headgate.app a),
    (SELECT jsonb_agg(to_jsonb(k) ORDER BY kid) FROM headgate.app_key k),
    (SELECT jsonb_agg(to_jsonb(v) ORDER BY vendor_id) FROM headgate.vendor v),
    (SELECT jsonb_agg(to_jsonb(p) ORDER BY practice_number) FROM headgate.practice p),
    (SELECT jsonb_agg(to_jsonb(g) - ARRAY['matched_at', 'matched_known', 'matched_of'] ORDER BY group_id) FROM headgate.patient_group g),
    (SELECT count(*) FROM headgate.patient_group_member),
    (SELECT count(*) FROM headgate.assertion_replay), (SELECT count(*) FROM headgate.revoked_token),
    (SELECT count(*) FROM headgate.signing_key), (SELECT count(*) FROM headgate.mapping_set))::text";

#[test]
fn a_deed_of_which_no_record_can_be_made_is_refused_and_nothing_has_happened() -> Result<()> {
    alone(options(), async |app| {
        let practice = practice(app).await?;
        practice.insert_many("Patient", "p", 2, None, 0).await?;
        app.group(&practice, "g", &["p-1"]).await?;
        let (vendor, client) = crate::stage::client(app, &practice).await?;
        let other = app.vendor_app(&[ALL]).await?;
        let done = client.start(&Level::System, &[]).await?;
        client.wait_complete(&done).await?;
        let assertion = vendor.assertion(&practice.token_url)?;
        let before: String = app.control_scalar(TRACES).await?;

        control(app, "REVOKE INSERT ON headgate.audit_event FROM headgate_api").await?;
        let form = vendor.form(ALL, &assertion);
        refused("token", &app.request_token(&practice.token_url, &form).await?)?;
        refused("kick-off", &client.kick_off(&Level::Patient, &[]).await?)?;
        let poll = client.poll(&done).await?;
        refused("links", &poll)?;
        ensure!(!poll.text().contains("X-Amz"), "{}", poll.text());
        refused("cancel", &client.delete(&done).await?)?;
        let token = client.token();
        let give_back = vendor.form(ALL, &vendor.assertion(&practice.token_url)?);
        let give_back =
            give_back.into_iter().chain([("token".to_owned(), token.to_owned())]).collect::<Vec<_>>();
        let revoke = practice.token_url.replace("/token", "/revoke");
        refused("giving a token back", &app.request_token(&revoke, &give_back).await?)?;
        admin_deeds(app, practice.number, &vendor.client_id, &vendor.vendor_id, &other.client_id).await?;
        let after: String = app.control_scalar(TRACES).await?;
        ensure!(after == before, "something happened:\n{before}\n{after}");

        // The very same assertion was not used up.
        control(app, "GRANT INSERT ON headgate.audit_event TO headgate_api").await?;
        app.request_token(&practice.token_url, &form).await?.expect(200)?;
        client.poll(&done).await?.expect(200)?;
        Ok(())
    })
}

async fn admin_deeds(app: &TestApp, number: i64, client: &str, vendor: &str, other: &str) -> Result<()> {
    let admin = app.admin();
    let why = json!({ "reason": "test" });
    let key = headgate_testkit::auth::PrivateKey::generate(headgate_testkit::auth::Algorithm::Es384)?;
    let jwks = headgate_testkit::auth::Jwks::new(vec![key.public_jwk().clone()])?.to_json();
    let kid = key.public_jwk().to_json()["kid"].as_str().context("no kid")?.to_owned();
    ensure!(!kid.is_empty());
    let of_practice = format!("practices/{number}");
    for (path, body) in [
        ("vendors".to_owned(), json!({ "name": "New", "contact_email": "a@b.example" })),
        (format!("{of_practice}/consents"), json!({ "client_id": other })),
        (format!("{of_practice}/consents/{client}/revoke"), why.clone()),
        (format!("{of_practice}/suspend"), why.clone()),
        (format!("apps/{client}/suspend"), why.clone()),
        (format!("vendors/{vendor}/suspend"), why.clone()),
        (format!("apps/{client}/keys"), json!({ "jwks": jwks })),
        (format!("{of_practice}/groups/g/members"), json!({ "add": ["p-2"], "remove": ["p-1"] })),
        (format!("{of_practice}/disclosures/search"), json!({ "patient_id": "p-1" })),
        ("signing-keys".to_owned(), json!({})),
    ] {
        refused(&path, &admin.post(&path, &body).await?)?;
    }
    for (path, body) in [
        (format!("{of_practice}/consents/{client}"), json!({ "scopes": "system/Patient.rs" })),
        (format!("{of_practice}/groups/g2"), json!({ "name": "New" })),
        (format!("{of_practice}/groups/g/members"), json!({ "patient_ids": ["p-2"] })),
    ] {
        refused(&path, &admin.put(&path, &body).await?)?;
    }
    for (path, body) in [
        (format!("apps/{client}"), json!({ "scopes": "system/Patient.rs" })),
        (format!("vendors/{vendor}"), json!({ "contact_email": "x@y.example" })),
        (of_practice.clone(), json!({ "name": "New" })),
    ] {
        refused(&path, &admin.patch(&path, &body).await?)?;
    }
    // Who looks at what went to whom is on record, or sees nothing.
    for path in ["audit".to_owned(), format!("{of_practice}/disclosures")] {
        refused(&path, &Answer::to(admin.request(Method::GET, &path)).await?)?;
    }
    Ok(())
}

fn refused(what: &str, answer: &Answer) -> Result<()> {
    ensure!(matches!(answer.status, 500 | 503), "{what}: {} {}", answer.status, answer.text());
    ensure!(!answer.text().contains("audit_event"), "{what}: {}", answer.text());
    Ok(())
}

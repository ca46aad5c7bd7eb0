//! Practices: their settings, and their suspension.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::json;

use crate::scene::{ALL, play, problem};

#[test]
fn only_what_is_given_changes_and_null_takes_a_setting_away() -> Result<()> {
    play(async |scene| {
        let practice = scene.practice().await?;
        let admin = scene.app.admin();
        let path = format!("practices/{}", practice.number);
        let before = admin.get(&path).await?.expect(200)?.json()?;
        let patch = async |body| admin.patch(&path, &body).await?.expect(200)?.json();

        let named = patch(json!({ "name": "Another name" })).await?;
        ensure!(named["name"] == "Another name" && named["options"] == before["options"], "{named}");
        ensure!(named["source"] == before["source"] && named["base_url"] == before["base_url"], "{named}");

        let set = patch(json!({ "options": { "file_resources": 10, "gzip": !before["options"]["gzip"].as_bool().unwrap_or(false) } })).await?;
        ensure!(set["options"]["file_resources"] == 10, "{set}");
        ensure!(set["options"]["gzip"] != before["options"]["gzip"], "{set}");
        let one = patch(json!({ "options": { "file_access": "token" } })).await?;
        ensure!(one["options"]["file_resources"] == 10 && one["options"]["file_access"] == "token", "{one}");
        let reset =
            patch(json!({ "options": { "file_resources": null, "gzip": null, "file_access": null } }))
                .await?;
        ensure!(reset["options"] == before["options"], "{reset}");

        let source = patch(
            json!({ "source": { "late_commit_allowance_s": 60, "settings": { "app.practice": "7" } } }),
        )
        .await?;
        ensure!(source["source"]["late_commit_allowance_s"] == 60, "{source}");
        ensure!(source["source"]["dsn_ref"] == before["source"]["dsn_ref"], "{source}");
        ensure!(source["source"]["settings"] == json!({ "app.practice": "7" }), "{source}");
        let source = patch(json!({ "source": { "late_commit_allowance_s": null, "settings": {} } })).await?;
        ensure!(source["source"] == before["source"], "{source}");
        Ok(())
    })
}

#[test]
fn settings_that_cannot_be_right_change_nothing() -> Result<()> {
    play(async |scene| {
        let practice = scene.practice().await?;
        let admin = scene.app.admin();
        let path = format!("practices/{}", practice.number);
        let before = admin.get(&path).await?.expect(200)?;
        for body in [
            json!({ "number": 7 }),
            json!({ "slug": "other" }),
            json!({ "name": "" }),
            json!({ "name": "a\nb" }),
            json!({ "base_url": "ftp://a/b" }),
            json!({ "base_url": "https://user:pw@a.example/fhir/r4" }),
            json!({ "base_url": "https://a.example/fhir/r4?x" }),
            json!({ "base_url": "/fhir/r4" }),
            json!({ "options": { "no_such_option": true } }),
            json!({ "options": { "no_such_option": null } }),
            json!({ "options": { "file_resources": 0 } }),
            json!({ "options": { "file_resources": "10" } }),
            json!({ "options": { "us_core": "1.0" } }),
            json!({ "options": [] }),
            json!({ "source": { "dsn_ref": "postgres://user:secret@host/db" } }),
            json!({ "source": { "dsn_ref": "env:lower case" } }),
            json!({ "source": { "dsn_ref": "file:relative" } }),
            json!({ "source": { "schema": "a\"; DROP TABLE x; --" } }),
            json!({ "source": { "mapping": "../etc" } }),
            json!({ "source": { "settings": { "search_path": "x" } } }),
            json!({ "name": "Good", "options": { "file_resources": 0 } }),
        ] {
            let answer = admin.patch(&path, &body).await?;
            problem(&answer, 400, "invalid").with_context(|| body.to_string())?;
            ensure!(!answer.text().contains("secret"), "a DSN is repeated: {}", answer.text());
        }
        let other = json!({ "base_url": scene.clinic.base_url });
        problem(&admin.patch(&path, &other).await?, 409, "exists")?;
        let after = admin.get(&path).await?.expect(200)?;
        ensure!(
            after.body == before.body && after.header("etag") == before.header("etag"),
            "{}",
            after.text()
        );
        problem(&admin.patch("practices/7", &json!({ "name": "A" })).await?, 404, "not_found")?;
        Ok(())
    })
}

#[test]
fn a_suspended_practice_gives_no_token_until_it_is_resumed() -> Result<()> {
    play(async |scene| {
        let practice = scene.practice().await?;
        let app = scene.consented(&practice).await?;
        let token = scene.app.token(&practice, &app, ALL).await?;
        let admin = scene.app.admin();
        let path = format!("practices/{}", practice.number);
        problem(&admin.post(&format!("{path}/suspend"), &json!({})).await?, 400, "invalid")?;
        let done = admin
            .post(&format!("{path}/suspend"), &json!({ "reason": "audit" }))
            .await?
            .expect(200)?
            .json()?;
        let suspended = &done["practice"]["suspended"];
        ensure!(
            suspended["by"] == "test" && suspended["reason"] == "audit" && suspended["at"].is_string(),
            "{done}"
        );
        ensure!(done["ended_exports"] == 0, "{done}");
        let answer = scene.ask(&app, &practice.token_url, &app.assertion(&practice.token_url)?).await?;
        ensure!((400..=404).contains(&answer.status), "{}", answer.status);
        let probed = crate::scene::probe(scene.app.http(), &practice.base_url, &token).await?;
        ensure!([403, 404].contains(&probed.status) && !probed.text().contains("audit"), "{}", probed.text());
        let resumed = admin.post(&format!("{path}/resume"), &json!({})).await?.expect(200)?.json()?;
        ensure!(resumed["suspended"].is_null(), "{resumed}");
        scene.app.token(&practice, &app, ALL).await?;
        Ok(())
    })
}

//! Errors as the documentation describes them.

use anyhow::{Result, ensure};
use headgate_testkit::Answer;
use headgate_testkit::reqwest::Method;

use crate::stage::{play, refusal};

#[test]
fn m24_a_format_other_than_ndjson_is_a_bad_request_that_says_invalid_tenant() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.client(&stage.quiet).await?;
        let url = format!("{}/$export?_since=2022-10-01T00:00:00&_outputFormat=csv", stage.quiet.base_url);
        // As documented: without Prefer, which is not what the error is about.
        let plain = client.request(Method::GET, &url);
        let lenient = client.request(Method::GET, &url).header("Prefer", "respond-async, handling=lenient");
        for request in [plain, lenient] {
            let issues = refusal(&Answer::to(request).await?, 400, &[client.token()])?;
            ensure!(issues.len() == 1, "{issues:?}");
            ensure!(issues[0]["details"]["text"] == "Invalid Tenant", "{issues:?}");
            let told = issues[0]["diagnostics"].as_str().unwrap_or_default();
            ensure!(told.starts_with("Invalid Tenant"), "{told}");
            ensure!(told.contains("ndjson"), "it says what is wrong: {told}");
        }
        stage.assert_quiet(&app).await
    })
}

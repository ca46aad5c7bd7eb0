//! Random and mutated requests, with a fixed seed; `make fuzz` sends many more.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use headgate_testkit::TestApp;
use headgate_testkit::fuzz::{self, Options};

use crate::scene::alone;

#[test]
fn odd_requests_get_no_odd_answers() -> Result<()> {
    alone(async || {
        let app = TestApp::start().await?;
        let report = fuzz::run(&app, Options { seed: 20_261, cases: 800, only: None }).await?;
        ensure!(report.wrong().is_empty(), "{}\n{}", report.wrong().join("\n"), report.table());
        let few: BTreeSet<&str> = [
            "assertion",
            "scopes",
            "form",
            "introspect",
            "revoke",
            "headers",
            "parameters",
            "key set",
            "admin body",
            "admin query",
            "members",
        ]
        .into_iter()
        .filter(|kind| report.sent(kind) < 5)
        .collect();
        ensure!(few.is_empty(), "hardly any {few:?}:\n{}", report.table());
        app.stop().await;
        Ok(())
    })
}

//! A short run of what `make properties` does at length.

use anyhow::Result;
use headgate_testkit::ehr::{GenerateOptions, Generator};
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::properties::{Options, Trials};
use headgate_testkit::{Installation, Settings};

#[tokio::test]
async fn random_kick_offs_and_every_search_parameter_come_to_what_a_slow_oracle_selects() -> Result<()> {
    let installation = Installation::shared().await?;
    let folder = installation.new_folder("properties")?;
    Generator::new(GenerateOptions::resources(7, 1200))?.write_ndjson(&folder, &ProgressBar::hidden())?;
    let options = Options {
        folder,
        patients: 6,
        seed: 7,
        cases: 30,
        only: None,
        filters: 1,
        side_by_side: 6,
        mismatches: 5,
    };
    let mut trials = Trials::prepare(installation, options, &Settings::new()).await?;
    let right = trials.run().await?;
    assert!(right, "{}\n{}", trials.table(), trials.wrong().join("\n"));
    trials.stop().await;
    Ok(())
}

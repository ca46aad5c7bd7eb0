//! History that moves: exports while the practice works, and the promise of `_since`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use headgate_testkit::domain::practice::UsCore;
use headgate_testkit::ehr::{SimulateOptions, simulate};
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::oracle::sql_form::{SqlForm, normal_form};
use headgate_testkit::{Level, serde_json};

use crate::clinic::Clinic;

/// What a client knows: the newest version it was given of each resource.
#[derive(Default)]
struct Known(BTreeMap<(String, String), String>);

impl Known {
    /// Takes in what changed since the last export, and returns the transactionTime to go on from.
    async fn take(&mut self, clinic: &Clinic, since: Option<&str>) -> Result<String> {
        let query: Vec<(&str, &str)> = since.map(|since| ("_since", since)).into_iter().collect();
        let status_url = clinic.client.start(&Level::System, &query).await?;
        let manifest = clinic.client.wait_complete(&status_url).await?;
        for (resource_type, lines) in clinic.client.download_all(&manifest).await?.by_type() {
            for line in lines {
                let resource: serde_json::Value = serde_json::from_str(&line)?;
                let id = resource["id"].as_str().context("a resource without an id")?.to_owned();
                self.0.insert((resource_type.clone(), id), line);
            }
        }
        Ok(manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned())
    }

    fn lines(&self, resource_type: &str) -> Vec<String> {
        let of_type = self.0.iter().filter(|((t, _), _)| t == resource_type);
        of_type.map(|(_, line)| line.clone()).collect()
    }
}

#[tokio::test]
async fn a_chain_of_since_exports_converges_to_a_practice_that_works_meanwhile() -> Result<()> {
    let clinic = Clinic::builder().patients(25).open().await?;
    let mut known = Known::default();
    let mut since = known.take(&clinic, None).await?;
    let work = SimulateOptions {
        rate: 25.0,
        ..SimulateOptions::new(&clinic.practice.ehr_url, Duration::from_secs(12))
    };
    let work = tokio::spawn(simulate(work, ProgressBar::hidden()));
    let mut exports = 0;
    while !work.is_finished() {
        since = known.take(&clinic, Some(&since)).await?;
        exports += 1;
    }
    let report = work.await??;
    assert!(report.committed.values().sum::<u64>() > 100 && report.held_open > 0, "{report:?}");
    assert!(exports > 2, "only {exports} exports while the practice worked");
    known.take(&clinic, Some(&since)).await?;

    let form = SqlForm::of(&clinic.practice.ehr_url, UsCore::default()).await?;
    for resource_type in form.types() {
        let lines = normal_form(clinic.practice.ehr(), &known.lines(resource_type.name())).await?;
        let known: BTreeSet<String> = lines.into_iter().collect();
        // What was deleted is still known: exports do not tell of deletions yet.
        for expected in form.resources(clinic.practice.ehr(), resource_type).await? {
            assert!(known.contains(&expected), "{resource_type}: the client does not have {expected}");
        }
    }
    Ok(())
}

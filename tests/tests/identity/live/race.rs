//! A kick-off and the end of its authority at the same moment.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::{Level, TestApp};

use super::Case;
use super::deed::Deed;
use crate::stage::{alone, options};

const ROUNDS: u32 = 20;

/// Exports that are not over.
const LIVE: &str = "SELECT count(*) FROM headgate.export
     WHERE state IN ('accepted', 'planning', 'running', 'finishing', 'completed')";

#[test]
fn a_kick_off_that_races_with_the_end_of_its_authority_leaves_no_export_behind() -> Result<()> {
    alone(options(), async |app| {
        let deeds = Deed::ALL.into_iter().filter(|deed| *deed != Deed::Expire);
        let mut cases = Vec::new();
        for deed in deeds {
            cases.push(Case::new(app, deed, 1, 1).await?);
        }
        // Housekeeping would find what slipped through, and hide it.
        app.worker(0).kill()?;
        for case in &cases {
            let mut accepted = 0;
            for round in 0..ROUNDS {
                accepted +=
                    u32::from(one(app, case, round).await.with_context(|| format!("{:?}", case.deed))?);
            }
            let said = format!("{:?}: {accepted} of {ROUNDS} were accepted", case.deed);
            ensure!((1..ROUNDS).contains(&accepted), "there was no race: {said}");
        }
        Ok(())
    })
}

/// Whether the kick-off was accepted. In the first round it comes well before the end, in the last well after it.
async fn one(app: &TestApp, case: &Case, round: u32) -> Result<bool> {
    let (first, last) = (0, ROUNDS - 1);
    let delay = |round: u32| if round == last { 150 } else { u64::from(round.saturating_sub(ROUNDS / 2)) };
    let kick_off = async {
        tokio::time::sleep(Duration::from_millis(delay(round))).await;
        case.client.kick_off(&Level::System, &[("_type", "Observation")]).await
    };
    let strike = async {
        tokio::time::sleep(Duration::from_millis(if round == first { 150 } else { delay(last - round) }))
            .await;
        case.strike(app, 0).await
    };
    let (answer, struck) = tokio::join!(kick_off, strike);
    struck?;
    let answer = answer?;
    ensure!(matches!(answer.status, 202 | 403), "{} {}", answer.status, answer.text());
    let live: i64 = app.control_scalar(LIVE).await?;
    ensure!(
        live == 0,
        "round {round}: {live} exports have no authority and live (kick-off: {})",
        answer.status
    );
    case.deed.undo(app, case).await?;
    Ok(answer.status == 202)
}

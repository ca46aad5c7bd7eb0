//! `headgate admin audit …`

use std::io::IsTerminal as _;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use indicatif::{HumanCount, ProgressBar};
use serde_json::{Value, json};

use super::Shown;
use super::args::Limit;
use super::client::AdminClient;
use crate::failure::Failure;
use crate::output;

/// What was done, by whom, and whether the record of it is whole.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show what was done, newest first; only what the token's bearer may see.
    List(Box<ListArgs>),
    /// Show the seals over the record.
    Seals {
        #[command(flatten)]
        limit: Limit,
    },
    /// Check every seal against the record. Ends with 1 if anything was edited, removed or inserted.
    Verify {
        /// Begin with this seal instead of the first.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        from: Option<u32>,
        /// A hash that was printed before, or logged, and kept elsewhere: some seal has to have it still. A chain that
        /// was made anew, or restored from an older backup, is whole and does not.
        #[arg(long, value_name = "HASH")]
        expect: Vec<String>,
    },
}

/// Which events are shown.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this practice.
    #[arg(long, value_name = "NUMBER")]
    practice: Option<PracticeNumber>,
    /// Only those about this app.
    #[arg(long, value_name = "CLIENT_ID")]
    app: Option<String>,
    /// Only those of this export.
    #[arg(long, value_name = "EXPORT_ID")]
    export: Option<String>,
    /// Only this deed, such as consent.revoked.
    #[arg(long)]
    action: Option<String>,
    /// Only what this one did, such as 'operator ann'.
    #[arg(long)]
    actor: Option<String>,
    /// Only from this instant on, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    since: Option<DateTime<Utc>>,
    /// Only before this instant.
    #[arg(long, value_name = "INSTANT")]
    until: Option<DateTime<Utc>>,
    #[command(flatten)]
    limit: Limit,
}

pub(super) async fn run(client: &AdminClient, command: AuditCommand) -> Result<Shown, Failure> {
    match command {
        AuditCommand::List(args) => list(client, *args).await,
        AuditCommand::Seals { limit } => {
            let columns = ["number", "first_id", "last_id", "events", "sealed_at", "key_id", "hash"];
            let answer = client.list(&["audit", "seals"], "seals", &[], limit.limit).await?;
            Ok(Shown::list(answer, "seals", columns))
        }
        AuditCommand::Verify { from, expect } => verify(client, from, &expect).await,
    }
}

async fn list(client: &AdminClient, args: ListArgs) -> Result<Shown, Failure> {
    let query = [
        ("practice", args.practice.map(|number| number.to_string())),
        ("client_id", args.app),
        ("export_id", args.export),
        ("action", args.action),
        ("actor", args.actor),
        ("since", args.since.map(|at| at.to_rfc3339())),
        ("until", args.until.map(|at| at.to_rfc3339())),
    ];
    let columns = ["at", "actor", "action", "practice", "client_id", "export_id", "detail"];
    let answer = client.list(&["audit"], "events", &query, args.limit.limit).await?;
    Ok(Shown::list(answer, "events", columns))
}

/// Walks over all seals, as many at a time as the server checks in one request.
async fn verify(client: &AdminClient, from: Option<u32>, expect: &[String]) -> Result<Shown, Failure> {
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let mut sum = Checked::default();
    let mut from = from.map(i64::from);
    loop {
        let query = [("from", from.map(|number| number.to_string()))];
        let page = client.get_with(&["audit", "verify"], &query).await?;
        let next = sum.add(&page)?;
        bar.set_message(format!(
            "{} seals over {} events checked",
            HumanCount(sum.seals),
            HumanCount(sum.events)
        ));
        bar.tick();
        match next {
            Some(next) if from.is_none_or(|from| next > from) => from = Some(next),
            Some(_) => return Err(Failure::failed("the admin API answered with the same page again")),
            None => break,
        }
    }
    bar.finish_and_clear();
    if !expect.is_empty() {
        let all = client.list(&["audit", "seals"], "seals", &[], 0).await?;
        sum.look_for(expect, all["seals"].as_array().map(Vec::as_slice).unwrap_or_default());
    }
    Ok(sum.shown())
}

/// What the pages come to.
#[derive(Debug, Default)]
struct Checked {
    seals: u64,
    events: u64,
    problems: Vec<Value>,
    unsealed: u64,
    last_hash: Value,
}

impl Checked {
    /// Adds a page, and says where the next one begins. A page that does not say what was checked proves nothing.
    fn add(&mut self, page: &Value) -> Result<Option<i64>, Failure> {
        let number = |name: &str| {
            page[name]
                .as_u64()
                .ok_or_else(|| Failure::failed(format!("the admin API answered without {name}")))
        };
        self.seals += number("checked_seals")?;
        self.events += number("checked_events")?;
        self.unsealed = number("unsealed_events")?;
        let problems = page["problems"].as_array();
        let problems = problems.ok_or_else(|| Failure::failed("the admin API answered without problems"))?;
        self.problems.extend(problems.iter().cloned());
        if !page["last_hash"].is_null() {
            self.last_hash = page["last_hash"].clone();
        }
        Ok(page["next"].as_i64())
    }

    /// Looks for hashes that were kept elsewhere among those of the seals.
    fn look_for(&mut self, kept: &[String], seals: &[Value]) {
        for hash in kept {
            let found =
                seals.iter().any(|seal| seal["hash"].as_str().is_some_and(|h| h.eq_ignore_ascii_case(hash)));
            if !found {
                let problem = format!("no seal has the hash {hash}: this is not the chain that it is from");
                self.problems.push(json!({ "seal": null, "problem": problem }));
            }
        }
    }

    fn shown(self) -> Shown {
        let whole = self.problems.is_empty();
        let answer = json!({
            "whole": whole,
            "checked_seals": self.seals,
            "checked_events": self.events,
            "unsealed_events": self.unsealed,
            "last_hash": self.last_hash,
            "problems": self.problems,
        });
        let mut tables = vec![output::object(&answer)];
        if !whole {
            tables.push(output::list(&self.problems, ["seal", "problem"]));
        }
        let no = (!whole).then_some("the record of what was done is not as it was sealed");
        Shown { tables, no, ..Shown::nothing(answer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(problems: Value, next: Value) -> Value {
        json!({
            "checked_seals": 2, "checked_events": 10, "next": next, "problems": problems,
            "unsealed_events": 1, "last_hash": "ab",
        })
    }

    #[test]
    fn one_problem_on_any_page_makes_the_whole_record_broken() {
        let mut sum = Checked::default();
        assert_eq!(sum.add(&page(json!([{"seal": 1, "problem": "edited"}]), json!(3))).unwrap(), Some(3));
        assert_eq!(sum.add(&page(json!([]), json!(null))).unwrap(), None);
        let shown = sum.shown();
        assert!(shown.no.is_some());
        assert_eq!((&shown.answer["whole"], &shown.answer["checked_events"]), (&json!(false), &json!(20)));
        assert_eq!(shown.answer["problems"][0]["problem"], "edited");
    }

    #[test]
    fn a_chain_without_a_hash_that_was_kept_is_another_chain() {
        let seals = [json!({ "number": 1, "hash": "ab12" }), json!({ "number": 2, "hash": "cd34" })];
        let mut sum = Checked::default();
        sum.look_for(&["AB12".to_owned(), "cd34".to_owned()], &seals);
        assert!(sum.problems.is_empty());
        sum.look_for(&["ef56".to_owned()], &seals);
        assert!(sum.shown().no.is_some());
    }

    #[test]
    fn a_record_without_problems_is_whole_and_an_answer_without_the_list_is_none() {
        let mut sum = Checked::default();
        sum.add(&page(json!([]), json!(null))).unwrap();
        assert!(sum.shown().no.is_none());
        for missing in ["checked_seals", "problems", "unsealed_events"] {
            let mut page = page(json!([]), json!(null));
            page.as_object_mut().unwrap().remove(missing);
            assert!(Checked::default().add(&page).is_err(), "{missing}");
        }
    }
}

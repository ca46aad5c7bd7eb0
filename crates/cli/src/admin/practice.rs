//! `headgate admin practice …`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{Change, Limit, Once};
use super::client::AdminClient;
use super::{Shown, given};
use crate::failure::Failure;
use crate::output;
use crate::source::setting;

/// Tenants and their sources.
#[derive(Debug, Subcommand)]
pub enum PracticeCommand {
    /// Add a practice. A worker looks at its source by itself.
    Create(Box<CreateArgs>),
    /// Show all practices; as a practice's administrator, your own.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one practice.
    Show {
        /// Its number.
        number: PracticeNumber,
    },
    /// Change a practice; what is not given stays.
    Update(Box<UpdateArgs>),
    /// Suspend a practice: running exports end, tokens at it are refused.
    Suspend {
        /// Its number.
        number: PracticeNumber,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        terms: Change,
    },
    /// End a practice's suspension. (`unpause` ends a pause.)
    Resume {
        /// Its number.
        number: PracticeNumber,
        #[command(flatten)]
        terms: Change,
    },
    /// Have workers take up nothing new of a practice. What runs goes on to its end, kick-offs wait, purging goes on.
    Pause(Hold),
    /// The same, and have what runs checkpoint and be given back.
    Drain(Hold),
    /// End a pause or drain.
    Unpause {
        /// Its number.
        number: PracticeNumber,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        terms: Change,
    },
    /// Have a worker look at the practice's source anew.
    Refresh {
        /// Its number.
        number: PracticeNumber,
    },
    /// Show what a worker found in the practice's source.
    Source {
        /// Its number.
        number: PracticeNumber,
    },
}

/// A practice that is held, and why.
#[derive(Debug, Args)]
pub struct Hold {
    /// Its number.
    number: PracticeNumber,
    /// Why; whoever asks what an export waits for is told.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    terms: Change,
}

/// A practice to be added.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its number, such as 100491.
    #[arg(long)]
    number: PracticeNumber,
    /// Its name in paths and host names.
    #[arg(long)]
    slug: String,
    /// Its name for people.
    #[arg(long)]
    name: String,
    /// Its public FHIR base URL.
    #[arg(long, value_name = "URL")]
    base_url: String,
    /// Where workers find the DSN of its EHR database: env:NAME or file:/path.
    #[arg(long, value_name = "REF")]
    source: String,
    /// Schema of the source contract; `fhir_export` if not given.
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The mapping set of the source, where it offers plain columns.
    #[arg(long, value_name = "SET")]
    mapping: Option<String>,
    /// Session setting for the source; may be repeated.
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Seconds that a row's stamp may lie before the commit that shows it, where the stamps are not the
    /// database's own clock, or on a replica.
    #[arg(long, value_name = "SECONDS")]
    late_commit_allowance_s: Option<u32>,
    /// Since when the source remembers deletions and who left a group; since ever if not given.
    #[arg(long, value_name = "INSTANT")]
    history_since: Option<String>,
    /// Where its files lie in the bucket; `ema/NUMBER` if not given.
    #[arg(long, value_name = "PREFIX")]
    s3_prefix: Option<String>,
    /// Switch, such as since_without_zone=false; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = setting)]
    options: Vec<(String, String)>,
    #[command(flatten)]
    once: Once,
}

/// What is to be another of a practice from now on.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Its number.
    number: PracticeNumber,
    /// Its new name.
    #[arg(long)]
    name: Option<String>,
    /// Its new public FHIR base URL; tokens for the former one end with it.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Where workers find the DSN of its EHR database: env:NAME or file:/path.
    #[arg(long, value_name = "REF")]
    source: Option<String>,
    /// Schema of the source contract.
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The mapping set of the source; empty where it offers finished resources.
    #[arg(long, value_name = "SET")]
    mapping: Option<String>,
    /// Session setting for the source, in place of all former ones; may be repeated.
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Seconds that a row's stamp may lie before the commit that shows it; empty for none.
    #[arg(long, value_name = "SECONDS")]
    late_commit_allowance_s: Option<String>,
    /// Since when the source remembers deletions and who left a group; empty for since ever.
    #[arg(long, value_name = "INSTANT")]
    history_since: Option<String>,
    /// Switch, such as since_without_zone=false; without a value it gets its default again. May be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = setting)]
    options: Vec<(String, String)>,
    #[command(flatten)]
    terms: Change,
}

pub(super) async fn run(client: &AdminClient, command: PracticeCommand) -> Result<Shown, Failure> {
    Ok(match command {
        PracticeCommand::Create(mut args) => {
            let once = std::mem::take(&mut args.once);
            Shown::object(client.change(Method::POST, &["practices"], &body(*args), &once.into()).await?)
        }
        PracticeCommand::List { limit } => {
            let columns = ["number", "slug", "name", "base_url", "suspended", "paused"];
            let answer = client.list(&["practices"], "practices", &[], limit.limit).await?;
            Shown::list(answer, "practices", columns)
        }
        PracticeCommand::Update(args) => {
            let path = ["practices", &args.number.to_string()];
            Shown::object(client.change(Method::PATCH, &path, &changes(&args), &args.terms).await?)
        }
        PracticeCommand::Suspend { number, reason, terms } => {
            let path = ["practices", &number.to_string(), "suspend"];
            let answer = client.change(Method::POST, &path, &json!({ "reason": reason }), &terms).await?;
            Shown::ended(answer, "practice")
        }
        PracticeCommand::Resume { number, terms } => {
            let path = ["practices", &number.to_string(), "resume"];
            let answer = client.change(Method::POST, &path, &json!({}), &terms).await?;
            let still = answer["paused"].is_object();
            let line = still.then(|| format!("it is paused still: `practice unpause {number}` ends that"));
            Shown { line, ..Shown::object(answer) }
        }
        PracticeCommand::Pause(hold) => pause(client, hold, false).await?,
        PracticeCommand::Drain(hold) => pause(client, hold, true).await?,
        PracticeCommand::Unpause { number, reason, terms } => {
            let path = ["practices", &number.to_string(), "unpause"];
            let body = given([("reason", reason.map(Into::into))]);
            held(client.change(Method::POST, &path, &body, &terms).await?)
        }
        PracticeCommand::Show { number } => {
            Shown::object(client.get(&["practices", &number.to_string()]).await?)
        }
        PracticeCommand::Refresh { number } => {
            let path = ["practices", &number.to_string(), "refresh"];
            Shown::object(client.post(&path, &json!({})).await?)
        }
        PracticeCommand::Source { number } => {
            let source = client.get(&["practices", &number.to_string(), "source"]).await?;
            Shown::object(source).and_list("unusable", ["relation", "problem"])
        }
    })
}

async fn pause(client: &AdminClient, hold: Hold, drain: bool) -> Result<Shown, Failure> {
    let path = ["practices", &hold.number.to_string(), "pause"];
    let body = json!({ "reason": hold.reason, "drain": drain });
    Ok(held(client.change(Method::POST, &path, &body, &hold.terms).await?))
}

/// The practice's pause and what it was before.
fn held(answer: Value) -> Shown {
    let practice = &answer["practice"];
    let shown = json!({
        "number": practice["number"], "name": practice["name"], "paused": practice["paused"], "before": answer["before"],
    });
    Shown { tables: vec![output::object(&shown)], ..Shown::nothing(answer) }
}

/// The request's body: what was not given is left out, so that the API's own defaults hold.
fn body(args: CreateArgs) -> Value {
    let mut source = Map::from_iter([("dsn_ref".to_owned(), args.source.into())]);
    let mut optional =
        |name: &str, value: Option<Value>| source.extend(value.map(|value| (name.to_owned(), value)));
    optional("schema", args.schema.map(Value::from));
    optional("mapping", args.mapping.map(Value::from));
    optional("late_commit_allowance_s", args.late_commit_allowance_s.map(Value::from));
    optional("history_since", args.history_since.map(Value::from));
    let settings: BTreeMap<_, _> = args.settings.into_iter().collect();
    optional("settings", (!settings.is_empty()).then(|| json!(settings)));
    let mut body = json!({
        "number": args.number,
        "slug": args.slug,
        "name": args.name,
        "base_url": args.base_url,
        "source": source,
    });
    if let Some(prefix) = args.s3_prefix {
        body["s3_prefix"] = prefix.into();
    }
    for (name, value) in args.options {
        body["options"][name] = written(value);
    }
    body
}

/// The changes: what was given, where nothing after the `=` is `null`, which takes the former value away.
fn changes(args: &UpdateArgs) -> Value {
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let or_none = |value: &Option<String>| value.clone().map(written);
    let settings: BTreeMap<_, _> = args.settings.iter().cloned().collect();
    let source = given([
        ("dsn_ref", text(&args.source)),
        ("schema", text(&args.schema)),
        ("mapping", args.mapping.clone().map(|name| if name.is_empty() { Value::Null } else { name.into() })),
        ("settings", (!settings.is_empty()).then(|| json!(settings))),
        ("late_commit_allowance_s", or_none(&args.late_commit_allowance_s)),
        ("history_since", or_none(&args.history_since)),
    ]);
    let options: Map<String, Value> =
        args.options.iter().map(|(name, value)| (name.clone(), written(value.clone()))).collect();
    let some = |object: Value| object.as_object().is_some_and(|o| !o.is_empty()).then_some(object);
    given([
        ("name", text(&args.name)),
        ("base_url", text(&args.base_url)),
        ("source", some(source)),
        ("options", some(Value::Object(options))),
    ])
}

/// `true`, `5`, nothing; anything else goes as text and is refused with the API's own words.
fn written(value: String) -> Value {
    if value.is_empty() { Value::Null } else { serde_json::from_str(&value).unwrap_or(Value::String(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_given_is_left_to_the_api() {
        let args = CreateArgs {
            number: "7".parse().unwrap(),
            slug: "a".to_owned(),
            name: "A".to_owned(),
            base_url: "https://h/a".to_owned(),
            source: "env:A".to_owned(),
            schema: None,
            mapping: Some("m".to_owned()),
            settings: vec![("app.practice".to_owned(), "7".to_owned())],
            late_commit_allowance_s: None,
            history_since: None,
            s3_prefix: None,
            options: vec![("since_without_zone".to_owned(), "false".to_owned())],
            once: Once::default(),
        };
        assert_eq!(
            body(args),
            json!({
                "number": 7, "slug": "a", "name": "A", "base_url": "https://h/a",
                "source": {"dsn_ref": "env:A", "mapping": "m", "settings": {"app.practice": "7"}},
                "options": {"since_without_zone": false},
            })
        );
    }
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: UpdateArgs,
    }

    #[test]
    fn a_change_holds_what_was_given_and_null_for_what_is_taken_away() {
        let words = [
            "update",
            "7",
            "--name=B",
            "--mapping=",
            "--history-since=2026-01-01T00:00:00Z",
            "--late-commit-allowance-s=60",
            "--option=gzip=",
            "--option=us_core=7.0.0",
        ];
        let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
        assert_eq!(
            changes(&line.args),
            json!({
                "name": "B",
                "source": {"mapping": null, "history_since": "2026-01-01T00:00:00Z", "late_commit_allowance_s": 60},
                "options": {"gzip": null, "us_core": "7.0.0"},
            })
        );
        let line = <Line as clap::Parser>::try_parse_from(["update", "7"]).unwrap();
        assert_eq!(changes(&line.args), json!({}));
    }
}

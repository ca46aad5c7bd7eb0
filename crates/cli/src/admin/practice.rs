//! `headgate admin practice …`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use serde_json::{Map, Value, json};

use super::Shown;
use super::client::AdminClient;
use crate::failure::Failure;
use crate::source::setting;

/// Tenants and their sources.
#[derive(Debug, Subcommand)]
pub enum PracticeCommand {
    /// Add a practice. A worker looks at its source by itself.
    Create(Box<CreateArgs>),
    /// Show all practices.
    List,
    /// Show one practice.
    Show {
        /// Its number.
        number: PracticeNumber,
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
}

pub(super) async fn run(client: &AdminClient, command: PracticeCommand) -> Result<Shown, Failure> {
    Ok(match command {
        PracticeCommand::Create(args) => Shown::object(client.post(&["practices"], &body(*args)).await?),
        PracticeCommand::List => {
            let columns = ["number", "slug", "name", "base_url"];
            Shown::list(client.get(&["practices"]).await?, "practices", columns)
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
        // `true`, `5`; anything else goes as text and is refused with the API's own words.
        body["options"][name] = serde_json::from_str(&value).unwrap_or(Value::String(value));
    }
    body
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
}

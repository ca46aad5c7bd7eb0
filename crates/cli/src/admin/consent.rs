//! `headgate admin consent …`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use reqwest::Method;
use serde_json::Value;

use super::args::{Change, Limit, Once};
use super::client::AdminClient;
use super::{Shown, given};
use crate::failure::Failure;

/// A practice's permission for an app.
#[derive(Debug, Subcommand)]
pub enum ConsentCommand {
    /// Show an app as a practice sees it before it consents.
    Preview(Which),
    /// Let an app export a practice.
    Grant(GrantArgs),
    /// Change what a consent in force covers. Exports beyond it end, others go on; what is not given stays.
    Amend(AmendArgs),
    /// Take the permission back: running exports end, their files are deleted.
    Revoke(RevokeArgs),
    /// Show a practice's consents, newest first, ended ones too.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
        /// Only those for this app.
        #[arg(long, value_name = "CLIENT_ID")]
        app: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

/// An app at a practice.
#[derive(Debug, Args)]
pub struct Which {
    /// The practice's number.
    #[arg(long, value_name = "NUMBER")]
    practice: PracticeNumber,
    /// The app's client id.
    #[arg(long, value_name = "CLIENT_ID")]
    app: String,
}

/// A consent to be granted.
#[derive(Debug, Args)]
pub struct GrantArgs {
    #[command(flatten)]
    which: Which,
    /// Who at the practice grants it, where an operator enters it; whoever the token names if not given.
    #[arg(long, value_name = "WHO")]
    granted_by: Option<String>,
    /// What is granted; the app's own scopes if not given.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Only this group; may be repeated. Without it: everything.
    #[arg(long = "group", value_name = "GROUP_ID")]
    groups: Vec<String>,
    /// Until when, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<DateTime<Utc>>,
    #[command(flatten)]
    once: Once,
}

/// A consent to be changed.
#[derive(Debug, Args)]
pub struct AmendArgs {
    #[command(flatten)]
    which: Which,
    /// What is granted from now on.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Only this group from now on; may be repeated.
    #[arg(long = "group", value_name = "GROUP_ID", conflicts_with = "all_groups")]
    groups: Vec<String>,
    /// Everything from now on, instead of groups.
    #[arg(long)]
    all_groups: bool,
    /// Until when, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "INSTANT", conflicts_with = "no_expiry")]
    expires_at: Option<DateTime<Utc>>,
    /// Until it is revoked.
    #[arg(long)]
    no_expiry: bool,
    #[command(flatten)]
    terms: Change,
}

/// A consent to be revoked.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    which: Which,
    /// Who at the practice revokes it, where an operator enters it; whoever the token names if not given.
    #[arg(long, value_name = "WHO")]
    revoked_by: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    terms: Change,
}

pub(super) async fn run(client: &AdminClient, command: ConsentCommand) -> Result<Shown, Failure> {
    Ok(match command {
        ConsentCommand::Preview(which) => {
            let path = ["practices", &which.practice.to_string(), "apps", &which.app];
            Shown::object(client.get(&path).await?)
        }
        ConsentCommand::Grant(args) => {
            let groups = (!args.groups.is_empty()).then(|| Value::from(args.groups));
            let body = given([
                ("client_id", Some(args.which.app.into())),
                ("granted_by", args.granted_by.map(Value::from)),
                ("scopes", args.scopes.map(Value::from)),
                ("group_ids", groups),
                ("expires_at", args.expires_at.map(|at| at.to_rfc3339().into())),
            ]);
            let path = ["practices", &args.which.practice.to_string(), "consents"];
            Shown::object(client.change(Method::POST, &path, &body, &args.once.into()).await?)
        }
        ConsentCommand::Amend(args) => {
            let path = ["practices", &args.which.practice.to_string(), "consents", &args.which.app];
            let answer = client.change(Method::PUT, &path, &args.body(), &args.terms).await?;
            Shown::ended(answer, "consent")
        }
        ConsentCommand::Revoke(args) => {
            let body = given([
                ("revoked_by", args.revoked_by.map(Value::from)),
                ("reason", args.reason.map(Value::from)),
            ]);
            let path = ["practices", &args.which.practice.to_string(), "consents", &args.which.app, "revoke"];
            Shown::ended(client.change(Method::POST, &path, &body, &args.terms).await?, "consent")
        }
        ConsentCommand::List { practice, app, limit } => {
            let columns =
                ["client_id", "scopes", "group_ids", "granted_by", "granted_at", "revoked_at", "in_force"];
            let path = ["practices", &practice.to_string(), "consents"];
            let answer = client.list(&path, "consents", &[("client_id", app)], limit.limit).await?;
            Shown::list(answer, "consents", columns)
        }
    })
}

impl AmendArgs {
    /// Only what was given; `null` takes a limit away.
    fn body(&self) -> Value {
        let groups = if self.all_groups {
            Some(Value::Null)
        } else {
            (!self.groups.is_empty()).then(|| Value::from(self.groups.clone()))
        };
        let expires_at = match self.expires_at {
            Some(at) => Some(at.to_rfc3339().into()),
            None => self.no_expiry.then_some(Value::Null),
        };
        given([
            ("scopes", self.scopes.clone().map(Value::from)),
            ("group_ids", groups),
            ("expires_at", expires_at),
        ])
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: AmendArgs,
    }

    #[test]
    fn a_limit_that_is_lifted_is_null_and_one_that_stays_is_left_out() {
        let body = |words: &[&str]| {
            let fixed = ["amend", "--practice", "7", "--app", "c"];
            Line::try_parse_from(fixed.iter().chain(words)).map(|line| line.args.body()).ok()
        };
        assert_eq!(body(&[]), Some(json!({})));
        assert_eq!(
            body(&["--all-groups", "--no-expiry"]),
            Some(json!({"group_ids": null, "expires_at": null}))
        );
        assert_eq!(
            body(&["--group", "a", "--group", "b", "--scopes", "system/Patient.rs"]),
            Some(json!({"group_ids": ["a", "b"], "scopes": "system/Patient.rs"}))
        );
        assert_eq!(body(&["--group", "a", "--all-groups"]), None);
    }
}

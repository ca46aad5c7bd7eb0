//! Whether a practice's source can be exported from: what `headgate source check` looks at, but for the relations one
//! by one.

use std::time::Duration;

use headgate_runtime::Config;
use headgate_source::Source;
use headgate_store::{PracticeRecord, Store};
use headgate_worker::{Error, SourceDefaults, mappings};

use super::finding::Finding;
use crate::failure::with_causes;
use crate::worker;

/// A lag beyond this is worth a look: somebody holds a transaction open.
const LONG_LAG: Duration = Duration::from_secs(900);

/// How sources are opened, as a worker would, in the time that a check has.
pub fn defaults(config: &Config, patience: Duration) -> SourceDefaults {
    let usual = worker::source_defaults(&config.source, &config.limits);
    SourceDefaults {
        connect_timeout: usual.connect_timeout.min(patience),
        statement_timeout: usual.statement_timeout.min(patience),
        max_connections: 1,
        ..usual
    }
}

/// Connects by the practice's DSN reference, reads the catalogue, and takes a horizon.
pub async fn check(store: &Store, practice: &PracticeRecord, defaults: &SourceDefaults) -> Vec<Finding> {
    let number = practice.practice.number;
    let check = format!("source of practice {number}");
    let more = format!("`headgate source check --practice {number}` says more");
    if practice.suspended.is_some() {
        return vec![Finding::ok(check, "not looked at: the practice is suspended")];
    }
    let binding = match store.source_binding(number).await {
        Ok(Some(binding)) => binding,
        Ok(None) => return vec![Finding::warning(check, "the practice has gone meanwhile", "look again")],
        Err(error) => return vec![Finding::failed(check, with_causes(&error), "see the server's log")],
    };
    let source = match headgate_worker::open_source(&binding, defaults) {
        Ok(source) => source,
        Err(Error::Dsn(error)) => {
            let mend = "look again in a worker's environment: its DSN references are followed there";
            return vec![Finding::warning(check, with_causes(&error), mend)];
        }
        Err(error) => {
            return vec![Finding::failed(check, with_causes(&error), "see what the reference leads to")];
        }
    };
    let finding = match mappings::of(store, defaults.mappings.as_deref(), &binding).await {
        Ok(mappings) => look(&source, mappings.as_ref(), &check, &more).await,
        Err(error) => Finding::failed(check, with_causes(&error), "see `headgate admin mapping list`"),
    };
    source.close().await;
    vec![finding]
}

async fn look(
    source: &Source,
    mappings: Option<&headgate_domain::mapping::MappingSet>,
    check: &str,
    more: &str,
) -> Finding {
    let catalog = match source.catalog(mappings).await {
        Ok(catalog) => catalog,
        Err(error) => return Finding::failed(check, with_causes(&error), more),
    };
    let horizon = match source.horizon().await {
        Ok(horizon) => horizon,
        Err(error) => return Finding::failed(check, with_causes(&error), more),
    };
    if catalog.relations.is_empty() {
        return Finding::failed(
            check,
            format!("the schema {} has no relation to export", catalog.schema),
            more,
        );
    }
    let lag = horizon.lag.as_secs();
    let found = format!(
        "{} relations; transactionTime is {lag} s behind, limited by {}",
        catalog.relations.len(),
        horizon.limited_by
    );
    if !catalog.unusable.is_empty() {
        let found = format!("{found}; {} more cannot be used", catalog.unusable.len());
        return Finding::warning(check, found, more);
    }
    if horizon.lag > LONG_LAG {
        return Finding::warning(check, found, "end the transaction that somebody holds open in the source");
    }
    Finding::ok(check, found)
}

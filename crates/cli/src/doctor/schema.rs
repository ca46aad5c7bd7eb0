//! Whether the control database has the schema that this program needs.

use headgate_store::{Error, Store};

use super::finding::Finding;
use crate::failure::with_causes;

const CHECK: &str = "schema";

/// Looks at the version; true if this program can work with it.
pub async fn check(store: &Store) -> (Finding, bool) {
    match store.check_schema().await {
        Ok(version) => (Finding::ok(CHECK, format!("version {version}")), true),
        Err(error) => {
            let mend = match error {
                Error::Unmigrated(_) => "`headgate migrate`, as the owner of the database",
                Error::Schema(_) => {
                    "install the version of Headgate that the database was migrated for, or a newer one"
                }
                _ => "see the server's log",
            };
            (Finding::failed(CHECK, with_causes(&error), mend), false)
        }
    }
}

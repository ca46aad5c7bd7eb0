//! Whether the configuration can be used, and for which roles.

use std::path::Path;

use headgate_runtime::{Config, ConfigError, Role};

use super::finding::Finding;
use super::{Roles, Which};
use crate::failure::with_causes;

const CHECK: &str = "configuration";

/// Reads the configuration as the roles would.
pub fn check(file: Option<&Path>, which: Which) -> (Finding, Option<(Config, Roles)>) {
    let (both, api, worker) = (
        Roles { api: true, worker: true },
        Roles { api: true, worker: false },
        Roles { api: false, worker: true },
    );
    let load = |role| Config::load(file, role);
    match which {
        Which::Api => judged(load(Role::Api), "api", api),
        Which::Worker => judged(load(Role::Worker), "worker", worker),
        Which::All => match (load(Role::Api), load(Role::Worker)) {
            (Ok(config), Ok(_)) => judged(Ok(config), "api, worker", both),
            (Err(error), Ok(config)) => {
                let found = "enough for the role worker, not for the role api";
                let mend = format!("for the role api: {}", problems(&error));
                (Finding::warning(CHECK, found, mend), Some((config, worker)))
            }
            (_, Err(error)) => judged(Err(error), "worker", worker),
        },
    }
}

fn judged(
    read: Result<Config, ConfigError>,
    named: &str,
    roles: Roles,
) -> (Finding, Option<(Config, Roles)>) {
    match read {
        Ok(config) => (Finding::ok(CHECK, format!("complete for: {named}")), Some((config, roles))),
        Err(error) => {
            (Finding::failed(CHECK, format!("cannot be used for: {named}"), problems(&error)), None)
        }
    }
}

/// What is wrong, in one line. The errors hold no value that may be a secret.
fn problems(error: &ConfigError) -> String {
    match error {
        ConfigError::Options(problems) => problems.join("; "),
        file @ ConfigError::File { .. } => with_causes(file),
    }
}

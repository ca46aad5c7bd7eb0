//! `headgate migrate`: brings the control database's schema up to date, and the grants of the roles that the API and the
//! workers connect as.

use std::path::Path;

use clap::Args;
use headgate_runtime::{Config, Role};
use headgate_store::{NEWEST_SCHEMA_VERSION, Roles};

use crate::bootstrap;
use crate::failure::Failure;

/// Bring the control database's schema up to date.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Create the roles `database.api_role`, `database.worker_role` and `database.observer_role` where they are missing.
    /// They can log in and have no password: set one, or let the server authenticate them otherwise. Needs the right to create roles.
    #[arg(long)]
    create_roles: bool,
}

/// Runs all migrations that the database has not had. Several at a time do no harm: one waits for the other.
pub async fn run(file: Option<&Path>, args: &MigrateArgs) -> Result<(), Failure> {
    let (config, life) = bootstrap::begin(file, Role::Migrate)?;
    let store = bootstrap::store(&config, &life).await?;
    let version = store.migrate().await?;
    if version > NEWEST_SCHEMA_VERSION {
        // Its grants are those of the next version: ours would take away what that added.
        tracing::info!(
            version,
            knows = NEWEST_SCHEMA_VERSION,
            "the control database is one version ahead of this program, which works with it: nothing is to be done"
        );
        store.close().await;
        return Ok(());
    }
    let roles = roles(&config);
    let granted = store.grant_roles(&roles, args.create_roles).await?;
    if granted.engine {
        tracing::info!(api = roles.api, worker = roles.worker, "the roles may do what they need and no more");
    } else {
        tracing::warn!(
            api = roles.api,
            worker = roles.worker,
            "there are no such roles: as the owner of the tables, the API is not bound by row-level security; \
             `headgate migrate --create-roles` makes them"
        );
    }
    if granted.observer {
        tracing::info!(observer = roles.observer, "the role may ask how much is runnable, and nothing else");
    }
    tracing::info!(version, "the control database is up to date");
    store.close().await;
    Ok(())
}

/// The roles that the configuration names.
pub fn roles(config: &Config) -> Roles {
    let names = &config.database;
    Roles {
        api: names.api_role.clone(),
        worker: names.worker_role.clone(),
        observer: names.observer_role.clone(),
    }
}

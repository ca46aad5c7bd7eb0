//! `headgate migrate`: brings the control database's schema up to date.

use std::path::Path;

use headgate_runtime::Role;

use crate::bootstrap;
use crate::failure::Failure;

/// Runs all migrations that the database has not had. Several at a time do no harm: one waits for the other.
pub async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let (config, life) = bootstrap::begin(file, Role::Migrate)?;
    let store = bootstrap::store(&config, &life).await?;
    store.migrate().await?;
    let version = store.check_schema().await?;
    tracing::info!(version, "the control database is up to date");
    store.close().await;
    Ok(())
}

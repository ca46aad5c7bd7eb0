//! The purge step: an ended export's objects go, at once and, while a lease may still be alive, again.

use std::sync::Arc;
use std::time::Duration;

use headgate_domain::file_name::export_prefix;
use headgate_metrics::{lifecycle, storage};
use headgate_store::StepLease;

use crate::acquire_loop::Ended;
use crate::context::Context;
use crate::{Error, ask};

/// Pause before a prefix is emptied again.
const AGAIN: Duration = Duration::from_secs(1);

/// Empties the export's prefix.
pub async fn run(context: Arc<Context>, lease: StepLease) -> Result<Ended, Error> {
    let binding = ask::control(context.store.source_binding(lease.practice)).await?;
    let binding = binding.ok_or(Error::NoPractice)?;
    // Asked before: an object put after the question is met by the next round.
    let quiet = ask::control(context.store.is_quiet(&lease)).await?;
    let objects = context.objects.delete_prefix(&export_prefix(&binding.s3_prefix, &lease.export)).await?;
    if quiet {
        let again = ask::control(context.store.purged(&lease, objects)).await?;
        lifecycle::SWEEPS.add(1, &[("result", "ok".into())]);
        if again {
            storage::ORPHANS.add(objects, &[]);
        }
        if !again || objects > 0 {
            tracing::info!(practice = %lease.practice, export = %lease.export, objects, "export purged");
        }
    } else {
        ask::control(context.store.release_step(&lease, AGAIN, true)).await?;
    }
    Ok(Ended::Done)
}

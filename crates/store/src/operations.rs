//! Operating a fleet: holding practices or all of them, and seeing who works on what, what is stuck, what waits, and
//! what it costs. What is read here is read for operators, of all practices.

mod costs;
mod leases;
mod pause;
mod status;
mod stuck;
mod waits;

pub use costs::PracticeCost;
pub use leases::HeldLease;
pub use pause::{Pause, PauseChange};
pub use status::{FleetStatus, PausedPractice, WorkerSeen};
pub use stuck::{Stuck, Trouble};
pub use waits::ExportWait;

use crate::Result;
use crate::error::number;

/// A count of a row, which is never negative.
fn count<T: TryInto<u64>>(value: T, table: &'static str, column: &'static str) -> Result<u64> {
    value.try_into().map_err(|_| crate::Error::Inconsistent { table, column })
}

/// The number of a shard within its stream, and of the stream, of rows that have them.
fn place(stream: Option<i32>, shard: Option<i32>) -> Result<Option<(i16, i32)>> {
    let (Some(stream), Some(shard)) = (stream, shard) else { return Ok(None) };
    Ok(Some((number(stream, "shard", "stream")?, shard)))
}

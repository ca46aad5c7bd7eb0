//! One byte budget for all files that a worker is filling or uploading.
//!
//! Shards take bytes as their files grow and give them back when the file is uploaded. Uploads always come
//! to an end, but several half-filled files could together hold the whole budget and wait for each other
//! for ever. So one of them at a time may overdraw: it fills its file to the end, uploads it, and the
//! budget flows again. The worker's memory is bounded by the budget and one file.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in this unit, so that a budget of gigabytes fits a semaphore.
const UNIT: usize = 1024;

/// The budget.
#[derive(Debug, Clone)]
pub struct Budget {
    /// In units.
    total: usize,
    units: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug, Default)]
pub struct Taken {
    permit: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let total = bytes.div_ceil(UNIT);
        Self { total, units: Arc::new(Semaphore::new(total)), overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// Bytes that are taken, without what one file may overdraw.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        (self.total - self.units.available_permits().min(self.total)) * UNIT
    }

    /// Takes `bytes` more; waits until they are there, or until this file may overdraw.
    pub async fn take(&self, taken: &mut Taken, bytes: usize) {
        if taken.overdraft.is_some() {
            return;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            permit = Arc::clone(&self.units).acquire_many_owned(units) => {
                let permit = permit.expect("the semaphore is never closed");
                match &mut taken.permit {
                    Some(held) => held.merge(permit),
                    None => taken.permit = Some(permit),
                }
            }
            overdraft = Arc::clone(&self.overdraft).acquire_owned() => {
                taken.overdraft = Some(overdraft.expect("the semaphore is never closed"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn half_filled_files_never_wait_for_each_other_for_ever() {
        let budget = Budget::new(10 * UNIT);
        let (mut a, mut b) = (Taken::default(), Taken::default());
        budget.take(&mut a, 5 * UNIT).await;
        budget.take(&mut b, 5 * UNIT).await;
        // Nothing is left and nobody uploads: one may go on, the other waits for it.
        budget.take(&mut a, 100 * UNIT).await;
        assert!(a.overdraft.is_some());
        let waiting =
            tokio::time::timeout(std::time::Duration::from_millis(50), budget.take(&mut b, UNIT)).await;
        assert!(waiting.is_err(), "only one file may overdraw");
        drop(a);
        budget.take(&mut b, UNIT).await;
        assert!(b.overdraft.is_none());
    }

    #[tokio::test]
    async fn bytes_come_back_when_a_file_is_done() {
        let budget = Budget::new(4 * UNIT);
        let mut taken = Taken::default();
        budget.take(&mut taken, 3 * UNIT).await;
        budget.take(&mut taken, 1).await;
        assert_eq!(budget.units.available_permits(), 0);
        drop(taken);
        assert_eq!(budget.units.available_permits(), 4);
    }
}

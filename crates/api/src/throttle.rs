//! Polls are counted, and a client that hammers is told to wait (Bulk Data IG, Bulk Data Status Request).
//!
//! Each export may be polled [`BURST`] times at once and twice a second in the long run: far more than any client that
//! heeds `Retry-After`, or that sleeps at all, ever comes to. The count is kept by each process for itself and
//! is bounded; where the bound is reached, polls are let through uncounted, for nobody may be kept from their data
//! because others hammer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headgate_domain::{ClientId, ExportId, PracticeNumber};

/// Polls at once.
const BURST: u32 = 60;

/// The time that a poll takes to be forgotten.
const INTERVAL: Duration = Duration::from_millis(500);

/// Exports whose polls are counted at a time: some megabytes.
const MOST: usize = 20_000;

/// Whose polls are counted together.
type Key = (PracticeNumber, ClientId, ExportId);

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// When all of an export's polls will be forgotten. That says how many are remembered: the time until
    /// then, in intervals.
    clear_at: HashMap<Key, Instant>,
    swept_at: Option<Instant>,
}

impl Throttle {
    /// Counts a poll. `false` when it is one too many; such a poll is not counted.
    pub(crate) fn admits(&self, practice: PracticeNumber, client: &ClientId, export: &ExportId) -> bool {
        self.admits_at((practice, client.clone(), export.clone()), Instant::now())
    }

    fn admits_at(&self, key: Key, now: Instant) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clear_at) = counts.clear_at.get_mut(&key) {
            let remembered = clear_at.saturating_duration_since(now);
            if remembered > INTERVAL * (BURST - 1) {
                return false;
            }
            *clear_at = now + remembered + INTERVAL;
            return true;
        }
        if counts.clear_at.len() >= MOST {
            counts.sweep(now);
        }
        if counts.clear_at.len() < MOST {
            counts.clear_at.insert(key, now + INTERVAL);
        }
        true
    }
}

impl Counts {
    /// Drops what is forgotten, once a second at most: it looks at everything.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.swept_at = Some(now);
        self.clear_at.retain(|_, clear_at| *clear_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        let mut random = [0; 16];
        random[..4].copy_from_slice(&n.to_be_bytes());
        (PracticeNumber::new(1).unwrap(), ClientId::from_random([7; 25]), ExportId::from_random(random))
    }

    #[test]
    fn a_client_that_polls_twice_a_second_is_never_told_to_wait() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..10_000 {
            assert!(throttle.admits_at(key(1), start + INTERVAL * n), "{n}");
        }
    }

    #[test]
    fn a_client_that_hammers_is_let_through_twice_a_second() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let admitted =
            (0..10_000).filter(|ms| throttle.admits_at(key(1), start + Duration::from_millis(*ms)));
        let admitted = u32::try_from(admitted.count()).unwrap();
        assert!((BURST + 19..=BURST + 20).contains(&admitted), "{admitted}");
        // Having waited, it may come again; and another export was never affected.
        assert!(throttle.admits_at(key(1), start + Duration::from_secs(11)));
        assert!(throttle.admits_at(key(2), start + Duration::from_secs(10)));
    }

    #[test]
    fn the_count_is_bounded_and_who_does_not_fit_is_let_through() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let most = u32::try_from(MOST).unwrap();
        for n in 0..most + 100 {
            assert!(throttle.admits_at(key(n), start));
        }
        assert_eq!(throttle.0.lock().unwrap().clear_at.len(), MOST);
        assert!(throttle.admits_at(key(most + 1), start + Duration::from_secs(2)));
        assert_eq!(throttle.0.lock().unwrap().clear_at.len(), 1, "what is forgotten is dropped");
    }
}

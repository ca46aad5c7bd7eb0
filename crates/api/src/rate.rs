//! How often somebody may do something: a count of requests by whom they come from.
//!
//! A bucket of tokens for each: so many requests at once, and one for each interval in the long run. The counts are
//! kept by each process for itself and are bounded; where the bound is reached, requests are let through uncounted,
//! for nobody may be kept from their data because others hammer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys whose requests are counted at a time: some megabytes.
const MOST: usize = 20_000;

/// The counts.
#[derive(Debug)]
pub(crate) struct Rate<K> {
    burst: u32,
    interval: Duration,
    counts: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    /// When all requests of a key will be forgotten. That says how many are remembered: the time until then, in
    /// intervals.
    clear_at: HashMap<K, Instant>,
    swept_at: Option<Instant>,
}

impl<K: Eq + Hash> Rate<K> {
    /// Admits `burst` requests at once, of which one is forgotten in each `interval`.
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        let counts = Counts { clear_at: HashMap::new(), swept_at: None };
        Self { burst, interval, counts: Mutex::new(counts) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// When it is one too many, after how long the next one will be admitted; such a request is not counted.
    pub(crate) fn admit(&self, key: K) -> Result<(), Duration> {
        self.admit_at(key, Instant::now())
    }

    fn admit_at(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clear_at) = counts.clear_at.get_mut(&key) {
            let remembered = clear_at.saturating_duration_since(now);
            let room = self.interval * self.burst.saturating_sub(1);
            if remembered > room {
                return Err(remembered - room);
            }
            *clear_at = now + remembered + self.interval;
            return Ok(());
        }
        if counts.clear_at.len() >= MOST {
            counts.sweep(now);
        }
        if counts.clear_at.len() < MOST {
            counts.clear_at.insert(key, now + self.interval);
        }
        Ok(())
    }
}

impl<K: Eq + Hash> Counts<K> {
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

    const BURST: u32 = 60;
    const INTERVAL: Duration = Duration::from_millis(500);

    fn rate() -> (Rate<u32>, Instant) {
        (Rate::new(BURST, INTERVAL), Instant::now())
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_told_to_wait() {
        let (rate, start) = rate();
        for n in 0..10_000 {
            assert!(rate.admit_at(1, start + INTERVAL * n).is_ok(), "{n}");
        }
    }

    #[test]
    fn who_hammers_is_let_through_at_the_rate() {
        let (rate, start) = rate();
        let admitted = (0..10_000).filter(|ms| rate.admit_at(1, start + Duration::from_millis(*ms)).is_ok());
        let admitted = u32::try_from(admitted.count()).unwrap();
        assert!((BURST + 19..=BURST + 20).contains(&admitted), "{admitted}");
        // Having waited, they may come again; and others were never affected.
        assert!(rate.admit_at(1, start + Duration::from_secs(11)).is_ok());
        assert!(rate.admit_at(2, start + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn who_waits_as_long_as_told_is_admitted() {
        let (rate, start) = rate();
        let now = start + Duration::from_millis(100);
        let mut wait = None;
        for _ in 0..=BURST {
            wait = rate.admit_at(1, now).err();
        }
        let wait = wait.unwrap();
        assert!(wait <= INTERVAL, "{wait:?}");
        assert!(rate.admit_at(1, now + wait - Duration::from_millis(1)).is_err());
        assert!(rate.admit_at(1, now + wait).is_ok());
    }

    #[test]
    fn one_at_a_time_is_a_rate_too() {
        let (rate, start) = (Rate::new(1, INTERVAL), Instant::now());
        assert!(rate.admit_at(1, start).is_ok());
        assert_eq!(rate.admit_at(1, start), Err(INTERVAL));
        assert!(rate.admit_at(1, start + INTERVAL).is_ok());
    }

    #[test]
    fn the_count_is_bounded_and_who_does_not_fit_is_let_through() {
        let (rate, start) = rate();
        let most = u32::try_from(MOST).unwrap();
        for n in 0..most + 100 {
            assert!(rate.admit_at(n, start).is_ok());
        }
        assert_eq!(rate.counts.lock().unwrap().clear_at.len(), MOST);
        assert!(rate.admit_at(most + 1, start + Duration::from_secs(2)).is_ok());
        assert_eq!(rate.counts.lock().unwrap().clear_at.len(), 1, "what is forgotten is dropped");
    }
}

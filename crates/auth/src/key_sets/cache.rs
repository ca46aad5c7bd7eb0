//! What was fetched, for how long it counts, and when it is fetched again.
//!
//! - A set serves until `Cache-Control` or the cap ends its time, even while its host is down; then there
//!   are no keys until the host answers. A set that may not be kept serves those who were waiting for it.
//! - A key id that the set at hand lacks may be a new key, so the set is fetched again; but at most once
//!   per cool-down, because anybody can send any key id.
//! - A failure is remembered for some seconds, so that a dead host is not dialled for each request.
//! - One fetch per URL at a time: whoever needs the set meanwhile waits for that fetch. It is a task of
//!   its own, so a caller who leaves does not end it for the others. URLs never wait for each other,
//!   except for the bound on all fetches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::KeySetError;
use super::fetch::{Fetched, Fetcher};
use crate::jwks::JwksError;

/// How long a failure is remembered, if the cool-down is not shorter.
const FAILURE_AGE: Duration = Duration::from_secs(5);

/// A kind of key set that a document can be read as.
pub(super) trait KeySet: Sized + Send + Sync + 'static {
    /// The usable keys, and what is wrong with the others.
    fn from_document(set: &Value) -> Result<(Self, Vec<JwksError>), JwksError>;

    /// Whether a key has this id.
    fn has(&self, kid: &str) -> bool;
}

/// The options that concern the cache.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_age: Duration,
    pub(super) default_age: Duration,
    pub(super) min_age: Duration,
    pub(super) cool_down: Duration,
    pub(super) timeout: Duration,
    pub(super) max_sets: usize,
}

/// The sets of one kind, by URL.
pub(super) struct Cache<T> {
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
    uses: AtomicU64,
    limits: Limits,
}

/// What is known of one URL.
struct Slot<T> {
    state: Mutex<State<T>>,
    /// Held while fetching.
    flight: Arc<tokio::sync::Mutex<()>>,
    /// When it was last used, in uses of the cache.
    used: AtomicU64,
    limits: Limits,
}

struct State<T> {
    held: Option<Held<T>>,
    failed: Option<Failed>,
    /// When a fetch ended that was made for the sake of a key id.
    refetched: Option<Instant>,
}

struct Held<T> {
    set: Arc<T>,
    came: Instant,
    fresh_until: Instant,
}

struct Failed {
    error: KeySetError,
    came: Instant,
    until: Instant,
}

type Answer<T> = Result<Arc<T>, KeySetError>;

impl<T: KeySet> Cache<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { slots: Mutex::default(), uses: AtomicU64::default(), limits }
    }

    /// The set of an URL, if possible one with this key id.
    pub(super) async fn get(&self, fetcher: &Arc<Fetcher>, url: &Url, kid: &str) -> Answer<T> {
        let slot = self.slot(url.as_str());
        let asked = Instant::now();
        if let Some(answer) = slot.answer(kid, asked) {
            return answer;
        }
        let deadline = asked + self.limits.timeout;
        let Ok(flight) = timeout_at(deadline, slot.flight.clone().lock_owned()).await else {
            return slot.answer_when_late();
        };
        // The fetch that this call waited for may have brought what it needs.
        if let Some(answer) = slot.answer(kid, asked) {
            return answer;
        }
        let (task_slot, fetcher, url) = (Arc::clone(&slot), Arc::clone(fetcher), url.clone());
        let fetch = tokio::spawn(async move {
            let _flight = flight;
            let started = Instant::now();
            let fetched = fetcher.fetch(&url).await;
            task_slot.keep(started, fetched, &url);
        });
        // Whether the task ended well is seen by what it left.
        let _ = timeout_at(deadline, fetch).await;
        slot.answer(kid, asked).unwrap_or_else(|| slot.answer_when_late())
    }

    fn slot(&self, url: &str) -> Arc<Slot<T>> {
        let use_number = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(url) {
            slot.used.store(use_number, Ordering::Relaxed);
            return Arc::clone(slot);
        }
        if slots.len() >= self.limits.max_sets {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|(url, _)| url.clone()) {
                slots.remove(&oldest);
            }
        }
        let slot = Arc::new(Slot {
            state: Mutex::new(State { held: None, failed: None, refetched: None }),
            flight: Arc::default(),
            used: AtomicU64::new(use_number),
            limits: self.limits,
        });
        slots.insert(url.to_owned(), Arc::clone(&slot));
        slot
    }
}

impl<T: KeySet> Slot<T> {
    /// The answer to a question of that time without fetching; `None` when a fetch is due. What came
    /// after the question was asked answers it in any case.
    fn answer(&self, kid: &str, asked: Instant) -> Option<Answer<T>> {
        let state = lock(&self.state);
        let now = Instant::now();
        let failed = state.failed.as_ref().filter(|failed| failed.came >= asked || now < failed.until);
        let held = state.held.as_ref().filter(|held| held.came >= asked || now < held.fresh_until);
        match held {
            Some(held) => {
                let cooling = state.refetched.is_some_and(|at| now < at + self.limits.cool_down);
                let good_enough = held.came >= asked || held.set.has(kid) || cooling || failed.is_some();
                good_enough.then(|| Ok(Arc::clone(&held.set)))
            }
            None => failed.map(|failed| Err(failed.error.clone())),
        }
    }

    /// The answer when the fetch takes too long.
    fn answer_when_late(&self) -> Answer<T> {
        let state = lock(&self.state);
        let held = state.held.as_ref().filter(|held| Instant::now() < held.fresh_until);
        held.map(|held| Arc::clone(&held.set)).ok_or(KeySetError::Timeout)
    }

    /// Keeps what a fetch that was started then brought.
    fn keep(&self, started: Instant, fetched: Result<Fetched, KeySetError>, url: &Url) {
        let read = fetched.and_then(|fetched| {
            let (set, faults) = T::from_document(&fetched.document).map_err(KeySetError::Unusable)?;
            let age = fetched.age_allowed.unwrap_or(self.limits.default_age);
            let age = age.max(self.limits.min_age).min(self.limits.max_age);
            Ok((set, faults, age))
        });
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.held.as_ref().is_some_and(|held| started < held.fresh_until) {
            state.refetched = Some(now);
        }
        match read {
            Ok((set, faults, age)) => {
                if faults.iter().any(|fault| matches!(fault, JwksError::PrivateKey { .. })) {
                    tracing::warn!(host = url.host_str(), "a JWKS URL shows a private key to everybody");
                }
                state.held = Some(Held { set: Arc::new(set), came: now, fresh_until: started + age });
                state.failed = None;
            }
            Err(error) => {
                // That this server was busy says nothing about the host.
                let busy = error == KeySetError::Busy;
                let age = if busy { Duration::ZERO } else { FAILURE_AGE.min(self.limits.cool_down) };
                tracing::debug!(host = url.host_str(), reason = error.reason(), "a key set was not fetched");
                state.failed = Some(Failed { error, came: now, until: now + age });
            }
        }
    }
}

/// Nothing that holds these locks can panic half-way, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

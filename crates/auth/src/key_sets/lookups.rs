//! Looking up the names of hosts: each once at a time, whoever asks, and a bounded number at once.
//!
//! The operating system takes its time with a name whose server is dead, much longer than a fetch may take, and cannot
//! be told to stop. So a lookup is a task of its own, which whoever asks later waits for too: a name that somebody chose
//! never holds more than one place. That there was no place says nothing about the host, and is told apart.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Most questions to the resolver at once. Each occupies a thread of the process until it is answered, and a domain's
/// owner decides when that is.
const MAX_LOOKUPS: usize = 64;

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    /// This server looks up too many names.
    #[error("too many names are being looked up")]
    Busy,
    /// The resolver knows none.
    #[error("the name cannot be resolved")]
    NotFound,
}

type Found = Result<Arc<[SocketAddr]>, LookupError>;

/// A lookup that is under way, or has just ended.
type Lookup = watch::Receiver<Option<Found>>;

/// A resolver with these bounds.
pub(super) struct Lookups(Arc<Inner>);

struct Inner {
    resolver: Arc<dyn Resolve>,
    places: Semaphore,
    /// How long a lookup waits for a place.
    patience: Duration,
    under_way: Mutex<HashMap<String, Lookup>>,
}

impl Lookups {
    /// Of a resolver that is asked for fetches that may take so long.
    pub(super) fn new(resolver: Arc<dyn Resolve>, fetch_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            resolver,
            places: Semaphore::new(MAX_LOOKUPS),
            // Less than the fetch waits: so it learns why.
            patience: fetch_timeout / 2,
            under_way: Mutex::default(),
        }))
    }

    /// The lookup of a name that is under way, or a new one.
    fn lookup(&self, name: Name) -> Lookup {
        let mut under_way = self.0.under_way();
        if let Some(lookup) = under_way.get(name.as_str()) {
            return lookup.clone();
        }
        let (tell, lookup) = watch::channel(None);
        under_way.insert(name.as_str().to_owned(), lookup.clone());
        let entry = Entry { inner: Arc::clone(&self.0), name: name.as_str().to_owned() };
        tokio::spawn(async move {
            let found = entry.inner.find(name).await;
            drop(entry);
            // Whoever asked may have given up.
            let _told = tell.send(Some(found));
        });
        lookup
    }
}

impl Resolve for Lookups {
    fn resolve(&self, name: Name) -> Resolving {
        let mut lookup = self.lookup(name);
        Box::pin(async move {
            let found = match lookup.wait_for(Option::is_some).await {
                Ok(found) => found.clone(),
                Err(_panicked) => None,
            };
            let found = found.unwrap_or(Err(LookupError::NotFound))?;
            let found: Vec<_> = found.iter().copied().collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Inner {
    async fn find(&self, name: Name) -> Found {
        let place = timeout(self.patience, self.places.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or(LookupError::Busy)?;
        self.resolver.resolve(name).await.map(Iterator::collect).map_err(|_| LookupError::NotFound)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Lookup>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of a lookup, until it has ended in whatever way.
struct Entry {
    inner: Arc<Inner>,
    name: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.inner.under_way().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Never answers of `dead.example`, of `slow.example` when it is told to, and of all others at once.
    #[derive(Clone, Default)]
    struct Names {
        asked: Arc<AtomicUsize>,
        go: Arc<Notify>,
    }

    impl Names {
        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    impl Resolve for Names {
        fn resolve(&self, name: Name) -> Resolving {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let go = Arc::clone(&self.go);
            Box::pin(async move {
                match name.as_str() {
                    "dead.example" => std::future::pending().await,
                    "slow.example" => go.notified().await,
                    "no.example" => return Err("no such name".into()),
                    _ => {}
                }
                Ok(Box::new(std::iter::once(SocketAddr::from(([192, 0, 2, 1], 0)))) as Addrs)
            })
        }
    }

    fn lookups(fetch_timeout: Duration) -> (Arc<Lookups>, Names) {
        let names = Names::default();
        (Arc::new(Lookups::new(Arc::new(names.clone()), fetch_timeout)), names)
    }

    async fn ask(lookups: &Lookups, name: &str) -> Result<usize, LookupError> {
        let found = lookups.resolve(name.parse().unwrap()).await;
        found.map(Iterator::count).map_err(|error| *error.downcast::<LookupError>().unwrap())
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_who_ask_meanwhile_and_again_for_those_who_ask_later() {
        let (lookups, names) = lookups(LONG);
        let mut askers = JoinSet::new();
        for _ in 0..100 {
            let lookups = Arc::clone(&lookups);
            askers.spawn(async move { ask(&lookups, "slow.example").await });
        }
        // One that leaves ends nothing for the others.
        let leaving = tokio::time::timeout(Duration::from_millis(20), ask(&lookups, "slow.example"));
        assert!(leaving.await.is_err());
        names.go.notify_one();
        assert!(askers.join_all().await.iter().all(|found| *found == Ok(1)));
        assert_eq!(names.asked(), 1);
        names.go.notify_one();
        assert_eq!(ask(&lookups, "slow.example").await, Ok(1));
        assert_eq!(names.asked(), 2);
        assert_eq!(ask(&lookups, "no.example").await, Err(LookupError::NotFound));
        assert!(lookups.0.under_way().is_empty());
    }

    #[tokio::test]
    async fn a_dead_name_holds_one_place_however_often_it_is_asked_for() {
        let (lookups, _names) = lookups(LONG);
        for _ in 0..2 * MAX_LOOKUPS {
            let asked = tokio::time::timeout(Duration::from_millis(1), ask(&lookups, "dead.example"));
            assert!(asked.await.is_err());
        }
        assert_eq!(lookups.0.places.available_permits(), MAX_LOOKUPS - 1);
        assert_eq!(ask(&lookups, "good.example").await, Ok(1));
    }

    #[tokio::test]
    async fn a_lookup_that_finds_no_place_is_told_so() {
        let (lookups, names) = lookups(Duration::from_millis(100));
        let places = lookups.0.places.acquire_many(u32::try_from(MAX_LOOKUPS).unwrap()).await.unwrap();
        assert_eq!(ask(&lookups, "good.example").await, Err(LookupError::Busy));
        assert_eq!(names.asked(), 0);
        drop(places);
        assert_eq!(ask(&lookups, "good.example").await, Ok(1));
    }
}

//! Keeps the leases of a worker, on a thread, a runtime and a connection of its own, so that neither a
//! busy pipeline nor a full pool can delay it.
//!
//! Every second it reads the stop flags of all leases in one statement; every third of a lease it renews
//! them. A lease that is stopped or lost has its token cancelled, and its work ends. When the database
//! does not answer, a lease is given up before it can expire: whoever cannot renew must not go on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headgate_metrics::shards::LEASE_LOST;
use headgate_store::{Keeper, LeaseKind, Renewed, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Error;

/// How often stop flags are read.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Held {
    kind: LeaseKind,
    stop: CancellationToken,
    /// Whether somebody else may have it by now.
    lost: Arc<AtomicBool>,
    /// When the lease was last known to be ours: an instant before the statement that said so was sent.
    sure_at: Instant,
}

type Reached = Arc<Mutex<Instant>>;

/// Tells that the keeper's thread goes round. A round counts whether or not the database answered in it: whoever
/// restarts a process for want of this must not do so because the database is away. Clones share it.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    since: Instant,
    /// Milliseconds from `since` to the last beat.
    last: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    /// As if it had beaten just now.
    fn default() -> Self {
        Self { since: Instant::now(), last: Arc::default() }
    }
}

impl Heartbeat {
    /// Time since the last beat.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    fn beat(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Beats for ever. On the keeper's thread, beside its rounds: one that waits for the database is given a third
    /// of a lease, which may be minutes, but it does not hold the thread meanwhile.
    async fn go_on(&self) {
        loop {
            self.beat();
            tokio::time::sleep(TICK).await;
        }
    }
}

type Register = Arc<Mutex<HashMap<Uuid, Held>>>;

/// The keeper's handle.
#[derive(Debug)]
pub struct LeaseKeeper {
    held: Register,
    stop: CancellationToken,
    /// When the control database was last reached.
    reached: Reached,
}

/// A lease under the keeper's care, until dropped.
#[derive(Debug)]
pub struct Kept {
    token: Uuid,
    held: Register,
    /// Cancelled when the work must end. What is uploaded may still be published: where the lease is lost or the export has
    /// ended, the control database refuses it.
    pub stop: CancellationToken,
    lost: Arc<AtomicBool>,
}

impl Kept {
    /// Counts the lease if it was lost. Not for work that is done: between the end of a shard and the end of its care a
    /// lease is nobody's any more, and the keeper may happen to ask just then.
    pub fn count_if_lost(&self) {
        if self.lost.load(Ordering::Relaxed) {
            LEASE_LOST.add(1, &[]);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        lock(&self.held).remove(&self.token);
    }
}

impl LeaseKeeper {
    /// Starts the keeper's thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(store: Store, lease: Duration, heartbeat: Heartbeat) -> Result<Self, Error> {
        let held = Register::default();
        let stop = CancellationToken::new();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let reached = Reached::new(Mutex::new(Instant::now()));
        let (register, stopped, at) = (Arc::clone(&held), stop.clone(), Arc::clone(&reached));
        std::thread::Builder::new()
            .name("lease-keeper".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = keep(&store, lease, &register, &at) => {}
                        () = watch(lease, &register) => {}
                        () = heartbeat.go_on() => {}
                        () = stopped.cancelled() => {}
                    }
                });
            })
            .map_err(Error::Thread)?;
        Ok(Self { held, stop, reached })
    }

    /// Takes a lease into care. `acquired` is an instant before it was acquired.
    pub fn keep(&self, token: Uuid, kind: LeaseKind, acquired: Instant) -> Kept {
        let (stop, lost) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let held = Held { kind, stop: stop.clone(), lost: Arc::clone(&lost), sure_at: acquired };
        lock(&self.held).insert(token, held);
        Kept { token, held: Arc::clone(&self.held), stop, lost }
    }

    /// Time since the control database was last reached.
    pub fn silent_for(&self) -> Duration {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

fn lock(held: &Register) -> MutexGuard<'_, HashMap<Uuid, Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn keep(store: &Store, lease: Duration, held: &Register, reached: &Reached) {
    let mut connection = None;
    let mut renewed_at = Instant::now();
    loop {
        let answer =
            tokio::time::timeout(lease / 3, tick(&mut connection, store, lease, held, &mut renewed_at));
        match answer.await {
            Ok(Ok(())) => *reached.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease keeper cannot reach the control database");
                connection = None;
            }
            Err(_) => {
                tracing::warn!("the control database does not answer the lease keeper");
                connection = None;
            }
        }
        tokio::time::sleep(TICK.min(lease / 6)).await;
    }
}

/// Gives up what expires unrenewed. Beside the looks, of which one may hang for longer than a lease still has.
async fn watch(lease: Duration, held: &Register) {
    loop {
        tokio::time::sleep(TICK.min(lease / 6)).await;
        give_up_unsure(held, lease);
    }
}

async fn tick(
    connection: &mut Option<Keeper>,
    store: &Store,
    lease: Duration,
    held: &Register,
    renewed_at: &mut Instant,
) -> headgate_store::Result<()> {
    let leases: Vec<(Uuid, LeaseKind)> =
        lock(held).iter().map(|(token, h)| (*token, h.kind.clone())).collect();
    let keeper = match connection {
        Some(keeper) => keeper,
        None => connection.insert(Keeper::connect(store, lease / 3).await?),
    };
    // With nothing to keep too: that it was asked is what the age of the heartbeat tells.
    for token in keeper.stopped(&leases).await? {
        cancel(held, token, "its export was stopped, or its practice is drained");
    }
    if !leases.is_empty() && renewed_at.elapsed() >= lease / 3 {
        let asked_at = Instant::now();
        // Stopped ones as well: while their last uploads go on, nobody may think that it is quiet.
        let renewed = keeper.renew(&leases, lease).await?;
        note_renewed(held, &leases, &renewed, asked_at);
        // Otherwise the next tick tries again.
        if renewed.busy.is_empty() {
            *renewed_at = asked_at;
        }
    }
    Ok(())
}

/// Notes which leases were renewed. The others are lost, but for those whose work was told to end: a step that was stopped
/// has no lease any more.
fn note_renewed(held: &Register, leases: &[(Uuid, LeaseKind)], renewed: &Renewed, asked_at: Instant) {
    for (token, _) in leases {
        if renewed.held.contains(token) {
            if let Some(h) = lock(held).get_mut(token) {
                h.sure_at = asked_at;
            }
        } else if !renewed.busy.contains(token) {
            lose(held, *token, "it is not ours any more");
        }
    }
}

/// Gives up every lease that may expire before the next look at it.
fn give_up_unsure(held: &Register, lease: Duration) {
    let unsure: Vec<Uuid> = lock(held)
        .iter()
        .filter(|(_, h)| h.sure_at.elapsed() + 2 * TICK.min(lease / 6) >= lease)
        .map(|(token, _)| *token)
        .collect();
    for token in unsure {
        lose(held, token, "it could not be renewed in time");
    }
}

/// Ends the work under a lease that somebody else may have by now. Work that was told to end before has lost nothing.
fn lose(held: &Register, token: Uuid, why: &str) {
    if let Some(h) = lock(held).get(&token)
        && !h.stop.is_cancelled()
    {
        h.lost.store(true, Ordering::Relaxed);
    }
    cancel(held, token, why);
}

/// Ends the work under a lease.
fn cancel(held: &Register, token: Uuid, why: &str) {
    if let Some(h) = lock(held).get(&token)
        && !h.stop.is_cancelled()
    {
        tracing::info!(kind = kind_name(&h.kind), why, "a lease ends");
        h.stop.cancel();
    }
}

fn kind_name(kind: &LeaseKind) -> &'static str {
    match kind {
        LeaseKind::Shard { .. } => "shard",
        LeaseKind::Step { .. } => "step",
        LeaseKind::Purge => "purge",
        LeaseKind::Refresh => "refresh",
    }
}

#[cfg(test)]
mod tests {
    use headgate_local::postgres::{Cluster, Options};

    use super::*;

    /// A control database that was there once.
    async fn away() -> Store {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let store = Store::connect(&cluster.url("postgres"), 1, TICK).await.unwrap();
        cluster.stop().await.unwrap();
        store
    }

    #[tokio::test]
    async fn the_heart_beats_while_the_database_is_away_and_stops_with_the_thread() {
        let away = away().await;
        let heartbeat = Heartbeat::default();
        let started = Instant::now();
        let keeper = LeaseKeeper::start(away, Duration::from_secs(30), heartbeat.clone()).unwrap();
        while heartbeat.last.load(Ordering::Relaxed) < 2 * TICK.as_millis() as u64 {
            assert!(started.elapsed() < Duration::from_secs(20), "{heartbeat:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(heartbeat.age() <= started.elapsed() - 2 * TICK);
        keeper.stop();
        tokio::time::sleep(TICK / 2).await;
        let last = heartbeat.last.load(Ordering::Relaxed);
        tokio::time::sleep(TICK + TICK / 2).await;
        assert_eq!(heartbeat.last.load(Ordering::Relaxed), last);
    }

    #[tokio::test]
    async fn a_lease_that_was_stopped_is_not_lost_and_one_that_is_not_renewed_is() {
        let away = away().await;
        let (lease, now) = (Duration::from_secs(30), Instant::now());
        let keeper = LeaseKeeper::start(away, lease, Heartbeat::default()).unwrap();
        let tokens: [Uuid; 4] = std::array::from_fn(|_| Uuid::new_v4());
        let [renewed, stopped, taken, forgotten] = tokens.map(|t| keeper.keep(t, LeaseKind::Purge, now));
        let leases = tokens.map(|token| (token, LeaseKind::Purge));
        cancel(&keeper.held, stopped.token, "its export was stopped");
        let answer = Renewed { held: vec![renewed.token, forgotten.token], busy: Vec::new() };
        note_renewed(&keeper.held, &leases, &answer, now);
        let lost = |kept: &Kept| kept.lost.load(Ordering::Relaxed);
        assert!(!renewed.stop.is_cancelled() && !lost(&renewed));
        assert!(stopped.stop.is_cancelled() && !lost(&stopped));
        assert!(taken.stop.is_cancelled() && lost(&taken));
        // Neither when its end takes longer than the lease that it has no more.
        if let (Some(h), Some(before)) = (lock(&keeper.held).get_mut(&stopped.token), now.checked_sub(lease))
        {
            h.sure_at = before;
        }
        give_up_unsure(&keeper.held, lease);
        assert!(!lost(&stopped) && !lost(&forgotten));
        keeper.stop();
    }
}

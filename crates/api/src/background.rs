//! What an API process does besides answering: it keeps its keys current, replaces those that have signed long enough,
//! seals the audit trail, and writes down what was refused.

use std::future::Future;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use headgate_metrics::auth::SIGNING_KEY_AGE;
use headgate_metrics::database::{CONNECTION_COUNT, CONNECTION_MAX};
use headgate_store::{SealedEvent, within};
use tokio::time::{Interval, MissedTickBehavior, timeout};

use crate::keys;
use crate::state::ApiState;

/// How often events of the audit trail are sealed.
const SEAL_EVERY: Duration = Duration::from_secs(10);

/// How often refusals are written down: however many there are, each app and reason costs one statement.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How long sealing may take. Longer than its statements may on the server: only a connection that died is silent for so
/// long.
const SEAL_WITHIN: Duration = Duration::from_secs(5 * 60);

/// How long writing down refusals may take, and how long at the end, when a drain waits for it.
const COUNT_WITHIN: Duration = Duration::from_secs(5);
const LAST_COUNT_WITHIN: Duration = Duration::from_secs(2);

/// How often this process measures itself.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Runs until `stop`. What fails is logged and tried again at its next turn.
pub async fn background(state: ApiState, stop: impl Future<Output = ()>) {
    let work = async { tokio::join!(keep_keys(&state), seal(&state), count(&state), measure(&state)) };
    tokio::select! {
        _ = work => {}
        () = stop => {}
    }
    state.refusals().flush(state.store(), LAST_COUNT_WITHIN).await;
}

async fn keep_keys(state: &ApiState) {
    if state.config().external.is_some() {
        return;
    }
    let mut turns = every(keys::REFRESH);
    loop {
        turns.tick().await;
        let (keys, deps) = (state.keys(), state.deps());
        let looked = timeout(keys::LOOK_WITHIN, async {
            if let Err(error) = keys.refresh(deps).await {
                tracing::warn!(%error, "the keys of the access tokens could not be looked at");
                return false;
            }
            if let Err(error) = keys.rotate_when_due(deps).await {
                tracing::warn!(%error, "no new key of the access tokens could be made");
            }
            true
        });
        let looked = looked.await.unwrap_or_else(|_late| {
            tracing::warn!("the keys of the access tokens could not be looked at in time");
            false
        });
        if !looked {
            // Until then a key that was retired elsewhere verifies here.
            turns.reset_after(keys::AFTER_FAILURE);
        }
    }
}

async fn seal(state: &ApiState) {
    let mut turns = every(SEAL_EVERY);
    loop {
        turns.tick().await;
        let mac = |hash: &[u8]| {
            let (key_id, code) = state.keyring().mac(hash);
            (key_id, code.to_vec())
        };
        match within(SEAL_WITHIN, state.store().seal_audit(mac, log_event)).await {
            // Logs are kept elsewhere: there the hash vouches for what was sealed up to now.
            Ok(seals) => seals.iter().for_each(|seal| {
                let hash = hex::encode(&seal.hash);
                tracing::info!(
                    seal = seal.number,
                    events = seal.events,
                    hash,
                    "events of the audit trail were sealed"
                );
            }),
            Err(error) => tracing::warn!(%error, "the audit trail could not be sealed"),
        }
    }
}

/// A line for each event, for a copy of the trail off this machine: it has what the last hour of a database had that was
/// restored from before.
fn log_event(seal: i64, event: &SealedEvent) {
    tracing::info!(
        target: "headgate_audit",
        id = event.id,
        at = event.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        actor = event.actor,
        action = event.action,
        practice = event.practice,
        client = event.client,
        export = event.export,
        vendor = event.vendor.map(|id| id.to_string()),
        token = event.token.map(|id| id.to_string()),
        seal,
        "audit event"
    );
}

async fn count(state: &ApiState) {
    let mut turns = every(COUNT_EVERY);
    loop {
        turns.tick().await;
        state.refusals().flush(state.store(), COUNT_WITHIN).await;
    }
}

/// Gauges of this process.
async fn measure(state: &ApiState) {
    let mut turns = every(MEASURE_EVERY);
    loop {
        turns.tick().await;
        let pool = state.store().pool_state();
        let name = || ("db.client.connection.pool.name", "control".into());
        let state_of = |of: &'static str| ("db.client.connection.state", of.into());
        CONNECTION_COUNT.set(pool.used.into(), &[name(), state_of("used")]);
        CONNECTION_COUNT.set(pool.idle.into(), &[name(), state_of("idle")]);
        CONNECTION_MAX.set(pool.max.into(), &[name()]);
        if let Some(age) = state.keys().signing_age(Utc::now()) {
            SIGNING_KEY_AGE.set(age.as_secs_f64(), &[]);
        }
    }
}

/// Turns that do not catch up when one took too long.
fn every(period: Duration) -> Interval {
    let mut turns = tokio::time::interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

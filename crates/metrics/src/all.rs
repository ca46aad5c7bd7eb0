//! The list of all metrics, and their first values.

use opentelemetry::Value;

use crate::definition::{Definition, Role, Values};
use crate::instrument::Counter;
use crate::{api, auth, database, exports, http, lifecycle, process, queue, shards, source, storage};

/// All counters: their series with known labels are there from the start.
static COUNTERS: &[&Counter] = &[
    &database::CONNECTION_TIMEOUTS,
    &database::DOORBELLS,
    &exports::STARTED,
    &exports::FINISHED,
    &exports::LATE,
    &shards::ATTEMPTS,
    &shards::LEASE_LOST,
    &shards::RESCUED,
    &shards::QUARANTINED,
    &shards::RESOURCES,
    &shards::FILES,
    &shards::BYTES,
    &shards::ROWS_REJECTED,
    &shards::ATTACHMENTS_UNSERVED,
    &queue::DOORBELL_MISSING,
    &source::ERRORS,
    &storage::REQUESTS,
    &storage::RETRIES,
    &storage::VERIFY_FAILED,
    &storage::ORPHANS,
    &api::POLLS,
    &api::DOWNLOADS,
    &api::LINKS,
    &api::KICKOFF_REJECTED,
    &auth::TOKENS,
    &auth::JTI_REPLAY,
    &auth::JWKS_FETCH,
    &auth::KEY_REJECTED,
    &auth::CONSENT_DENIED,
    &auth::TENANT_MISMATCH,
    &auth::ADMIN_REFUSED,
    &lifecycle::SWEEPS,
    &lifecycle::MAINTENANCE_RUNS,
    &lifecycle::AUDIT_WRITE_FAILURES,
    &process::TELEMETRY_LOST,
];

/// The definitions of all metrics, by name.
#[must_use]
pub fn definitions() -> Vec<&'static Definition> {
    let mut all: Vec<&Definition> = vec![
        http::SERVER_REQUEST_DURATION.definition(),
        http::SERVER_ACTIVE_REQUESTS.definition(),
        http::CLIENT_REQUEST_DURATION.definition(),
        database::OPERATION_DURATION.definition(),
        database::CONNECTION_COUNT.definition(),
        database::CONNECTION_MAX.definition(),
        exports::DURATION.definition(),
        exports::START_DELAY.definition(),
        exports::IN_STATE.definition(),
        exports::OLDEST_AGE.definition(),
        shards::DURATION.definition(),
        shards::START_DELAY.definition(),
        shards::CHECKPOINT_AGE.definition(),
        shards::PAGE_DURATION.definition(),
        queue::DEPTH.definition(),
        queue::OLDEST_AGE.definition(),
        queue::SLOTS.definition(),
        queue::BUFFER.definition(),
        queue::HEARTBEAT_AGE.definition(),
        source::QUERY_DURATION.definition(),
        source::TRANSACTION_TIME_LAG.definition(),
        source::REPLICA_LAG.definition(),
        source::CATALOG_AGE.definition(),
        storage::REQUEST_DURATION.definition(),
        auth::SIGNING_KEY_AGE.definition(),
        lifecycle::RETENTION_LAG.definition(),
        lifecycle::MAINTENANCE_OVERDUE.definition(),
        lifecycle::AUDIT_UNSEALED.definition(),
        lifecycle::AUDIT_UNSEALED_AGE.definition(),
        lifecycle::PAUSED.definition(),
        lifecycle::BUILD_INFO.definition(),
        lifecycle::CERTIFICATE_REMAINING.definition(),
        process::CPU_TIME.definition(),
        process::MEMORY_USAGE.definition(),
        process::OPEN_FILES.definition(),
        process::READY.definition(),
        process::UPTIME.definition(),
    ];
    all.extend(COUNTERS.iter().map(|counter| counter.definition()));
    all.sort_unstable_by_key(|definition| definition.name);
    all
}

/// Gives every counter of the role whose labels all have known values its series, with 0: a rate over a counter that
/// appears with its first event misses that event, and an alert could not tell "never" from "not measured".
pub fn start(role: Role) {
    for counter in COUNTERS.iter().filter(|counter| counter.definition().role.includes(role)) {
        for labels in combinations(counter.definition()) {
            counter.add(0, &labels);
        }
    }
}

type Labels = Vec<(&'static str, Value)>;

/// All combinations of known values; none if a label has others.
fn combinations(definition: &Definition) -> Vec<Labels> {
    let mut all: Vec<Labels> = vec![vec![]];
    for label in definition.labels {
        let Values::Known(values) = label.values else { return vec![] };
        all = all
            .into_iter()
            .flat_map(|labels| {
                values.iter().map(move |value| {
                    let mut labels = labels.clone();
                    labels.push((label.name, Value::from(*value)));
                    labels
                })
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that define metrics.
    const SOURCES: [&str; 11] = [
        include_str!("http.rs"),
        include_str!("database.rs"),
        include_str!("exports.rs"),
        include_str!("shards.rs"),
        include_str!("queue.rs"),
        include_str!("source.rs"),
        include_str!("storage.rs"),
        include_str!("api.rs"),
        include_str!("auth.rs"),
        include_str!("lifecycle.rs"),
        include_str!("process.rs"),
    ];

    #[test]
    fn every_metric_is_in_the_list() {
        let defined: usize = SOURCES.iter().map(|text| text.matches("\npub static ").count()).sum();
        assert_eq!(definitions().len(), defined);
    }

    #[test]
    fn names_and_units_are_as_opentelemetry_wants_them() {
        let all = definitions();
        for pair in all.windows(2) {
            assert_ne!(pair[0].name, pair[1].name);
        }
        for Definition { name, unit, description, .. } in all {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b"._0123456789".contains(&b)), "{name}");
            let counted = unit.starts_with('{') && unit.ends_with('}');
            assert!(counted || ["s", "By"].contains(unit), "{name}: {unit}");
            assert!(description.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn a_counter_with_known_labels_begins_with_all_its_series() {
        assert_eq!(combinations(storage::REQUESTS.definition()).len(), 5 * 7);
        assert_eq!(combinations(shards::QUARANTINED.definition()), vec![vec![]]);
        assert!(combinations(exports::FINISHED.definition()).is_empty());
    }
}

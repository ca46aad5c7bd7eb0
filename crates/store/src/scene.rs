//! What tests of statements need: a control database with one practice, an app that it consents to, and exports whose
//! rows are put there as the test wants them.

use std::time::Duration;

use headgate_domain::{ExportId, PracticeNumber};
use headgate_local::postgres::{Cluster, Options};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{Acquired, Audit, Besides, Limits, StepLease, Store};

pub(crate) struct Scene {
    cluster: Cluster,
    pub(crate) store: Store,
    exports: u32,
}

impl Scene {
    /// Two practices: the first has the exports, the second none.
    pub(crate) async fn new() -> Self {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let store = Store::connect(&cluster.url("postgres"), 4, Duration::from_secs(10)).await.unwrap();
        store.migrate().await.unwrap();
        let scene = Self { cluster, store, exports: 0 };
        scene
            .run(
                "INSERT INTO headgate.practice (practice_number, slug, name, base_url, source_dsn_ref, s3_prefix)
                 SELECT n, 'p' || n, 'P', 'https://fhir.example/' || n, 'env:X', 'p/' || n FROM generate_series(1, 2) n;
                 INSERT INTO headgate.source_catalog (practice_number, requested_at, refreshed_at)
                 SELECT n, now() - interval '1 hour', now() FROM generate_series(1, 2) n;
                 INSERT INTO headgate.vendor (vendor_id, name, contact_email)
                 VALUES ('00000000-0000-0000-0000-000000000001', 'V', 'v@v.example');
                 INSERT INTO headgate.app (client_id, vendor_id, name, scopes, security_contact)
                 VALUES ('fhir' || repeat('0', 50), '00000000-0000-0000-0000-000000000001', 'A', 'system/*.rs', 'v@v.example');
                 INSERT INTO headgate.consent (practice_number, consent_id, client_id, scopes, granted_by)
                 VALUES (1, '00000000-0000-0000-0000-000000000002', 'fhir' || repeat('0', 50), 'system/*.rs', 'ann')",
            )
            .await;
        scene
    }

    pub(crate) fn practice() -> PracticeNumber {
        PracticeNumber::new(1).unwrap()
    }

    pub(crate) fn limits() -> Limits {
        Limits { lease: Duration::from_secs(60), max_attempts: 5, shards_per_practice: 8, shards_per_app: 8 }
    }

    pub(crate) fn audit(action: &'static str) -> Audit {
        Audit::new("operator ann", action).at(Self::practice())
    }

    /// Connects as a role that has what it is granted.
    pub(crate) async fn connect(&self, user: &str, connections: u32) -> Store {
        let url = self.cluster.url("postgres").replace("postgres@", &format!("{user}@"));
        Store::connect(&url, connections, Duration::from_secs(10)).await.unwrap()
    }

    /// An export in a state, kicked off two hours ago.
    pub(crate) async fn export(&mut self, state: &str) -> ExportId {
        self.exports += 1;
        let id = format!("{:032x}", self.exports);
        self.run(&format!(
            "INSERT INTO headgate.export (practice_number, export_id, client_id, consent_id, accepted_under, level,
                 request_url, types, state, transaction_time, source_replica, source_lsn, accepted_at, ended_at, rung_at)
             VALUES (1, '{id}', 'fhir' || repeat('0', 50), '00000000-0000-0000-0000-000000000002',
                 '00000000-0000-0000-0000-000000000002', 'system', 'https://fhir.example/1/$export', '{{Patient}}',
                 '{state}', now(), false, '0/0', now() - interval '2 hours',
                 CASE WHEN '{state}' IN ('expired', 'cancelled', 'revoked', 'failed') THEN now() - interval '1 hour' END,
                 now() - interval '2 hours')"
        ))
        .await;
        id.parse().unwrap()
    }

    /// A stream of an export, all of it planned.
    pub(crate) async fn stream(&self, export: &ExportId, stream: i16, access_path: &str) {
        self.run(&format!(
            "INSERT INTO headgate.export_stream (practice_number, export_id, stream, resource_type, relation, access_path,
                 planned_at)
             VALUES (1, '{export}', {stream}, 'Patient', '{{}}', '{access_path}', now())"
        ))
        .await;
    }

    /// A shard of the first stream that has been ready for two hours.
    pub(crate) async fn shard(&self, export: &ExportId, shard: i32) {
        self.run(&format!(
            "INSERT INTO headgate.shard (practice_number, export_id, stream, shard, slice, planned_rows, first_number,
                 number_count, ready_since)
             VALUES (1, '{export}', 1, {shard}, '{{}}', 1, {shard}, 1, now() - interval '2 hours')"
        ))
        .await;
    }

    /// Has all shards of an export taken by a worker that stopped a minute after it took them.
    pub(crate) async fn abandon_shards(&self, export: &ExportId, attempts: i32) {
        self.run(&format!(
            "UPDATE headgate.shard SET state = 'leased', lease_token = gen_random_uuid(), attempts = {attempts},
                 leased_at = now() - interval '61 seconds', lease_expires_at = now() - interval '1 second'
             WHERE export_id = '{export}'"
        ))
        .await;
    }

    /// Runs statements as the owner.
    pub(crate) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.store.pool).await.unwrap();
    }

    /// What a statement says, as text.
    pub(crate) async fn ask(&self, sql: &str) -> String {
        let sql = format!("SELECT ({sql})::text");
        let answer: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.store.pool).await.unwrap();
        answer.unwrap_or_default()
    }

    /// How many steps of a kind could be taken, and how many seconds the oldest has waited.
    pub(crate) async fn queue(&self, step: &str) -> (u64, u64) {
        let queues = self.store.measures().await.unwrap().queues;
        let queue = queues.into_iter().find(|queue| queue.step == step).unwrap();
        (queue.waiting, queue.oldest.as_secs())
    }

    pub(crate) async fn take_step(&self) -> Option<Acquired> {
        self.store.acquire_step(Uuid::new_v4(), &Self::limits(), Besides::ALL).await.unwrap()
    }

    pub(crate) async fn take_plan(&self) -> StepLease {
        match self.take_step().await {
            Some(Acquired::Plan(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn take_purge(&self) -> StepLease {
        match self.take_step().await {
            Some(Acquired::Purge(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn end(self) {
        self.store.close().await;
        self.cluster.stop().await.unwrap();
    }
}

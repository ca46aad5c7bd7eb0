//! The control database: the truth about practices, apps, consents and exports.
//!
//! Every statement of the engine on its own tables stands here, one named method each, checked against
//! the schema at compile time (the descriptions are committed in `.sqlx`). The rules that hold in all
//! of them:
//!
//! - a practice's number is in every key and every `WHERE`;
//! - a state change names the state it comes from and checks the row count;
//! - a worker's write carries its lease token and compares with the database's `clock_timestamp()`;
//! - the audit row and the doorbell are written in the transaction of the deed.
//!
//! [`acquire`] is the scheduler: it hands out leases. [`leases`] keeps them. [`shards`] publishes.

mod acquire;
mod apps;
mod audit;
mod catalog;
mod cohort;
mod connection;
mod consents;
mod deletions;
mod doctor;
mod doorbell;
mod endings;
mod error;
mod exports;
mod files;
mod finish;
mod groups;
mod idempotency;
mod leases;
mod maintenance;
mod manifest_pages;
mod mapping_sets;
mod measures;
mod migrate;
mod operations;
mod orphans;
mod page;
mod plan;
mod practices;
mod problems;
mod purge;
mod references;
mod refresh;
mod replay;
mod revoked_tokens;
mod roles;
#[cfg(test)]
mod scene;
mod schema;
mod shards;
mod signing_keys;
mod stream_type;
mod suspension;
mod transaction;
mod vendors;

use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};

pub use acquire::{Acquired, Besides, Limits, PlanLease, RefreshLease, ShardLease, StepLease};
pub use apps::{App, AppChange, AppKey, AppStatus, ConsentingPractice, NewApp, NewRefusal, Refusal};
pub use audit::{
    Audit, AuditFilter, AuditRecord, MacState, NewSeal, SealCheck, SealProblem, SealRecord, SealedEvent,
};
pub use catalog::CatalogEntry;
pub use cohort::{Member, Members};
pub use connection::{Bounds, within};
pub use consents::{Authority, ConsentChange, ConsentRecord, NewConsent};
pub use deletions::Deletions;
pub use doctor::{QueueFacts, RoleFacts, ServerFacts, TaskFacts};
pub use doorbell::{Doorbells, QUEUE};
pub use error::{Error, Result};
pub use exports::{
    ClientExport, Disclosure, DisclosureFilter, ExportDetail, ExportFilter, ExportRecord, ExportSummary,
    KickOffError, ListedFile, NewExport, ProblemSummary, ShardSummary, StreamSummary, Times, WaitLimits,
    Waiting,
};
pub use files::{AttachmentRecord, ClientFile, FileKind, FileRecord};
pub use finish::FinishedTotals;
pub use groups::{
    ExportableGroup, GroupMember, GroupRecord, GroupToMatch, Matched, MemberCounts, MemberUpload,
};
pub use idempotency::{Idempotency, IdempotentRecord};
pub use leases::{Keeper, LeaseKind, Renewed};
pub use maintenance::{DueTask, Exhausted, Task};
pub use manifest_pages::ManifestPage;
pub use mapping_sets::MappingSetSummary;
pub use measures::{ExportsInState, LASTING_STATES, Measures, PoolState, Queue};
pub use operations::{
    ExportWait, FleetStatus, HeldLease, Pause, PauseChange, PausedPractice, PracticeCost, Stuck, Trouble,
    WorkerSeen,
};
pub use page::{Page, Paged};
pub use plan::{AccessPath, Cohort, NewShard, NewStream, PlanState, StreamPlan};
pub use practices::{NewPractice, PracticeChange, PracticeRecord, SourceBinding};
pub use problems::{NewProblem, Problem};
pub use roles::{Granted, Roles};
pub use schema::{NEWEST_SCHEMA_VERSION, SUPPORTED_SCHEMA_VERSIONS};
pub use shards::{Publication, PublishedFile};
pub use signing_keys::StoredKey;
pub use stream_type::StreamType;
pub use suspension::Suspension;
pub use vendors::{NewVendor, Vendor, VendorChange};

/// The control database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    bounds: Option<Bounds>,
}

impl Store {
    /// Opens a pool on the control database.
    ///
    /// # Errors
    /// When the URL cannot be read or no connection can be made within the timeout.
    pub async fn connect(url: &str, max_connections: u32, acquire_timeout: Duration) -> Result<Self> {
        Self::open(url, PgPoolOptions::new(), max_connections, acquire_timeout, None).await
    }

    /// The same, with bounds on what its connections may take.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect_bounded(
        url: &str,
        max_connections: u32,
        acquire_timeout: Duration,
        bounds: Bounds,
    ) -> Result<Self> {
        let pool = match bounds.returned {
            None => PgPoolOptions::new(),
            Some(patience) => PgPoolOptions::new()
                .after_release(move |returned, _| Box::pin(connection::answers(returned, patience))),
        };
        Self::open(url, pool, max_connections, acquire_timeout, Some(bounds)).await
    }

    async fn open(
        url: &str,
        pool: PgPoolOptions,
        max_connections: u32,
        acquire_timeout: Duration,
        bounds: Option<Bounds>,
    ) -> Result<Self> {
        let pool = pool
            .max_connections(max_connections)
            .acquire_timeout(acquire_timeout)
            .connect_with(connection::options(url, bounds)?)
            .await?;
        Ok(Self { pool, bounds })
    }

    /// Connections are opened by this URL from now on; those that are open stay.
    ///
    /// # Errors
    /// When the URL cannot be read: then nothing is changed.
    pub fn connect_by(&self, url: &str) -> Result<()> {
        self.pool.set_connect_options(connection::options(url, self.bounds)?);
        Ok(())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query!("/* ping */ SELECT 1 AS one").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Closes the pool and waits for its connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

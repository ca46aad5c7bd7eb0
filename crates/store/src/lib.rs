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
mod consents;
mod deletions;
mod doorbell;
mod error;
mod exports;
mod files;
mod finish;
mod groups;
mod leases;
mod maintenance;
mod manifest_pages;
mod mapping_sets;
mod plan;
mod practices;
mod problems;
mod purge;
mod references;
mod refresh;
mod replay;
mod schema;
mod shards;
mod signing_keys;
mod stream_type;
mod transaction;
mod vendors;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub use acquire::{Acquired, Limits, PlanLease, RefreshLease, ShardLease, StepLease};
pub use apps::{App, AppStatus, ConsentingPractice, NewApp};
pub use audit::Audit;
pub use catalog::CatalogEntry;
pub use cohort::{Member, Members};
pub use consents::{ConsentRecord, NewConsent};
pub use deletions::Deletions;
pub use doorbell::{Doorbells, QUEUE};
pub use error::{Error, Result};
pub use exports::{
    ClientExport, ExportDetail, ExportRecord, ExportSummary, KickOffError, NewExport, ProblemSummary,
    ShardSummary, StreamSummary,
};
pub use files::{AttachmentRecord, FileKind, FileRecord};
pub use finish::FinishedTotals;
pub use groups::{ExportableGroup, GroupMember, GroupRecord, MemberChange, MemberCounts};
pub use leases::{Keeper, LeaseKind};
pub use maintenance::{DueTask, Task};
pub use manifest_pages::ManifestPage;
pub use mapping_sets::MappingSetSummary;
pub use plan::{AccessPath, Cohort, NewShard, NewStream, PlanState, StreamPlan};
pub use practices::{NewPractice, PracticeRecord, SourceBinding};
pub use problems::{NewProblem, Problem};
pub use schema::SUPPORTED_SCHEMA_VERSIONS;
pub use shards::{Publication, PublishedFile};
pub use stream_type::StreamType;
pub use vendors::{NewVendor, Vendor};

/// The control database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Opens a pool on the control database.
    ///
    /// # Errors
    /// When the URL cannot be read or no connection can be made within the timeout.
    pub async fn connect(url: &str, max_connections: u32, acquire_timeout: Duration) -> Result<Self> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(acquire_timeout)
            .connect_with(options.application_name("headgate"))
            .await?;
        Ok(Self { pool })
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

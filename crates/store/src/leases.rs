//! Keeping leases: what the keeper of a worker asks, on a connection of its own.
//!
//! Reading the stop flags is separate from renewing and much more frequent: a read costs no write-ahead
//! log, so a cancelled export stops within a second or two without every lease being rewritten.

use std::time::Duration;

use headgate_domain::{ExportId, PracticeNumber};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::acquire::interval;
use crate::{Bounds, Result, Store};

/// What a lease is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseKind {
    /// A shard of a live export.
    Shard {
        /// The practice.
        practice: PracticeNumber,
        /// The export.
        export: ExportId,
    },
    /// The plan or finish step of a live export.
    Step {
        /// The practice.
        practice: PracticeNumber,
        /// The export.
        export: ExportId,
    },
    /// The purge step of an ended export; nothing stops it.
    Purge,
    /// A practice's refresh; nothing stops it.
    Refresh,
}

impl LeaseKind {
    fn export(&self) -> Option<(i64, &str)> {
        match self {
            LeaseKind::Shard { practice, export } | LeaseKind::Step { practice, export } => {
                Some((practice.get(), export.as_str()))
            }
            LeaseKind::Purge | LeaseKind::Refresh => None,
        }
    }
}

/// The keeper's connection.
#[derive(Debug)]
pub struct Keeper {
    connection: PgConnection,
}

impl Keeper {
    /// Connects as the store does now. The server ends a statement after `patience`: nobody waits for it any longer.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn connect(store: &Store, patience: Duration) -> Result<Self> {
        let options = PgConnectOptions::clone(&store.pool.connect_options());
        Ok(Self { connection: PgConnection::connect_with(&Bounds::of(patience).on(options)).await? })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&mut self) -> Result<()> {
        sqlx::query!("/* ping */ SELECT 1 AS one").fetch_one(&mut self.connection).await?;
        Ok(())
    }

    /// Of the given leases, those whose export must stop: it is no longer live, the authority it runs under is
    /// gone, or its practice is drained. The database is asked even where nothing could be stopped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stopped(&mut self, leases: &[(Uuid, LeaseKind)]) -> Result<Vec<Uuid>> {
        let mut tokens = Vec::new();
        let mut practices = Vec::new();
        let mut exports = Vec::new();
        for (token, kind) in leases {
            if let Some((practice, export)) = kind.export() {
                tokens.push(*token);
                practices.push(practice);
                exports.push(export.to_owned());
            }
        }
        if tokens.is_empty() {
            self.ping().await?;
            return Ok(Vec::new());
        }
        let stopped = sqlx::query_scalar!(
            r#"/* stopped */
            SELECT held.token AS "token!"
              FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS held (token, practice_number, export_id)
             WHERE NOT EXISTS (
                   SELECT FROM headgate.export e
                     JOIN headgate.authority USING (practice_number, consent_id)
                    WHERE e.practice_number = held.practice_number AND e.export_id = held.export_id
                      AND e.state IN ('accepted', 'planning', 'running', 'finishing'))
                OR EXISTS (SELECT FROM headgate.pause p
                            WHERE p.practice_number = held.practice_number AND p.drains)"#,
            &tokens,
            &practices,
            &exports,
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(stopped)
    }

    /// Renews the given leases; returns those that are still held. A lease that is not among them is
    /// lost for ever.
    ///
    /// # Errors
    /// When the database fails: then nothing is known, and the leases run on until they expire.
    pub async fn renew(&mut self, leases: &[(Uuid, LeaseKind)], lease: Duration) -> Result<Vec<Uuid>> {
        let of = |wanted: fn(&LeaseKind) -> bool| -> Vec<Uuid> {
            leases.iter().filter(|(_, kind)| wanted(kind)).map(|(token, _)| *token).collect()
        };
        let shards = of(|k| matches!(k, LeaseKind::Shard { .. }));
        let steps = of(|k| matches!(k, LeaseKind::Step { .. } | LeaseKind::Purge));
        let refreshes = of(|k| matches!(k, LeaseKind::Refresh));
        let held = sqlx::query_scalar!(
            r#"/* renew */
            WITH shards AS (
                UPDATE headgate.shard SET lease_expires_at = clock_timestamp() + $4
                 WHERE state = 'leased' AND lease_token = ANY ($1) AND lease_expires_at > clock_timestamp()
                RETURNING lease_token),
            steps AS (
                UPDATE headgate.export SET lease_expires_at = clock_timestamp() + $4
                 WHERE lease_token = ANY ($2) AND lease_expires_at > clock_timestamp()
                   AND (practice_number, export_id) IN (
                       -- In the order in which exports are ended, or one would wait for the other.
                       SELECT e.practice_number, e.export_id FROM headgate.export e WHERE e.lease_token = ANY ($2)
                        ORDER BY e.practice_number, e.export_id FOR UPDATE)
                RETURNING lease_token),
            refreshes AS (
                UPDATE headgate.source_catalog SET lease_expires_at = clock_timestamp() + $4
                 WHERE lease_token = ANY ($3) AND lease_expires_at > clock_timestamp()
                RETURNING lease_token)
            SELECT lease_token AS "token!" FROM (
                   SELECT lease_token FROM shards UNION ALL SELECT lease_token FROM steps
                   UNION ALL SELECT lease_token FROM refreshes) held"#,
            &shards,
            &steps,
            &refreshes,
            interval(lease),
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(held)
    }
}

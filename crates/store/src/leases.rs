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

/// What came of leases that were to be renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Renewed.
    pub held: Vec<Uuid>,
    /// Held by another transaction at the moment: they run on as they did, and are to be renewed soon.
    pub busy: Vec<Uuid>,
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

    /// Renews the given leases. A lease that is neither renewed nor busy is lost for ever.
    ///
    /// Waits for nobody: what another transaction holds at the moment, as a publication under way does, is `busy`.
    ///
    /// # Errors
    /// When the database fails: then nothing is known, and the leases run on until they expire.
    pub async fn renew(&mut self, leases: &[(Uuid, LeaseKind)], lease: Duration) -> Result<Renewed> {
        let of = |wanted: fn(&LeaseKind) -> bool| -> Vec<Uuid> {
            leases.iter().filter(|(_, kind)| wanted(kind)).map(|(token, _)| *token).collect()
        };
        let shards = of(|k| matches!(k, LeaseKind::Shard { .. }));
        let steps = of(|k| matches!(k, LeaseKind::Step { .. } | LeaseKind::Purge));
        let refreshes = of(|k| matches!(k, LeaseKind::Refresh));
        let rows = sqlx::query!(
            r#"/* renew */
            WITH shards AS (
                UPDATE headgate.shard s SET lease_expires_at = clock_timestamp() + $4
                  FROM (SELECT l.practice_number, l.export_id, l.stream, l.shard FROM headgate.shard l
                         WHERE l.state = 'leased' AND l.lease_token = ANY ($1) AND l.lease_expires_at > clock_timestamp()
                         FOR NO KEY UPDATE SKIP LOCKED) free
                 WHERE s.state = 'leased' AND s.lease_token = ANY ($1)
                   AND (s.practice_number, s.export_id, s.stream, s.shard)
                     = (free.practice_number, free.export_id, free.stream, free.shard)
                RETURNING s.lease_token),
            steps AS (
                UPDATE headgate.export e SET lease_expires_at = clock_timestamp() + $4
                  FROM (SELECT l.practice_number, l.export_id FROM headgate.export l
                         WHERE l.lease_token = ANY ($2) AND l.lease_expires_at > clock_timestamp()
                         FOR NO KEY UPDATE SKIP LOCKED) free
                 WHERE e.lease_token = ANY ($2)
                   AND (e.practice_number, e.export_id) = (free.practice_number, free.export_id)
                RETURNING e.lease_token),
            refreshes AS (
                UPDATE headgate.source_catalog c SET lease_expires_at = clock_timestamp() + $4
                  FROM (SELECT l.practice_number FROM headgate.source_catalog l
                         WHERE l.lease_token = ANY ($3) AND l.lease_expires_at > clock_timestamp()
                         FOR NO KEY UPDATE SKIP LOCKED) free
                 WHERE c.practice_number = free.practice_number
                RETURNING c.lease_token),
            renewed AS (
                SELECT lease_token FROM shards UNION ALL SELECT lease_token FROM steps
                UNION ALL SELECT lease_token FROM refreshes)
            -- All as they were when the statement began.
            SELECT l.lease_token AS "token!", l.lease_token IN (SELECT r.lease_token FROM renewed r) AS "renewed!"
              FROM (SELECT lease_token FROM headgate.shard
                     WHERE state = 'leased' AND lease_token = ANY ($1) AND lease_expires_at > statement_timestamp()
                    UNION ALL
                    SELECT lease_token FROM headgate.export
                     WHERE lease_token = ANY ($2) AND lease_expires_at > statement_timestamp()
                    UNION ALL
                    SELECT lease_token FROM headgate.source_catalog
                     WHERE lease_token = ANY ($3) AND lease_expires_at > statement_timestamp()) l"#,
            &shards,
            &steps,
            &refreshes,
            interval(lease),
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut renewed = Renewed::default();
        for row in rows {
            if row.renewed { &mut renewed.held } else { &mut renewed.busy }.push(row.token);
        }
        Ok(renewed)
    }
}

#[cfg(test)]
mod tests;

//! A gate in a practice's database: whoever reads a row behind it waits until it is opened.
//!
//! The relation becomes a view whose rows, from a given id on, need an advisory lock that the test holds. So a
//! worker can be met with certainty in the middle of a shard, or planning in the middle of a relation.

use anyhow::Result;
use headgate_testkit::sqlx::{self, Connection as _, PgConnection};

use crate::world::{World, eventually};

/// The advisory lock.
const LOCK: i64 = 4711;

/// A closed gate. Dropping it opens it, too.
pub struct Gate {
    connection: PgConnection,
}

impl Gate {
    /// Bodies of rows with this id or a greater one cannot be read. Planning reads no bodies and goes on.
    pub async fn before_bodies(world: &World, relation: &str, id: &str) -> Result<Self> {
        let columns = format!("id, patient_id, last_updated, public.gate(id, '{id}', resource) AS resource");
        Self::close(world, relation, &columns, "true").await
    }

    /// Rows with this id or a greater one can neither be found nor read.
    pub async fn before_rows(world: &World, relation: &str, id: &str) -> Result<Self> {
        let condition = format!("public.gate(id, '{id}', id) = id");
        Self::close(world, relation, "id, patient_id, last_updated, resource", &condition).await
    }

    /// Contents of attachments with this id or a greater one cannot be fetched. What there is of them can be asked.
    pub async fn before_contents(world: &World, id: &str) -> Result<Self> {
        let columns = format!(
            "id, patient_id, last_updated, public.gate(id, '{id}', content_type) AS content_type, content"
        );
        Self::close(world, "binary", &columns, "true").await
    }

    async fn close(world: &World, relation: &str, columns: &str, condition: &str) -> Result<Self> {
        let mut connection = world.connection().await?;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
        // Said to be stable and costly, so that it is asked last, and only for rows that are wanted.
        world
            .source(&format!(
                "CREATE FUNCTION public.gate(id text, gate text, value text) RETURNS text
                     LANGUAGE plpgsql STABLE COST 10000 AS $$
                 BEGIN
                     IF id COLLATE \"C\" >= gate COLLATE \"C\" THEN
                         PERFORM pg_catalog.pg_advisory_xact_lock_shared({LOCK});
                     END IF;
                     RETURN value;
                 END $$;
                 ALTER TABLE fhir_export.{relation} RENAME TO {relation}_rows;
                 ANALYZE fhir_export.{relation}_rows;
                 CREATE VIEW fhir_export.{relation} AS
                     SELECT {columns} FROM fhir_export.{relation}_rows WHERE {condition};
                 GRANT SELECT ON fhir_export.{relation} TO PUBLIC;"
            ))
            .await?;
        Ok(Self { connection })
    }

    /// Waits until so many readers stand before the gate.
    pub async fn until_reached(&mut self, readers: i64) -> Result<()> {
        eventually("somebody stands before the gate", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .fetch_one(&mut self.connection)
            .await?;
            Ok(waiting >= readers)
        })
        .await
    }

    /// Lets everybody through.
    pub async fn open(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}

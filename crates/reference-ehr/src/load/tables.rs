//! The plain tables of the source contract, and the statements that fill them.
//!
//! All of it runs in the one transaction of the load. A table that was empty is filled directly and gets
//! its indexes afterwards; a table with rows is filled through a temporary table and merged.

use headgate_domain::ResourceType;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::error::LoadError;
use crate::database::{DatabaseError, execute, quoted};

/// The `COPY` target of the Provenance rows whose patient must be looked up.
pub(super) const PENDING: &str = "load_pending (file, line, id, target_type, target_id, resource)";

/// SQLSTATE of a broken unique index.
const UNIQUE_VIOLATION: &str = "23505";

/// The tables of one schema, seen by one load.
pub(super) struct Tables {
    schema: String,
}

/// How the rows of a type reach its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Directly: the table was empty.
    Direct,
    /// Through `pg_temp.load_<relation>` and a merge.
    Merge,
}

impl Tables {
    pub(super) fn new(schema: &str) -> Self {
        Self { schema: quoted(schema) }
    }

    fn name(&self, t: ResourceType) -> String {
        format!("{}.{}", self.schema, t.relation())
    }

    /// The table that rows are brought to first.
    fn filled(&self, t: ResourceType, way: Way) -> String {
        match way {
            Way::Direct => self.name(t),
            Way::Merge => staging(t),
        }
    }

    /// Creates the schema and the tables that do not depend on a type. Two loads of one schema wait for
    /// each other here.
    pub(super) async fn begin(&self, connection: &mut PgConnection) -> Result<(), DatabaseError> {
        let schema = &self.schema;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("headgate ehr load {schema}"))
            .execute(&mut *connection)
            .await?;
        // Long bodies are compressed on their way in; where the server can, with the faster method.
        sqlx::query(
            "SELECT set_config(name, 'lz4', true) FROM pg_settings
             WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)",
        )
        .execute(&mut *connection)
        .await?;
        execute(
            connection,
            format!(
                r#"SET LOCAL client_min_messages = warning;
                CREATE SCHEMA IF NOT EXISTS {schema};
                CREATE TABLE IF NOT EXISTS {schema}.tombstone (
                    resource_type text        NOT NULL,
                    id            text        COLLATE "C" NOT NULL,
                    patient_id    text        COLLATE "C",
                    deleted_at    timestamptz NOT NULL DEFAULT now()
                );
                CREATE INDEX IF NOT EXISTS tombstone_deleted_at ON {schema}.tombstone (resource_type, deleted_at);
                CREATE TABLE IF NOT EXISTS {schema}.group_member (
                    group_id     text        COLLATE "C" NOT NULL,
                    patient_id   text        COLLATE "C" NOT NULL,
                    member_since timestamptz NOT NULL DEFAULT now(),
                    member_until timestamptz
                );
                CREATE INDEX IF NOT EXISTS group_member_group_id ON {schema}.group_member (group_id, patient_id);
                CREATE TEMPORARY TABLE load_pending (
                    file bigint, line bigint, id text, target_type text, target_id text COLLATE "C", resource text
                ) ON COMMIT DROP;
                CREATE TEMPORARY TABLE load_replaced (
                    resource_type text, id text COLLATE "C", patient_id text COLLATE "C"
                ) ON COMMIT DROP;"#
            ),
        )
        .await?;
        Ok(())
    }

    /// Creates the table of a type if it is missing, empties it if it is to be replaced (its ids are
    /// remembered for their tombstones), and decides how it will be filled.
    pub(super) async fn prepare(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
        replace: bool,
    ) -> Result<Way, DatabaseError> {
        let (table, relation) = (self.name(t), t.relation());
        let nullable = if t.is_patient_owned() { "NOT NULL" } else { "" };
        execute(
            connection,
            format!(
                r#"CREATE TABLE IF NOT EXISTS {table} (
                    id           text        COLLATE "C" NOT NULL,
                    patient_id   text        COLLATE "C" {nullable},
                    last_updated timestamptz NOT NULL DEFAULT now(),
                    resource     text        NOT NULL
                )"#
            ),
        )
        .await?;
        if replace {
            execute(
                connection,
                format!(
                    "INSERT INTO load_replaced SELECT '{t}', id, patient_id FROM {table};
                     TRUNCATE {table}"
                ),
            )
            .await?;
        }
        let has_rows: bool =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT FROM {table})")))
                .fetch_one(&mut *connection)
                .await?;
        if has_rows {
            execute(
                connection,
                format!(
                    r#"CREATE TEMPORARY TABLE load_{relation} (
                        id text COLLATE "C", patient_id text COLLATE "C", resource text
                    ) ON COMMIT DROP"#
                ),
            )
            .await?;
            self.create_indexes(connection, t).await?;
            return Ok(Way::Merge);
        }
        let schema = &self.schema;
        execute(
            connection,
            format!(
                "DROP INDEX IF EXISTS {schema}.{relation}_id_key, {schema}.{relation}_patient_id,
                 {schema}.{relation}_last_updated"
            ),
        )
        .await?;
        Ok(Way::Direct)
    }

    /// The `COPY` target of a type's rows.
    pub(super) fn target(&self, t: ResourceType, way: Way) -> String {
        format!("{} (id, patient_id, resource)", self.filled(t, way))
    }

    /// Sends one batch to a target; returns its number of rows.
    pub(super) async fn copy(
        &self,
        connection: &mut PgConnection,
        target: &str,
        data: &[u8],
    ) -> Result<u64, DatabaseError> {
        let mut copy = connection.copy_in_raw(&format!("COPY {target} FROM STDIN (FORMAT binary)")).await?;
        // In pieces, because the driver keeps a buffer as large as the largest.
        for piece in data.chunks(1 << 20) {
            copy.send(piece).await?;
        }
        Ok(copy.finish().await?)
    }

    /// Brings the rows of a type into its table, with its indexes; returns how many are new or changed.
    ///
    /// # Errors
    /// [`LoadError::DuplicateId`] when two lines have the same id.
    pub(super) async fn settle(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
        way: Way,
    ) -> Result<u64, LoadError> {
        let duplicate = |error: DatabaseError| match error.is(UNIQUE_VIOLATION) {
            true => LoadError::DuplicateId(t),
            false => LoadError::Database(error),
        };
        match way {
            Way::Direct => {
                self.create_indexes(connection, t).await.map_err(duplicate)?;
                Ok(0)
            }
            Way::Merge => {
                let index = format!("CREATE UNIQUE INDEX ON {} (id)", staging(t));
                execute(connection, index).await.map_err(duplicate)?;
                Ok(self.merge(connection, t).await?)
            }
        }
    }

    async fn create_indexes(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
    ) -> Result<(), DatabaseError> {
        let (table, relation) = (self.name(t), t.relation());
        execute(
            connection,
            format!(
                "CREATE UNIQUE INDEX IF NOT EXISTS {relation}_id_key ON {table} (id);
                 CREATE INDEX IF NOT EXISTS {relation}_patient_id ON {table} (patient_id, id);
                 CREATE INDEX IF NOT EXISTS {relation}_last_updated ON {table} (last_updated);"
            ),
        )
        .await?;
        Ok(())
    }

    /// New and changed rows are stamped by this transaction; rows with the same body keep their stamp, so
    /// that a repeated load does not make the next incremental export send everything. A row that changes
    /// hands leaves a tombstone with its old patient.
    async fn merge(&self, connection: &mut PgConnection, t: ResourceType) -> Result<u64, DatabaseError> {
        let (schema, table, staging) = (&self.schema, self.name(t), staging(t));
        execute(
            connection,
            format!(
                "INSERT INTO {schema}.tombstone (resource_type, id, patient_id)
                 SELECT '{t}', old.id, old.patient_id
                 FROM {table} old JOIN {staging} new ON new.id = old.id
                 WHERE new.patient_id IS DISTINCT FROM old.patient_id"
            ),
        )
        .await?;
        execute(
            connection,
            format!(
                "INSERT INTO {table} AS old (id, patient_id, resource)
                 SELECT id, patient_id, resource FROM {staging}
                 ON CONFLICT (id) DO UPDATE
                 SET patient_id = excluded.patient_id, last_updated = now(), resource = excluded.resource
                 WHERE old.patient_id IS DISTINCT FROM excluded.patient_id
                    OR old.resource <> excluded.resource"
            ),
        )
        .await
    }

    /// The types of which some Provenance wants to know the patient.
    pub(super) async fn pending_types(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<ResourceType>, DatabaseError> {
        execute(connection, "ANALYZE load_pending".to_owned()).await?;
        let names: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT target_type FROM load_pending").fetch_all(connection).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The file and line of the first Provenance that waits for a target of type `t` which does not exist.
    pub(super) async fn missing_target(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
    ) -> Result<Option<(usize, u64)>, DatabaseError> {
        let statement = format!(
            "SELECT file, line FROM load_pending p
             WHERE target_type = '{t}' AND NOT EXISTS (SELECT FROM {table} x WHERE x.id = p.target_id)
             ORDER BY file, line LIMIT 1",
            table = self.name(t),
        );
        let Some(row) = sqlx::query(AssertSqlSafe(statement)).fetch_optional(connection).await? else {
            return Ok(None);
        };
        let (file, line): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Some((usize::try_from(file).unwrap_or(usize::MAX), line.unsigned_abs())))
    }

    /// Moves the Provenance rows that wait for a target of type `t`, with the patient of that target.
    pub(super) async fn resolve_pending(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
        way: Way,
    ) -> Result<u64, DatabaseError> {
        let (table, provenance) = (self.name(t), self.filled(ResourceType::Provenance, way));
        execute(
            connection,
            format!(
                "INSERT INTO {provenance} (id, patient_id, resource)
                 SELECT p.id, x.patient_id, p.resource FROM load_pending p JOIN {table} x ON x.id = p.target_id
                 WHERE p.target_type = '{t}'"
            ),
        )
        .await
    }

    /// Leaves tombstones for the replaced rows that did not come back to the same patient.
    pub(super) async fn bury_replaced(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
    ) -> Result<(), DatabaseError> {
        let (schema, table) = (&self.schema, self.name(t));
        execute(
            connection,
            format!(
                "INSERT INTO {schema}.tombstone (resource_type, id, patient_id)
                 SELECT '{t}', old.id, old.patient_id FROM load_replaced old
                 WHERE old.resource_type = '{t}' AND NOT EXISTS (
                     SELECT FROM {table} new
                     WHERE new.id = old.id AND new.patient_id IS NOT DISTINCT FROM old.patient_id)"
            ),
        )
        .await?;
        Ok(())
    }

    /// Which types have a table.
    pub(super) async fn existing(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<ResourceType>, DatabaseError> {
        let mut existing = Vec::new();
        for t in ResourceType::ALL {
            let found: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(self.name(*t))
                .fetch_one(&mut *connection)
                .await?;
            if found {
                existing.push(*t);
            }
        }
        Ok(existing)
    }

    /// Statistics and the visibility map, which the engine's planning reads instead of the rows. Runs
    /// after the commit: `VACUUM` cannot be part of a transaction.
    pub(super) async fn tidy(
        &self,
        connection: &mut PgConnection,
        t: ResourceType,
    ) -> Result<(), DatabaseError> {
        execute(connection, format!("VACUUM (ANALYZE) {}", self.name(t))).await?;
        Ok(())
    }
}

fn staging(t: ResourceType) -> String {
    format!("pg_temp.load_{}", t.relation())
}

//! Resources that exported ones refer to, and attachments that they lead to by URL.
//!
//! Types that are exported by reference have streams of the access path `reference`. While other shards are read,
//! the ids they refer to are written down, in the transaction that publishes the file which refers to them. When no
//! shard is left to do, the plan step comes again and makes shards of the ids; these may refer to others, so it comes
//! until there is nothing new.

use sqlx::PgConnection;

use crate::acquire::{PlanLease, ShardLease};
use crate::plan::{self, NewShard};
use crate::{Error, Result, Store, StreamType};

impl Store {
    /// The next ids of a type that no shard reads yet, in byte order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_references(
        &self,
        lease: &PlanLease,
        stream_type: StreamType,
        limit: i64,
    ) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "/* open_references */
             SELECT id FROM headgate.export_reference
              WHERE practice_number = $1 AND export_id = $2 AND resource_type = $3 AND NOT planned
              ORDER BY id LIMIT $4",
            lease.practice.get(),
            lease.export.as_str(),
            stream_type.name(),
            limit,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Whether shards are still to be done: they may refer to more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_open_shards(&self, lease: &PlanLease) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"/* has_open_shards */
            SELECT EXISTS (SELECT FROM headgate.shard
                            WHERE practice_number = $1 AND export_id = $2 AND state <> 'done') AS "open!""#,
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Adds a shard that reads these ids to each stream of the type, in one transaction.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn add_reference_shards(
        &self,
        lease: &PlanLease,
        stream_type: StreamType,
        ids: &[String],
        shards: &[(i16, NewShard)],
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        plan::hold(&mut tx, lease, "planning").await?;
        for (stream, shard) in shards {
            plan::insert_shards(&mut tx, lease, *stream, std::slice::from_ref(shard), false, None).await?;
        }
        let planned = sqlx::query!(
            "/* add_reference_shards */
             UPDATE headgate.export_reference SET planned = true
              WHERE practice_number = $1 AND export_id = $2 AND resource_type = $3 AND id = ANY($4) AND NOT planned",
            lease.practice.get(),
            lease.export.as_str(),
            stream_type.name(),
            ids,
        )
        .execute(&mut *tx)
        .await?;
        if planned.rows_affected() != ids.len() as u64 {
            return Err(Error::Inconsistent { table: "export_reference", column: "planned" });
        }
        tx.commit().await?;
        Ok(())
    }

    /// Adds ids that are wanted although nothing was found to refer to them; with `done` the stream is marked as looked
    /// through for such.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn seed_references(
        &self,
        lease: &PlanLease,
        stream: i16,
        stream_type: StreamType,
        ids: &[String],
        done: bool,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        plan::hold(&mut tx, lease, "planning").await?;
        sqlx::query!(
            "/* seed_references */
             INSERT INTO headgate.export_reference (practice_number, export_id, resource_type, id)
             SELECT $1, $2, $3, r.id FROM unnest($4::text[]) AS r(id)
             ON CONFLICT (practice_number, export_id, resource_type, id) DO NOTHING",
            lease.practice.get(),
            lease.export.as_str(),
            stream_type.name(),
            ids,
        )
        .execute(&mut *tx)
        .await?;
        if done {
            sqlx::query!(
                "/* seed_references: done */
                 UPDATE headgate.export_stream SET plan_cursor = '\"changed\"'
                  WHERE practice_number = $1 AND export_id = $2 AND stream = $3",
                lease.practice.get(),
                lease.export.as_str(),
                stream,
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Ends the planning of all streams that are read by reference.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn finish_references(&self, lease: &PlanLease) -> Result<()> {
        let mut tx = self.begin().await?;
        plan::hold(&mut tx, lease, "planning").await?;
        sqlx::query!(
            "/* finish_references */
             UPDATE headgate.export_stream SET planned_at = clock_timestamp()
              WHERE practice_number = $1 AND export_id = $2 AND access_path = 'reference' AND planned_at IS NULL",
            lease.practice.get(),
            lease.export.as_str(),
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Writes down what the files of a publication refer to.
pub(crate) async fn add(
    connection: &mut PgConnection,
    lease: &ShardLease,
    references: &[(StreamType, String)],
) -> Result<()> {
    if references.is_empty() {
        return Ok(());
    }
    // In one order everywhere, so that two publications never wait for each other's rows.
    let mut sorted: Vec<(&str, &str)> = references.iter().map(|(t, id)| (t.name(), id.as_str())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let (types, ids): (Vec<String>, Vec<String>) =
        sorted.into_iter().map(|(t, id)| (t.to_owned(), id.to_owned())).unzip();
    sqlx::query!(
        "/* references::add */
         INSERT INTO headgate.export_reference (practice_number, export_id, resource_type, id)
         SELECT $1, $2, r.resource_type, r.id FROM unnest($3::text[], $4::text[]) AS r(resource_type, id)
         ON CONFLICT (practice_number, export_id, resource_type, id) DO NOTHING",
        lease.practice.get(),
        lease.export.as_str(),
        &types,
        &ids,
    )
    .execute(connection)
    .await?;
    Ok(())
}

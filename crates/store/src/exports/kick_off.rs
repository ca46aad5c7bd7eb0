//! Kick-off: everything about a new export in one transaction, so that a 202 means that it will run and
//! nothing else leaves a trace.

use headgate_domain::authorize::AuthorizedExport;
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, ExportId, PracticeNumber};
use sqlx::PgConnection;

use crate::audit::{self, Audit};
use crate::error::{number, parsed};
use crate::{Result, Store, doorbell};

/// An export to be started.
#[derive(Debug, Clone, Copy)]
pub struct NewExport<'a> {
    /// At which practice.
    pub practice: PracticeNumber,
    /// Its id, random.
    pub id: &'a ExportId,
    /// Whose it is.
    pub client: &'a ClientId,
    /// What was asked for and allowed.
    pub authorized: &'a AuthorizedExport,
    /// The kick-off URL with its query, as the manifest repeats it.
    pub request_url: &'a str,
    /// Exports the app may run at the practice at a time.
    pub max_running: u32,
    /// W3C trace context of the kick-off, if it is traced.
    pub trace_parent: Option<&'a str>,
}

/// Why an export that was authorized does not start. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KickOffError {
    /// The consent ended since the request was authorized.
    #[error("the consent is no longer in force")]
    ConsentEnded,
    /// The practice has no such group.
    #[error("no such group")]
    NoSuchGroup,
    /// The app runs as many exports here as it may.
    #[error("{running} exports are running")]
    TooMany {
        /// How many run.
        running: u32,
    },
}

impl Store {
    /// Starts an export: the export, what was ignored of its request, the audit row and the doorbell.
    ///
    /// # Errors
    /// The outer when the database fails, the inner when the export may not start.
    pub async fn kick_off(
        &self,
        new: &NewExport<'_>,
        audit: &Audit,
    ) -> Result<std::result::Result<(), KickOffError>> {
        let mut tx = self.at(new.practice).await?;
        if let Err(refused) = may_start(&mut tx, new).await? {
            return Ok(Err(refused));
        }
        let request = &new.authorized.request;
        let types: Vec<String> = new.authorized.types.iter().map(|t| t.name().to_owned()).collect();
        sqlx::query!(
            "/* kick_off */
             INSERT INTO headgate.export
                 (practice_number, export_id, client_id, consent_id, accepted_under, level, group_id, request_url, since, types,
                  selection, delivery, deleted, of_patients, trace_parent)
             VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            new.practice.get(),
            new.id.as_str(),
            new.client.as_str(),
            new.authorized.consent_id,
            request.level.name(),
            request.level.group_id(),
            new.request_url,
            request.since,
            &types,
            serde_json::json!(request.selection),
            serde_json::json!(request.delivery),
            request.deleted && request.since.is_some(),
            request.patients.is_some(),
            new.trace_parent,
        )
        .execute(&mut *tx)
        .await?;
        insert_patients(&mut tx, new).await?;
        note_ignored(&mut tx, new).await?;
        audit::record(&mut tx, audit).await?;
        doorbell::ring(&mut tx, new.practice).await?;
        tx.commit().await?;
        Ok(Ok(()))
    }
}

/// Checks what may have changed since the request was authorized, under locks that hold until commit.
async fn may_start(
    connection: &mut PgConnection,
    new: &NewExport<'_>,
) -> Result<std::result::Result<(), KickOffError>> {
    let consent = sqlx::query!(
        r#"/* kick_off: consent */
         SELECT app_scopes AS "app_scopes!" FROM headgate.authority
         WHERE practice_number = $1 AND consent_id = $2 AND client_id = $3
         FOR SHARE"#,
        new.practice.get(),
        new.authorized.consent_id,
        new.client.as_str(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(consent) = consent else { return Ok(Err(KickOffError::ConsentEnded)) };
    // A consent that is amended gets another id; an app whose scopes are narrowed does not.
    let registered: ScopeSet = parsed(&consent.app_scopes, "app", "scopes")?;
    if !new.authorized.types.iter().all(|t| registered.permits(*t)) {
        return Ok(Err(KickOffError::ConsentEnded));
    }
    if let Some(group_id) = new.authorized.request.level.group_id() {
        let group = sqlx::query!(
            "/* kick_off: group */
             SELECT group_id FROM headgate.patient_group WHERE practice_number = $1 AND group_id = $2
             UNION ALL
             SELECT group_id FROM headgate.source_group WHERE practice_number = $1 AND group_id = $2
             LIMIT 1",
            new.practice.get(),
            group_id,
        )
        .fetch_optional(&mut *connection)
        .await?;
        if group.is_none() {
            return Ok(Err(KickOffError::NoSuchGroup));
        }
    }
    // The count comes in a statement after the lock, so that it sees what the last holder committed.
    sqlx::query!(
        "/* kick_off: lock */
         SELECT 1 AS locked FROM pg_advisory_xact_lock(hashtextextended('headgate.kick_off ' || $1 || ' ' || $2, 0))",
        new.practice.to_string(),
        new.client.as_str(),
    )
    .fetch_one(&mut *connection)
    .await?;
    let running = sqlx::query_scalar!(
        r#"/* kick_off: count */
         SELECT count(*) AS "running!" FROM headgate.export
         WHERE practice_number = $1 AND client_id = $2
           AND state IN ('accepted', 'planning', 'running', 'finishing')"#,
        new.practice.get(),
        new.client.as_str(),
    )
    .fetch_one(&mut *connection)
    .await?;
    let running: u32 = number(running, "export", "count")?;
    if running >= new.max_running {
        return Ok(Err(KickOffError::TooMany { running }));
    }
    Ok(Ok(()))
}

/// The patients that the request named.
async fn insert_patients(connection: &mut PgConnection, new: &NewExport<'_>) -> Result<()> {
    let Some(patients) = &new.authorized.request.patients else { return Ok(()) };
    let patients: Vec<String> = patients.iter().cloned().collect();
    sqlx::query!(
        "/* kick_off: patients */
         INSERT INTO headgate.export_patient (practice_number, export_id, patient_id)
         SELECT $1, $2, patient_id FROM unnest($3::text[]) AS p(patient_id)",
        new.practice.get(),
        new.id.as_str(),
        &patients,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Parts of the request that were ignored: the error file will tell them.
async fn note_ignored(connection: &mut PgConnection, new: &NewExport<'_>) -> Result<()> {
    let ignored = new.authorized.request.notes.iter().filter(|note| note.ignored);
    for (i, note) in ignored.enumerate() {
        sqlx::query!(
            "/* kick_off: note */
             INSERT INTO headgate.problem (practice_number, export_id, stream, shard, reason, diagnostics)
             VALUES ($1, $2, 0, 0, $3, $4)",
            new.practice.get(),
            new.id.as_str(),
            format!("request_{}", i + 1),
            note.issue.diagnostics(),
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

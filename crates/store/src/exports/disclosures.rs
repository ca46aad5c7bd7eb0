//! What went to whom: exports whose data left, with the consent they ran under (45 CFR 164.528, accounting of
//! disclosures).
//!
//! An export counts from the moment it was completed, or links to files of a running one were handed out: whoever had
//! a link had the data. Which patients were in it is answered from the cohort that was recorded when it was planned;
//! an export of everybody had every patient whom the practice had then.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use headgate_domain::export::ExportState;
use headgate_domain::request::Level;
use headgate_domain::{ClientId, ExportId, PracticeNumber, ResourceType};
use serde_json::Value;
use uuid::Uuid;

use super::{level_of, state_of, types_of};
use crate::error::{json, number, parsed};
use crate::page::time_and_text;
use crate::{Page, Paged, Result, Store};

/// Which disclosures. Conditions that are absent let everything through.
#[derive(Clone, Default)]
pub struct DisclosureFilter {
    /// To this app.
    pub client: Option<ClientId>,
    /// Kicked off from here on.
    pub since: Option<DateTime<Utc>>,
    /// Kicked off before this.
    pub until: Option<DateTime<Utc>>,
    /// That had this patient in them, or everybody.
    pub patient: Option<String>,
}

/// Names no patient.
impl std::fmt::Debug for DisclosureFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisclosureFilter").field("client", &self.client).finish_non_exhaustive()
    }
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// First.
    pub first_at: DateTime<Utc>,
    /// Last.
    pub last_at: DateTime<Utc>,
    /// How often.
    pub times: u64,
}

/// An export whose data left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// The export.
    pub export: ExportId,
    /// To which app.
    pub client: ClientId,
    /// Its name.
    pub app_name: String,
    /// The name of its vendor.
    pub vendor_name: String,
    /// Under which consent.
    pub consent_id: Uuid,
    /// Who had granted it.
    pub granted_by: String,
    /// Which patients.
    pub level: Level,
    /// Whether the request named patients.
    pub of_patients: bool,
    /// Only resources changed after this.
    pub since: Option<DateTime<Utc>>,
    /// The types.
    pub types: BTreeSet<ResourceType>,
    /// When it was kicked off.
    pub accepted_at: DateTime<Utc>,
    /// When it was completed.
    pub completed_at: Option<DateTime<Utc>>,
    /// Where it stands now.
    pub state: ExportState,
    /// Everything changed up to here was in it.
    pub transaction_time: Option<DateTime<Utc>>,
    /// How many resources of each type.
    pub resources_by_type: BTreeMap<String, u64>,
    /// How often links to its files were handed out.
    pub links: Option<Times>,
    /// How often files were fetched with the access token.
    pub downloads: Option<Times>,
    /// Why the patient who was asked for was in it: `member` of its cohort, or `all_patients`.
    pub basis: Option<&'static str>,
}

impl Store {
    /// The disclosures of a practice, newest first.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn disclosures(
        &self,
        practice: PracticeNumber,
        filter: &DisclosureFilter,
        page: &Page,
    ) -> Result<Paged<Disclosure>> {
        let (after, after_id) = page.time_and_text()?.unzip();
        let rows = sqlx::query!(
            r#"/* disclosures */
             SELECT e.export_id, e.client_id, a.name AS app_name, v.name AS vendor_name, e.accepted_under AS consent_id, c.granted_by,
                    e.level, e.group_id, e.of_patients, e.since, e.types, e.accepted_at, e.completed_at, e.state,
                    e.transaction_time, e.links_first_at, e.links_last_at, e.links_times,
                    e.download_first_at, e.download_last_at, e.download_times,
                    (SELECT coalesce(jsonb_object_agg(f.resource_type, f.resources), '{}')
                       FROM (SELECT resource_type, sum(resources) AS resources FROM headgate.file
                              WHERE practice_number = e.practice_number AND export_id = e.export_id AND kind = 'output'
                              GROUP BY resource_type) f) AS "by_type!"
               FROM headgate.export e
               JOIN headgate.consent c ON c.practice_number = e.practice_number AND c.consent_id = e.accepted_under
               JOIN headgate.app a ON a.client_id = e.client_id
               JOIN headgate.vendor v ON v.vendor_id = a.vendor_id
              WHERE e.practice_number = $1 AND (e.completed_at IS NOT NULL OR e.links_times > 0)
                AND ($2::text IS NULL OR e.client_id = $2)
                AND ($3::timestamptz IS NULL OR e.accepted_at >= $3)
                AND ($4::timestamptz IS NULL OR e.accepted_at < $4)
                AND ($5::text IS NULL OR e.level <> 'group' AND NOT e.of_patients
                     OR EXISTS (SELECT FROM headgate.export_member m
                                 WHERE m.practice_number = e.practice_number AND m.export_id = e.export_id
                                   AND m.patient_id = $5))
                AND ($6::timestamptz IS NULL OR e.accepted_at < $6 OR e.accepted_at = $6 AND e.export_id > $7)
              ORDER BY e.accepted_at DESC, e.export_id LIMIT $8"#,
            practice.get(),
            filter.client.as_ref().map(ClientId::as_str),
            filter.since,
            filter.until,
            filter.patient,
            after,
            after_id,
            page.rows(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        let disclosures = rows.into_iter().map(|row| {
            let everybody = row.level != "group" && !row.of_patients;
            Ok(Disclosure {
                export: parsed(&row.export_id, "export", "export_id")?,
                client: parsed(&row.client_id, "export", "client_id")?,
                app_name: row.app_name,
                vendor_name: row.vendor_name,
                consent_id: row.consent_id,
                granted_by: row.granted_by,
                level: level_of(&row.level, row.group_id)?,
                of_patients: row.of_patients,
                since: row.since,
                types: types_of(&row.types)?,
                accepted_at: row.accepted_at,
                completed_at: row.completed_at,
                state: state_of(&row.state)?,
                transaction_time: row.transaction_time,
                resources_by_type: counts(row.by_type)?,
                links: times(row.links_first_at, row.links_last_at, row.links_times)?,
                downloads: times(row.download_first_at, row.download_last_at, row.download_times)?,
                basis: filter.patient.as_ref().map(|_| if everybody { "all_patients" } else { "member" }),
            })
        });
        Ok(Paged::of(disclosures.collect::<Result<_>>()?, page, |disclosure| {
            time_and_text(disclosure.accepted_at, &disclosure.export)
        }))
    }
}

fn counts(by_type: Value) -> Result<BTreeMap<String, u64>> {
    json(by_type, "file", "resources")
}

fn times(first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>, times: i64) -> Result<Option<Times>> {
    let times = number(times, "export", "times")?;
    Ok(first.zip(last).map(|(first_at, last_at)| Times { first_at, last_at, times }))
}

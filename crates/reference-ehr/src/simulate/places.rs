//! Where writes can go: rows found at random, without reading tables.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::{Builder, Uuid};

use crate::database::DatabaseError;
use crate::generate::rng::Rng;

/// The tables that writes go to.
const TABLES: [&str; 16] = [
    "patient",
    "encounter",
    "problem",
    "allergy",
    "vital_set",
    "finding",
    "lab_result",
    "document",
    "immunization",
    "dispense",
    "coverage",
    "prescription",
    "patient_address",
    "care_plan",
    "goal",
    "questionnaire_item",
];

/// What does not change while the simulation runs, and where each table's keys began and ended.
pub(super) struct Places {
    pub practice: Uuid,
    pub laboratory: Option<Uuid>,
    pub facilities: Vec<Uuid>,
    pub drugs: Vec<Uuid>,
    pub groups: Vec<Uuid>,
    providers: Vec<Uuid>,
    /// The milliseconds of the least and greatest key.
    spans: BTreeMap<&'static str, (i64, i64)>,
}

impl Places {
    /// None where there is no practice with patients.
    pub(super) async fn find(pool: &PgPool) -> Result<Option<Self>, DatabaseError> {
        let organization = async |kind: &str| {
            sqlx::query_scalar::<_, Uuid>("SELECT id FROM organization WHERE kind = $1 ORDER BY id LIMIT 1")
                .bind(kind)
                .fetch_optional(pool)
                .await
        };
        let all = async |table: &str| {
            let sql = format!("SELECT id FROM {table} ORDER BY id");
            sqlx::query_scalar::<_, Uuid>(AssertSqlSafe(sql)).fetch_all(pool).await
        };
        let mut spans = BTreeMap::new();
        for table in TABLES {
            let sql = format!(
                "SELECT (SELECT id FROM {table} ORDER BY id LIMIT 1), (SELECT id FROM {table} ORDER BY id DESC LIMIT 1)"
            );
            let (least, greatest): (Option<Uuid>, Option<Uuid>) =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?;
            if let (Some(least), Some(greatest)) = (least, greatest) {
                spans.insert(table, (millis(least), millis(greatest)));
            }
        }
        let (practice, providers) = (organization("practice").await?, all("provider").await?);
        let facilities = all("facility").await?;
        let (Some(practice), false, false, true) =
            (practice, providers.is_empty(), facilities.is_empty(), spans.contains_key("patient"))
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            practice,
            laboratory: organization("laboratory").await?,
            facilities,
            drugs: all("drug").await?,
            groups: all("patient_group").await?,
            providers,
            spans,
        }))
    }

    pub(super) fn provider(&self, rng: &mut Rng) -> Uuid {
        *rng.pick(&self.providers)
    }

    /// The id of a random row of a table that fulfils a condition: the first from a random key on. None if
    /// there is none up to the end.
    pub(super) async fn pick(
        &self,
        connection: &mut PgConnection,
        table: &'static str,
        condition: &str,
        rng: &mut Rng,
    ) -> Result<Option<Uuid>, DatabaseError> {
        let Some((least, greatest)) = self.spans.get(table) else { return Ok(None) };
        let from = rng.between(*least, *greatest).unsigned_abs();
        let from = Builder::from_unix_timestamp_millis(from, &[0; 10]).into_uuid();
        let sql = format!("SELECT id FROM {table} WHERE id >= $1 AND {condition} ORDER BY id LIMIT 1");
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(from).fetch_optional(connection).await?)
    }

    /// A random patient who is not merged away.
    pub(super) async fn patient(
        &self,
        connection: &mut PgConnection,
        rng: &mut Rng,
    ) -> Result<Option<Uuid>, DatabaseError> {
        self.pick(connection, "patient", "NOT deleted AND deceased_at IS NULL", rng).await
    }
}

/// The time in a key of version 7 (RFC 9562, 5.7).
fn millis(key: Uuid) -> i64 {
    i64::try_from(key.as_u128() >> 80).expect("48 bits")
}

//! Which patients a source knows, and which of its resources changed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::catalog::get;
use crate::statement::{Shape, Statement};
use crate::{Marker, Relation, Source, SourceError, row_ids};

/// How many patients are looked up by one statement.
const PATIENTS_PER_STATEMENT: usize = 1000;

impl Source {
    /// Which of these patients have a row in the relation of Patients, by its `patient_id`. Without a marker any server
    /// may answer, one that lags behind too.
    ///
    /// # Errors
    /// As for any transaction.
    pub async fn existing_patients(
        &self,
        relation: &Relation,
        marker: Option<&Marker>,
        ids: &[String],
    ) -> Result<BTreeSet<String>, SourceError> {
        let from = Shape::new(self.schema(), relation)?.from();
        let mut existing = BTreeSet::new();
        for ids in ids.chunks(PATIENTS_PER_STATEMENT) {
            let ids: Vec<&String> = ids.iter().filter(|id| row_ids::can_be_text(id)).collect();
            let mut statement = Statement::default();
            let ids = statement.bind(ids);
            statement.push(&format!(
                "SELECT p.id FROM pg_catalog.unnest({ids}::text[]) AS p(id)
                 WHERE EXISTS (SELECT FROM {from} WHERE r.patient_id = p.id)"
            ));
            let mut tx = match marker {
                Some(marker) => self.begin(marker).await?,
                None => self.begin_unmarked(&[]).await?,
            };
            for row in tx.fetch_all(statement, Some(&relation.name)).await? {
                existing.insert(get(&row, "id")?);
            }
            tx.finish().await?;
        }
        Ok(existing)
    }

    /// The ids of rows that changed after `since` and before `until`, in byte order after `after`.
    ///
    /// # Errors
    /// As for any transaction.
    pub async fn changed_rows(
        &self,
        relation: &Relation,
        marker: &Marker,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, SourceError> {
        let from = Shape::new(self.schema(), relation)?.from();
        let mut statement =
            Statement::new(format!("SELECT r.id::text AS id FROM {from} WHERE r.id IS NOT NULL"));
        let since = statement.bind(since);
        statement.push(&format!(" AND (r.last_updated > {since} OR r.last_updated IS NULL)"));
        if let Some(until) = until {
            let until = statement.bind(until);
            statement.push(&format!(" AND (r.last_updated < {until} OR r.last_updated IS NULL)"));
        }
        if let Some(after) = after {
            let after = statement.bind(after);
            statement.push(&format!(" AND r.id COLLATE \"C\" > {after}::text"));
        }
        let limit = statement.bind(i64::from(limit));
        statement.push(&format!(" ORDER BY r.id COLLATE \"C\" LIMIT {limit}"));
        let mut tx = self.begin(marker).await?;
        let rows = tx.fetch_all(statement, Some(&relation.name)).await?;
        let ids = rows.iter().map(|row| get(row, "id")).collect::<Result<_, _>>()?;
        tx.finish().await?;
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use headgate_domain::ResourceType;

    use crate::test_database::{TestDatabase, relation_and_marker};

    #[tokio::test]
    async fn patients_are_known_by_their_rows_whatever_is_asked() {
        let db = TestDatabase::create("patients_existing").await;
        db.execute(
            "CREATE TABLE fhir_export.patient (id text, patient_id varchar(64), last_updated timestamptz,
                                               resource text);
             INSERT INTO fhir_export.patient
             SELECT 'row' || n, 'p' || n, NULL, NULL FROM generate_series(1, 3000) n;
             INSERT INTO fhir_export.patient VALUES ('again', 'p1', NULL, NULL), ('nobody', NULL, NULL, NULL)",
        )
        .await;
        let source = db.source();
        let (relation, marker) = relation_and_marker(&source, ResourceType::Patient).await;
        let ids: Vec<String> = ["p1", "p\0", "", "P1", "p1", "row2", "p2'", "nobody", "p9999"]
            .into_iter()
            .map(str::to_owned)
            .chain((2900..3100).map(|n| format!("p{n}")))
            .chain((0..1000).map(|n| format!("x{n}")))
            .collect();
        let existing = source.existing_patients(&relation, Some(&marker), &ids).await.unwrap();
        let expected = ["p1".to_owned()].into_iter().chain((2900..=3000).map(|n| format!("p{n}")));
        assert_eq!(existing, expected.collect());
        assert!(source.existing_patients(&relation, None, &[]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn rows_that_changed_within_the_bounds_are_listed_page_by_page() {
        let db = TestDatabase::create("rows_changed").await;
        db.execute(
            "CREATE TABLE fhir_export.medication (id text, patient_id text, last_updated timestamptz, resource text);
             INSERT INTO fhir_export.medication VALUES ('a', NULL, '2024-01-01Z', '{}'), ('B', NULL, '2024-01-03Z', '{}'),
                 ('c', NULL, '2024-01-02Z', '{}'), ('d', NULL, NULL, '{}'), (NULL, NULL, '2024-01-03Z', '{}')",
        )
        .await;
        let source = db.source();
        let (relation, marker) = relation_and_marker(&source, ResourceType::Medication).await;
        let time = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let since = time("2024-01-01T00:00:00Z");
        let until = Some(time("2024-01-03T00:00:00Z"));
        let ids = source.changed_rows(&relation, &marker, since, None, None, 2).await.unwrap();
        assert_eq!(ids, ["B", "c"]);
        let ids = source.changed_rows(&relation, &marker, since, None, Some("c"), 2).await.unwrap();
        assert_eq!(ids, ["d"]);
        let ids = source.changed_rows(&relation, &marker, since, until, None, 9).await.unwrap();
        assert_eq!(ids, ["c", "d"]);
    }
}

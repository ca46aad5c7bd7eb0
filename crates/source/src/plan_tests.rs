use std::collections::BTreeSet;

use headgate_domain::ResourceType;

use crate::test_database::{TestDatabase, relation_and_marker};
use crate::{PageItem, Read, Scope};

use super::*;

/// Walks the whole relation.
async fn slices(
    source: &Source,
    relation: &Relation,
    marker: &Marker,
    rows: u64,
) -> Vec<(Option<Key>, Option<Key>, u64)> {
    let mut slices = Vec::new();
    let mut lower = None;
    loop {
        match source.boundary(relation, marker, lower.as_ref(), rows).await.unwrap() {
            Boundary::Next { rows, last } => {
                slices.push((lower, Some(last.clone()), rows));
                lower = Some(last);
            }
            Boundary::Last { rows } => {
                slices.push((lower, None, rows));
                return slices;
            }
        }
    }
}

/// The ids of one slice, read in pages of 7.
async fn ids(source: &Source, read: &Read) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = None;
    loop {
        let mut tx = source.begin(&read.marker).await.unwrap();
        let mut page = tx.page(read, cursor.as_ref(), 7).unwrap();
        let end = loop {
            match page.next().await.unwrap() {
                PageItem::Row(row) => ids.push(row.id.to_owned()),
                PageItem::End(end) => break end,
            }
        };
        drop(page);
        tx.finish().await.unwrap();
        match end {
            crate::PageEnd::More(next) => cursor = Some(next),
            crate::PageEnd::End => return ids,
        }
    }
}

#[tokio::test]
async fn slices_cover_every_row_exactly_once_whatever_their_size() {
    let db = TestDatabase::create("plan_slices").await;
    db.execute(
        "CREATE TABLE fhir_export.observation (page_key bigint, id text, patient_id text,
                                               last_updated timestamptz, resource text);
         INSERT INTO fhir_export.observation
         SELECT n / 3, 'o' || n, 'p', now(), '{}' FROM generate_series(1, 100) n;
         CREATE UNIQUE INDEX ON fhir_export.observation (page_key, id COLLATE \"C\")",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Observation).await;
    for size in [1, 7, 10, 33, 50, 99, 100, 101, 1000] {
        let slices = slices(&source, &relation, &marker, size).await;
        assert_eq!(slices.len() as u64, 100_u64.div_ceil(size), "slices of {size}");
        let mut all = Vec::new();
        for (lower, upper, rows) in slices {
            let scope = Scope::All { lower, upper, only_patient_rows: false };
            let (relation, marker) = (relation.clone(), marker.clone());
            let read = Read { relation, marker, since: None, until: None, narrow: Vec::new(), scope };
            let ids = ids(&source, &read).await;
            assert_eq!(ids.len() as u64, rows, "slices of {size}");
            all.extend(ids);
        }
        assert_eq!(all.len(), 100);
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 100);
    }
}

#[tokio::test]
async fn an_empty_relation_is_one_slice_without_rows() {
    let db = TestDatabase::create("plan_empty").await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                        last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Goal).await;
    assert_eq!(source.boundary(&relation, &marker, None, 10).await.unwrap(), Boundary::Last { rows: 0 });
}

#[tokio::test]
async fn a_cohort_is_counted_patient_by_patient() {
    let db = TestDatabase::create("plan_cohort").await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                        last_updated timestamptz, resource text);
         INSERT INTO fhir_export.goal
         SELECT 'g' || n, 'p' || n % 10, now(), '{}' FROM generate_series(1, 95) n",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Goal).await;
    let patients: Vec<String> = ["nobody", "p0", "p5", "p9"].map(str::to_owned).to_vec();
    let counts = source.count_by_patient(&relation, &marker, &patients).await.unwrap();
    assert_eq!(counts, [("p0".to_owned(), 9), ("p5".to_owned(), 10), ("p9".to_owned(), 9)]);
    let many: Vec<String> = (0..2500).map(|n| format!("p{n}")).collect();
    let counts = source.count_by_patient(&relation, &marker, &many).await.unwrap();
    assert_eq!(counts.iter().map(|(_, rows)| rows).sum::<u64>(), 95);
}

#[tokio::test]
async fn a_server_that_has_not_seen_what_the_plan_saw_is_refused() {
    let db = TestDatabase::create("plan_behind").await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Goal).await;
    source.boundary(&relation, &marker, None, 10).await.unwrap();
    let ahead = Marker { lsn: "FFFFFF/0".to_owned(), ..marker.clone() };
    let replica = Marker { replica: true, ..marker };
    for marker in [ahead, replica] {
        let error = source.boundary(&relation, &marker, None, 10).await.unwrap_err();
        assert!(matches!(error, SourceError::Behind), "{error:?}");
        assert!(error.is_transient());
    }
}

use crate::test_database::{TestDatabase, mapped, relation_and_marker};

use super::*;

const TOMBSTONES: &str = "CREATE TABLE fhir_export.tombstone (resource_type text, id text, patient_id text,
                                                              deleted_at timestamptz)";

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn ask<'a>(relations: &'a [Relation], of: TombstonesOf<'a>) -> DeletedAsk<'a> {
    DeletedAsk {
        resource_type: relations[0].resource_type,
        relations,
        since: time("2024-01-10T00:00:00Z"),
        up_to: time("2024-01-20T00:00:00Z"),
        until: None,
        of,
    }
}

/// All pages, as `id: owners`, and whose it was when it was deleted again.
async fn all(source: &Source, marker: &Marker, ask: &DeletedAsk<'_>, limit: u32) -> Vec<String> {
    let mut lines = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = source.deleted(marker, ask, after.as_deref(), limit).await.unwrap();
        lines.extend(page.iter().map(|deleted| {
            let [owners, again_of] = [&deleted.owners, &deleted.again_of].map(|patients| {
                let mut names: Vec<&str> = patients.iter().map(|p| p.as_deref().unwrap_or("-")).collect();
                names.sort_unstable();
                names.join(",")
            });
            let again = if again_of.is_empty() { again_of } else { format!("; again: {again_of}") };
            format!("{}: {owners}{again}", deleted.id)
        }));
        match page.last() {
            Some(last) if page.len() == limit as usize => after = Some(last.id.clone()),
            _ => return lines,
        }
    }
}

fn member(patient_id: &str, full_history: bool) -> DeletedMember {
    DeletedMember { patient_id: patient_id.to_owned(), full_history }
}

#[tokio::test]
async fn tombstones_of_the_window_come_once_in_order_with_the_owners_of_what_is_there() {
    let db = TestDatabase::create("deleted_ready").await;
    db.execute(TOMBSTONES).await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                        last_updated timestamptz, resource text);
         INSERT INTO fhir_export.goal VALUES ('back', 'p', now(), '{}'), ('moved', 'q', now(), '{}'),
             ('nobodys', NULL, now(), '{}'), ('other', 'p', now(), '{}');
         INSERT INTO fhir_export.tombstone VALUES
             ('Goal', 'gone', 'p', '2024-01-11Z'), ('Goal', 'gone', 'p', '2024-01-12Z'),
             ('Goal', 'again', 'p', '2024-01-12Z'), ('Goal', 'again', 'q', '2024-01-25Z'),
             ('Goal', 'again', 'q', '2024-01-26Z'), ('Goal', 'again', NULL, '2024-01-27Z'),
             ('Condition', 'gone', 'q', '2024-01-25Z'), ('Goal', 'gone', 'q', 'infinity'),
             ('Goal', 'back', 'p', '2024-01-11Z'),
             ('Goal', 'moved', 'p', '2024-01-11Z'), ('Goal', 'nobodys', NULL, '2024-01-11Z'),
             ('Goal', 'B-first', 'q', '2024-01-15Z'), ('Goal', 'practice', NULL, '2024-01-15Z'),
             ('Goal', 'at-since', 'p', '2024-01-10Z'), ('Goal', 'just-after', 'p', '2024-01-10T00:00:00.000001Z'),
             ('Goal', 'at-time', 'p', '2024-01-20Z'), ('Goal', 'too-late', 'p', '2024-01-20T00:00:00.000001Z'),
             ('Goal', 'old', 'q', '2020-01-01Z'), ('Condition', 'other', 'p', '2024-01-15Z'),
             ('Condition', 'condition', 'p', '2024-01-15Z'), ('Goal', NULL, 'p', '2024-01-15Z'),
             ('Goal', 'timeless', 'p', NULL), (NULL, 'untyped', 'p', '2024-01-15Z'),
             ('Goal', 'no_fhir_id', 'p', '2024-01-15Z'), ('Goal', 'for-ever', 'p', 'infinity')",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Goal).await;
    let relations = [relation];
    let everybody = [
        "B-first: ",
        "again: ; again: -,q",
        "at-time: ",
        "back: p",
        "gone: ",
        "just-after: ",
        "moved: q",
        "nobodys: -",
        "practice: ",
    ];
    for limit in [1, 2, 8, 100] {
        let found = all(&source, &marker, &ask(&relations, TombstonesOf::Everybody), limit).await;
        assert_eq!(found, everybody, "pages of {limit}");
    }
    let patients = all(&source, &marker, &ask(&relations, TombstonesOf::PatientRows), 3).await;
    let again = "again: ; again: -,q";
    assert_eq!(patients, ["B-first: ", again, "at-time: ", "back: p", "gone: ", "just-after: ", "moved: q"]);
    let until =
        DeletedAsk { until: Some(time("2024-01-15T00:00:00Z")), ..ask(&relations, TombstonesOf::Everybody) };
    let before = all(&source, &marker, &until, 100).await;
    assert_eq!(before, [again, "back: p", "gone: ", "just-after: ", "moved: q", "nobodys: -"]);
    for (members, expected) in [
        (vec![member("q", false)], vec!["B-first: "]),
        (vec![member("q", true), member("nobody", true)], vec!["B-first: ", "old: "]),
        (vec![member("p", false), member("q", true)], {
            vec!["B-first: ", again, "at-time: ", "back: p", "gone: ", "just-after: ", "moved: q", "old: "]
        }),
        (vec![], vec![]),
    ] {
        let found = all(&source, &marker, &ask(&relations, TombstonesOf::Members(&members)), 2).await;
        assert_eq!(found, expected, "{members:?}");
    }
}

#[tokio::test]
async fn an_id_of_a_template_is_there_as_long_as_its_condition_is_true_for_the_row() {
    let db = TestDatabase::create("deleted_mapped").await;
    db.execute(TOMBSTONES).await;
    db.execute(
        "CREATE TABLE fhir_export.vitals (page_key bigint, id text, patient_id text, last_updated timestamptz,
                                          kind text, systolic int);
         CREATE TABLE fhir_export.labs (id text, patient_id text, last_updated timestamptz);
         INSERT INTO fhir_export.vitals VALUES
             (1, 'a', 'p', now(), 'bp', 120), (2, 'b', 'p', now(), 'bp', NULL), (3, 'c', 'q', now(), 'hr', 120),
             (4, 'd-bp', 'q', now(), 'hr', NULL);
         INSERT INTO fhir_export.labs VALUES ('l', 'p', now()), ('a-bp', 'q', now());
         INSERT INTO fhir_export.tombstone
         SELECT 'Observation', x, 'p', '2024-01-15Z' FROM unnest('{a,a-bp,b,b-bp,c,c-bp,d-bp,l,l-bp,-bp,a-bp-bp}'::text[]) x",
    )
    .await;
    let source = db.source();
    let head = r#""resourceType": "Observation", "meta": {"lastUpdated": "{{last_updated | instant}}"}"#;
    let vitals = format!(
        r#"{{"relation": "vitals", "resources": [
            {{{head}, "id": "{{{{id}}}}"}},
            {{{head}, "id": "{{{{id}}}}-bp", "$when": "kind = 'bp' and systolic is not null"}},
            {{{head}, "id": "{{{{id}}}}-old", "$when": "$us_core = '1.0.0'"}}]}}"#
    );
    let labs = format!(r#"{{"relation": "labs", "resources": [{{{head}, "id": "{{{{id}}}}"}}]}}"#);
    let both = [mapped(&source, "Observation", &vitals).await, mapped(&source, "Observation", &labs).await];
    let marker = source.marker().await.unwrap();
    for limit in [1, 4, 100] {
        let found = all(&source, &marker, &ask(&both, TombstonesOf::Everybody), limit).await;
        assert_eq!(
            found,
            [
                "-bp: ",
                "a: p",
                "a-bp: p,q",
                "a-bp-bp: ",
                "b: p",
                "b-bp: ",
                "c: q",
                "c-bp: ",
                "d-bp: q",
                "l: p",
                "l-bp: "
            ],
            "pages of {limit}"
        );
    }
}

/// The plan, one node a line.
async fn plan(source: &Source, ask: &DeletedAsk<'_>) -> String {
    let statement = statement(source.schema(), ask, None, 1000).unwrap();
    let mut tx = source.begin_unmarked(&[]).await.unwrap();
    let rows = tx.fetch_all(statement.prefix("EXPLAIN "), None).await.unwrap();
    tx.finish().await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn many_tombstones_are_looked_up_by_index_or_in_one_reading_of_the_relation() {
    let db = TestDatabase::create("deleted_plans").await;
    db.execute(TOMBSTONES).await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text, patient_id text, last_updated timestamptz, resource text);
         INSERT INTO fhir_export.goal
         SELECT 'g' || n, 'p' || n % 100, now(), '{}' FROM generate_series(1, 50000) n;
         CREATE TABLE fhir_export.base (id uuid PRIMARY KEY, patient_id text, at timestamptz, kind text);
         INSERT INTO fhir_export.base
         SELECT md5(n::text)::uuid, 'p', now(), 'k' FROM generate_series(1, 50000) n;
         CREATE VIEW fhir_export.vitals AS SELECT id AS page_key, id::text AS id, patient_id, at AS last_updated, kind
         FROM fhir_export.base;
         ANALYZE",
    )
    .await;
    let source = db.source();
    let (ready, _) = relation_and_marker(&source, ResourceType::Goal).await;
    let vitals = r#"{"relation": "vitals", "resources": [
        {"resourceType": "Observation", "id": "{{id}}", "meta": {"lastUpdated": "{{last_updated | instant}}"}},
        {"resourceType": "Observation", "id": "{{id}}-k", "meta": {"lastUpdated": "{{last_updated | instant}}"},
         "$when": "kind = 'k'"}]}"#;
    let mapped = mapped(&source, "Observation", vitals).await;
    let relations = [[ready], [mapped]];
    // Of the relations; the tombstones are few.
    let scans =
        |plan: &str| plan.matches("Seq Scan on").count() - plan.matches("Seq Scan on tombstone").count();
    for relations in &relations {
        let plan = plan(&source, &ask(relations, TombstonesOf::Everybody)).await;
        assert!(plan.contains("Hash Join") && scans(&plan) == 1, "{plan}");
    }
    db.execute(
        "CREATE INDEX ON fhir_export.goal (id COLLATE \"C\");
         CREATE INDEX ON fhir_export.base ((id::text) COLLATE \"C\"); ANALYZE",
    )
    .await;
    for relations in &relations {
        let plan = plan(&source, &ask(relations, TombstonesOf::Everybody)).await;
        assert!(plan.contains("Index Cond") && scans(&plan) == 0, "{plan}");
    }
}

#[tokio::test]
async fn deletions_are_not_told_without_the_relations_of_their_type_and_no_id_is_shown() {
    let db = TestDatabase::create("deleted_refused").await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Goal).await;
    let relations = [relation];
    let good = ask(&relations, TombstonesOf::Everybody);
    let none = DeletedAsk { relations: &[], ..good };
    let other = DeletedAsk { resource_type: ResourceType::Condition, ..good };
    for (ask, limit) in [(none, 10), (other, 10), (good, 0)] {
        assert!(matches!(source.deleted(&marker, &ask, None, limit).await, Err(SourceError::Config(_))));
    }
    let error = source.deleted(&marker, &good, None, 10).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("42P01"));
    let members = [member("pat-1", true)];
    let deleted = Deleted {
        id: "pat-1".to_owned(),
        owners: vec![Some("pat-1".to_owned())],
        again_of: vec![Some("pat-1".to_owned())],
    };
    let shown = format!("{:?} {deleted:?}", ask(&relations, TombstonesOf::Members(&members)));
    assert!(!shown.contains("pat-1"), "{shown}");
}

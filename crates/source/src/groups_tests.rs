use crate::test_database::TestDatabase;

use super::*;

/// With the optional columns or without.
async fn database(name: &str, optional: &str) -> TestDatabase {
    let db = TestDatabase::create(name).await;
    db.execute(&format!(
        "CREATE TABLE fhir_export.group_member (group_id text, patient_id text, member_since timestamptz,
                                                member_until timestamptz{optional})"
    ))
    .await;
    db
}

const OPTIONAL: &str = ", member_group_id varchar(64) COLLATE \"C\", inactive boolean";

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// All pages, as `id since..until`, days only.
async fn members(source: &Source, group: &str, since: Option<&str>, limit: u32) -> Vec<String> {
    let catalog = source.catalog(None).await.unwrap();
    let marker = source.marker().await.unwrap();
    let mut lines = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = source
            .group_members(&catalog, &marker, group, since.map(time), after.as_deref(), limit)
            .await
            .unwrap();
        let day = |t: Option<DateTime<Utc>>| t.map(|t| t.date_naive().to_string()).unwrap_or_default();
        lines.extend(page.iter().map(|m| format!("{} {}..{}", m.patient_id, day(m.since), day(m.until))));
        match page.last() {
            Some(last) if page.len() == limit as usize => after = Some(last.patient_id.clone()),
            _ => return lines,
        }
    }
}

async fn groups(source: &Source) -> Vec<String> {
    let catalog = source.catalog(None).await.unwrap();
    let groups = source.groups(&catalog, 100).await.unwrap();
    groups.iter().map(|group| format!("{} {}", group.group_id, group.members)).collect()
}

#[tokio::test]
async fn members_now_and_those_who_left_since_come_once_in_order() {
    let db = database("groups_flat", "").await;
    db.execute(
        "INSERT INTO fhir_export.group_member VALUES
             ('g', 'b-always', NULL, NULL), ('g', 'A-since', '2024-01-05Z', NULL),
             ('g', 'ends-later', '2024-01-05Z', '2999-01-01Z'), ('g', 'for-ever', '-infinity', 'infinity'),
             ('g', 'joins-later', '2999-01-01Z', NULL), ('g', 'left', '2024-01-01Z', '2024-01-20Z'),
             ('g', 'left-before', '2024-01-01Z', '2024-01-10Z'), ('g', 'never', '2024-03-01Z', '2024-02-01Z'),
             ('g', 'back', '2024-01-01Z', '2024-01-15Z'), ('g', 'back', '2024-02-01Z', NULL),
             ('g', 'back', '2024-02-05Z', NULL), ('g', 'twice-left', '2024-01-01Z', '2024-01-12Z'),
             ('g', 'twice-left', '2024-01-14Z', '2024-01-16Z'), ('g', NULL, NULL, NULL),
             ('h', 'other', NULL, NULL), (NULL, 'lost', NULL, NULL), ('no_fhir_id', 'b', NULL, NULL),
             ('empty', 'gone', NULL, '2020-01-01Z'), ('g', 'ancient', '4000-01-01Z BC', NULL)",
    )
    .await;
    let source = db.source();
    let now = [
        "A-since 2024-01-05..",
        "ancient ..",
        "b-always ..",
        "back 2024-02-01..",
        "ends-later 2024-01-05..",
        "for-ever ..",
    ];
    let left = ["left 2024-01-01..2024-01-20", "twice-left 2024-01-01..2024-01-16"];
    let both: Vec<&str> = now.into_iter().chain(left).collect();
    for limit in [1, 3, 100] {
        assert_eq!(members(&source, "g", None, limit).await, now, "pages of {limit}");
        assert_eq!(
            members(&source, "g", Some("2024-01-10T00:00:00Z"), limit).await,
            both,
            "pages of {limit}"
        );
    }
    assert_eq!(members(&source, "g", Some("2500-01-01T00:00:00Z"), 100).await, now);
    assert!(members(&source, "nobody-knows", None, 10).await.is_empty());
    assert_eq!(groups(&source).await, ["empty 0", "g 6", "h 1"]);
    let catalog = source.catalog(None).await.unwrap();
    assert_eq!(source.groups(&catalog, 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn members_of_a_nested_group_are_members_for_as_long_as_every_row_of_a_path_holds() {
    let db = database("groups_nested", OPTIONAL).await;
    db.execute(
        "INSERT INTO fhir_export.group_member (group_id, member_group_id, patient_id, member_since, member_until)
         VALUES
             ('top', 'mid', NULL, '2024-01-10Z', NULL), ('mid', 'leaf', NULL, NULL, '2024-02-01Z'),
             ('top', 'ended', NULL, '2024-01-01Z', '2024-01-15Z'), ('top', 'future', NULL, '2999-01-01Z', NULL),
             ('mid', NULL, 'm-early', '2024-01-01Z', NULL), ('mid', NULL, 'm-late', '2024-01-20Z', NULL),
             ('mid', NULL, 'm-left', '2024-01-01Z', '2024-01-12Z'),
             ('mid', NULL, 'm-left-before', '2023-01-01Z', '2024-01-05Z'),
             ('leaf', NULL, 'l', '2024-01-15Z', NULL), ('ended', NULL, 'e', '2024-01-12Z', NULL),
             ('ended', NULL, 'e-after', '2024-01-16Z', NULL), ('future', NULL, 'f', NULL, NULL),
             ('top', NULL, 'm-late', '2024-01-30Z', NULL), ('top', NULL, 'l', '2024-01-18Z', NULL),
             ('leaf', NULL, 'm-early', '2020-01-01Z', NULL), ('top', 'mid', 'with-both', NULL, NULL)",
    )
    .await;
    let source = db.source();
    let now = ["l 2024-01-18..", "m-early 2024-01-10..", "m-late 2024-01-20..", "with-both .."];
    assert_eq!(members(&source, "top", None, 2).await, now);
    let since = Some("2024-01-11T00:00:00Z");
    assert_eq!(
        members(&source, "top", since, 2).await,
        [
            "e 2024-01-12..2024-01-15",
            "l 2024-01-18..",
            "m-early 2024-01-10..",
            "m-late 2024-01-20..",
            "m-left 2024-01-10..2024-01-12",
            "with-both ..",
        ]
    );
    assert_eq!(members(&source, "mid", None, 10).await, ["m-early 2024-01-01..", "m-late 2024-01-20.."]);
    assert_eq!(groups(&source).await, ["ended 2", "future 1", "leaf 2", "mid 2", "top 4"]);
}

#[tokio::test]
async fn a_circle_of_groups_ends_and_who_is_inactive_is_no_member() {
    let db = database("groups_circle", OPTIONAL).await;
    db.execute(
        "INSERT INTO fhir_export.group_member (group_id, member_group_id, patient_id, member_since, inactive)
         VALUES
             ('a', 'b', NULL, '2024-01-01Z', false), ('b', 'c', NULL, '2024-01-02Z', NULL),
             ('c', 'a', NULL, '2024-01-03Z', false), ('a', 'a', NULL, '2024-01-04Z', NULL),
             ('a', 'off', NULL, NULL, true), ('off', NULL, 'o', NULL, NULL),
             ('a', NULL, 'pa', NULL, NULL), ('b', NULL, 'pb', NULL, NULL), ('c', NULL, 'pc', NULL, false),
             ('c', NULL, 'inactive', NULL, true), ('b', NULL, 'half', NULL, true), ('b', NULL, 'half', '2024-05-01Z', false)",
    )
    .await;
    let source = db.source();
    assert_eq!(
        members(&source, "a", Some("2020-01-01T00:00:00Z"), 10).await,
        ["half 2024-05-01..", "pa ..", "pb 2024-01-01..", "pc 2024-01-02.."]
    );
    assert_eq!(
        members(&source, "c", None, 10).await,
        ["half 2024-05-01..", "pa 2024-01-03..", "pb 2024-01-03..", "pc .."]
    );
    assert_eq!(groups(&source).await, ["a 4", "b 4", "c 4", "off 1"]);
}

#[tokio::test]
async fn a_source_without_memberships_has_no_groups_and_no_cohort() {
    let db = TestDatabase::create("groups_none").await;
    let source = db.source();
    let catalog = source.catalog(None).await.unwrap();
    let marker = source.marker().await.unwrap();
    assert!(source.groups(&catalog, 10).await.unwrap().is_empty());
    let error = source.group_members(&catalog, &marker, "g", None, None, 10).await.unwrap_err();
    assert!(matches!(error, SourceError::Config(_)));
    let member = SourceMember { patient_id: "pat-1".to_owned(), since: None, until: None };
    assert!(!format!("{member:?}").contains("pat-1"));
}

#[tokio::test]
async fn members_are_found_by_the_index_of_the_group() {
    for (name, collation) in [("groups_index", ""), ("groups_index_c", " COLLATE \"C\"")] {
        let db = TestDatabase::create(name).await;
        db.execute(&format!(
            "CREATE TABLE fhir_export.group_member (group_id text{collation}, patient_id text,
                 member_since timestamptz, member_until timestamptz, member_group_id text);
             INSERT INTO fhir_export.group_member
             SELECT 'g' || n % 20000, 'p' || n, now(), NULL, NULL FROM generate_series(1, 50000) n;
             CREATE INDEX ON fhir_export.group_member (group_id);
             ANALYZE"
        ))
        .await;
        let source = db.source();
        let catalog = source.catalog(None).await.unwrap();
        let statement = super::members("fhir_export", &catalog, "g7", None, None, 100).unwrap();
        let mut tx = source.begin_unmarked(&[]).await.unwrap();
        let rows = tx.fetch_all(statement.prefix("EXPLAIN "), None).await.unwrap();
        tx.finish().await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Cond") && !plan.contains("Seq Scan"), "{plan}");
    }
}

use crate::test_database::TestDatabase;
use crate::{ContractProblem, Source, SourceConfig};

use super::*;

#[tokio::test]
async fn relations_are_found_with_their_types_and_survive_storage() {
    let db = TestDatabase::create("catalog_types").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text PRIMARY KEY, patient_id text, last_updated timestamptz,
                                           resource text);
         CREATE TABLE fhir_export.device (id text, patient_id text, last_updated timestamptz(3),
                                          resource json, page_key uuid NOT NULL);
         CREATE VIEW fhir_export.observation AS
             SELECT id, patient_id, last_updated, '{}'::jsonb AS resource, 1::bigint AS page_key
             FROM fhir_export.patient;
         CREATE TABLE fhir_export.group_member (group_id text, patient_id varchar(64),
                                                member_since timestamptz, member_until timestamptz);
         CREATE FUNCTION fhir_export.horizon() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()';
         CREATE TABLE fhir_export.\"Odd Name\" (id text)",
    )
    .await;
    let catalog = db.source().catalog(None).await.unwrap();
    let stored = serde_json::to_string(&catalog).unwrap();
    assert_eq!(serde_json::from_str::<Catalog>(&stored).unwrap(), catalog);
    let found: Vec<_> = catalog
        .relations
        .iter()
        .map(|r| (r.resource_type, r.content.clone(), r.page_key, r.key_not_null, r.trusted))
        .collect();
    assert_eq!(
        found,
        [
            (ResourceType::Device, Content::Ready(BodyKind::Json), Some(PageKeyType::Uuid), true, true),
            (
                ResourceType::Observation,
                Content::Ready(BodyKind::Jsonb),
                Some(PageKeyType::Bigint),
                false,
                true
            ),
            (ResourceType::Patient, Content::Ready(BodyKind::Text), None, true, false),
        ]
    );
    assert!(catalog.group_member && catalog.horizon && !catalog.tombstone);
    assert!(catalog.unusable.is_empty());
}

#[tokio::test]
async fn a_relation_of_another_shape_is_named_with_what_is_wrong() {
    let db = TestDatabase::create("catalog_unusable").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text, patient_id text, resource text);
         CREATE TABLE fhir_export.goal (id text, patient_id text, last_updated timestamp, resource text);
         CREATE TABLE fhir_export.device (id uuid, patient_id text, last_updated timestamptz, resource text);
         CREATE TABLE fhir_export.location (id text, patient_id text, last_updated timestamptz, resource xml);
         CREATE TABLE fhir_export.coverage (id text, patient_id text, last_updated timestamptz, resource json,
                                            page_key double precision);
         CREATE TABLE fhir_export.binary (id text, patient_id text, last_updated timestamptz,
                                          content_type text, content text);
         CREATE TABLE fhir_export.tombstone (resource_type text, id text, deleted_at timestamptz)",
    )
    .await;
    let catalog = db.source().catalog(None).await.unwrap();
    assert!(catalog.relations.is_empty() && !catalog.tombstone && !catalog.binary);
    let problem = |name: &str| {
        let unusable = catalog.unusable.iter().find(|u| u.relation == name).unwrap();
        unusable.problem.clone()
    };
    assert_eq!(problem("patient"), "there is no column last_updated");
    assert!(problem("goal").contains("timestamp without time zone"));
    assert!(problem("device").contains("uuid"));
    assert!(problem("location").contains("xml"));
    assert!(problem("coverage").contains("double precision"));
    assert_eq!(problem("tombstone"), "there is no column patient_id");
    assert_eq!(problem("binary"), "content has the type text, not bytea");
}

#[tokio::test]
async fn a_column_that_the_role_may_not_read_makes_the_type_unsupported() {
    let db = TestDatabase::create("catalog_denied").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let config = db.config_as_role("catalog_denied").await;
    db.execute(
        "REVOKE SELECT ON fhir_export.patient FROM catalog_denied;
         GRANT SELECT (id, patient_id, last_updated) ON fhir_export.patient TO catalog_denied",
    )
    .await;
    let catalog = Source::connect(config).unwrap().catalog(None).await.unwrap();
    assert_eq!(catalog.unusable[0].problem, "the role may not SELECT resource");
}

#[tokio::test]
async fn a_schema_that_is_missing_or_closed_is_an_error_and_not_an_empty_catalogue() {
    let db = TestDatabase::create("catalog_schema").await;
    let missing = SourceConfig { schema: "elsewhere".to_owned(), ..db.config() };
    let error = Source::connect(missing).unwrap().catalog(None).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSchema { .. }), "{error:?}");

    let config = db.config_as_role("catalog_schema").await;
    db.execute("REVOKE USAGE ON SCHEMA fhir_export FROM catalog_schema").await;
    let error = Source::connect(config).unwrap().catalog(None).await.unwrap_err();
    assert!(error.to_string().contains("GRANT USAGE"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_stored_catalogue_with_a_hostile_name_reaches_no_statement() {
    let db = TestDatabase::create("catalog_hostile").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (mut relation, marker) =
        crate::test_database::relation_and_marker(&source, ResourceType::Patient).await;
    relation.name = "patient\" r; DROP TABLE fhir_export.patient; --".to_owned();
    let error = source.boundary(&relation, &marker, None, 10).await.unwrap_err();
    assert!(matches!(error, SourceError::Identifier { what: "relation" }), "{error:?}");
    assert_eq!(db.number("SELECT count(*) FROM fhir_export.patient").await, 0);
}

#[tokio::test]
async fn a_null_key_which_no_slice_would_hold_is_refused_before_planning() {
    let db = TestDatabase::create("catalog_null_key").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text, patient_id text, last_updated timestamptz, resource text);
         INSERT INTO fhir_export.patient VALUES ('a', 'a', now(), '{}'), (NULL, 'b', now(), '{}')",
    )
    .await;
    let source = db.source();
    let (relation, marker) = crate::test_database::relation_and_marker(&source, ResourceType::Patient).await;
    let error = source.boundary(&relation, &marker, None, 10).await.unwrap_err();
    assert!(matches!(error, SourceError::Contract { problem: ContractProblem::NullKey, .. }), "{error:?}");
}

#[tokio::test]
async fn optional_columns_of_memberships_are_found_and_must_be_of_their_type() {
    let db = TestDatabase::create("catalog_groups").await;
    db.execute(
        "CREATE TABLE fhir_export.group_member (group_id text, patient_id text, member_since timestamptz,
                                                member_until timestamptz)",
    )
    .await;
    let mut found = Vec::new();
    for change in ["ADD member_group_id varchar(64)", "ADD inactive boolean", "DROP member_group_id"] {
        db.execute(&format!("ALTER TABLE fhir_export.group_member {change}")).await;
        let catalog = db.source().catalog(None).await.unwrap();
        assert!(catalog.group_member && catalog.unusable.is_empty());
        found.push((catalog.group_columns.nested, catalog.group_columns.inactive));
    }
    assert_eq!(found, [(true, false), (true, true), (false, true)]);
    db.execute("ALTER TABLE fhir_export.group_member ALTER inactive TYPE text").await;
    let catalog = db.source().catalog(None).await.unwrap();
    assert!(!catalog.group_member && catalog.group_columns == GroupColumns::default());
    assert_eq!(catalog.unusable[0].problem, "inactive has the type text, not boolean");
    db.execute("ALTER TABLE fhir_export.group_member ALTER inactive TYPE boolean USING true").await;
    let config = db.config_as_role("catalog_groups").await;
    db.execute(
        "REVOKE SELECT ON fhir_export.group_member FROM catalog_groups;
         GRANT SELECT (group_id, patient_id, member_since, member_until) ON fhir_export.group_member
             TO catalog_groups",
    )
    .await;
    let catalog = Source::connect(config).unwrap().catalog(None).await.unwrap();
    assert_eq!((catalog.group_member, catalog.unusable.len()), (false, 1));
    // A catalogue that was stored before there were such columns.
    let mut stored = serde_json::to_value(&catalog).unwrap();
    stored.as_object_mut().unwrap().remove("group_columns");
    assert_eq!(serde_json::from_value::<Catalog>(stored).unwrap(), catalog);
}

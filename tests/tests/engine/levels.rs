//! What each level exports, in which files, and with which bytes.

use std::collections::BTreeSet;

use anyhow::Result;
use headgate_testkit::sqlx;
use headgate_testkit::{Download, Level};

use crate::world::{DIRECTORY, World, assert_same, options};

#[tokio::test]
async fn a_system_export_has_every_row_in_full_files_that_are_numbered_without_a_gap() -> Result<()> {
    let world = World::of(options().set("export.shard_rows", 2000).set("export.page_rows", 300)).await?;
    world.practice.insert_many("Patient", "p", 30, None, 0).await?;
    let sizes = [("Observation", 5300), ("Encounter", 1000), ("Condition", 1001), ("Medication", 7)];
    for (resource_type, rows) in sizes {
        world.practice.insert_many(resource_type, "r", rows, None, 20).await?;
    }
    let export = world.export(&Level::System, &[]).await?;
    let mut keys = BTreeSet::new();
    for (resource_type, rows) in sizes.into_iter().chain([("Patient", 30)]) {
        world.assert_rows(&export, resource_type, "true").await?;
        let stem = resource_type.to_ascii_lowercase();
        let names: Vec<String> = (1..=rows.div_ceil(1000)).map(|n| format!("{stem}_{n}.ndjson")).collect();
        assert_eq!(export.names(resource_type), names);
        let lines = lines_of_files(&export.download, resource_type);
        let (last, full) = lines.split_last().expect("there is a file");
        assert!(full.iter().all(|lines| *lines == 1000), "{resource_type}: {lines:?}");
        assert_eq!(*last, (rows as usize - 1) % 1000 + 1);
        keys.extend(names.iter().map(|name| format!("{}/{}/{name}", world.practice.s3_prefix, export.id)));
    }
    assert_eq!(export.download.by_type().len(), 5, "types without rows have no files");
    assert_eq!(world.keys()?, keys.into_iter().collect::<Vec<_>>(), "no other object was written");
    Ok(())
}

fn lines_of_files(download: &Download, resource_type: &str) -> Vec<usize> {
    let files = download.section("output").filter(|file| file.resource_type == resource_type);
    files.map(|file| file.lines.len()).collect()
}

#[tokio::test]
async fn a_patient_export_has_rows_of_patients_and_the_directory_and_no_row_without_a_patient() -> Result<()>
{
    let world = World::new().await?;
    world.practice.insert_many("Patient", "p", 5, None, 0).await?;
    world.practice.insert_many("Observation", "o", 20, None, 0).await?;
    for resource_type in DIRECTORY {
        world.practice.insert_many(resource_type, "d", 3, None, 0).await?;
    }
    world
        .source(
            "ALTER TABLE fhir_export.observation ALTER COLUMN patient_id DROP NOT NULL;
             INSERT INTO fhir_export.observation VALUES
                ('of-nobody', NULL, clock_timestamp(), '{\"resourceType\":\"Observation\",\"id\":\"of-nobody\"}')",
        )
        .await?;
    let of_patients = world.export(&Level::Patient, &[]).await?;
    world.assert_rows(&of_patients, "Observation", "patient_id IS NOT NULL").await?;
    world.assert_rows(&of_patients, "Patient", "true").await?;
    for resource_type in DIRECTORY {
        world.assert_rows(&of_patients, resource_type, "true").await?;
    }
    let all = world.export(&Level::System, &[]).await?;
    world.assert_rows(&all, "Observation", "true").await?;
    assert!(all.ids("Observation").contains(&"of-nobody".to_owned()));
    Ok(())
}

#[tokio::test]
async fn only_the_types_that_were_asked_for_are_exported_and_only_what_changed_since() -> Result<()> {
    let world = World::new().await?;
    for resource_type in ["Patient", "Observation", "Encounter", "Practitioner"] {
        world.practice.insert_many(resource_type, "r", 12, None, 0).await?;
    }
    let first = world.export(&Level::System, &[("_type", "Observation,Practitioner")]).await?;
    let types: Vec<String> = first.download.by_type().into_keys().collect();
    assert_eq!(types, ["Observation", "Practitioner"]);
    world.assert_rows(&first, "Observation", "true").await?;

    let changed = r#"{"resourceType":"Observation","id":"r-5","status":"amended"}"#;
    world.practice.update("Observation", "r-5", changed).await?;
    world.practice.insert("Encounter", "new", Some("r-1")).await?;
    let query = [("_type", "Observation"), ("_type", "Patient"), ("_since", first.time.as_str())];
    let second = world.export(&Level::System, &query).await?;
    let types: Vec<String> = second.download.by_type().into_keys().collect();
    assert_eq!(types, ["Observation"]);
    assert_eq!(second.download.lines("Observation"), [changed]);
    Ok(())
}

/// Bodies that a server which parses and prints JSON would change.
const AWKWARD: [&str; 9] = [
    r#"{"resourceType":"Observation","id":"a","valueQuantity":{"value":7.10}}"#,
    r#"{"id":"b","valueQuantity":{"value":1e400},"resourceType":"Observation"}"#,
    r#"{ "resourceType" : "Observation" , "id":"c" }  "#,
    r#"{"resourceType":"Observation","id":"d","note":[{"text":"Grüße, 你好, 🦠  "}]}"#,
    r#"{"resourceType":"Observation","id":"e","note":[{"text":"a\nb\r\u0041\u00e9\/\u2028"}]}"#,
    r#"{"resourceType":"Observation","id":"f","contained":[{"resourceType":"Patient","id":"x"}]}"#,
    r#"{"resourceType":"Observation","id":"g","valueInteger":9007199254740993,"x":-0.0}"#,
    r#"{"resourceType":"Obser\u0076ation","id":"h"}"#,
    r#"{"resourceType":"Observation","id":"i","a":1,"a":2}"#,
];

#[tokio::test]
async fn a_text_body_is_exported_byte_for_byte() -> Result<()> {
    let world = World::new().await?;
    for (body, id) in AWKWARD.into_iter().zip('a'..) {
        world.practice.insert_body("Observation", &id.to_string(), Some("p1"), body).await?;
    }
    let export = world.export(&Level::System, &[]).await?;
    let mut expected = AWKWARD.map(str::to_owned).to_vec();
    expected.sort();
    assert_same("Observation", &export.download.lines("Observation"), &expected);
    assert_eq!(export.download.outcomes()?, [serde_json::Value::Null; 0]);
    Ok(())
}

#[tokio::test]
async fn json_and_jsonb_bodies_are_exported_as_the_database_prints_them_on_one_line() -> Result<()> {
    let world = World::new().await?;
    world
        .source(
            r#"ALTER TABLE fhir_export.condition ALTER COLUMN resource TYPE json USING resource::json;
               ALTER TABLE fhir_export.encounter ALTER COLUMN resource TYPE jsonb USING resource::jsonb;"#,
        )
        .await?;
    // Pretty-printed, with an escaped line feed that must stay.
    for (relation, resource_type, cast) in [
        ("condition", "Condition", "json"),
        ("encounter", "Encounter", "jsonb"),
        ("procedure", "Procedure", "text"),
    ] {
        world
            .source(&format!(
                r#"INSERT INTO fhir_export.{relation} SELECT 'r-' || n, 'p1', clock_timestamp(), (E'{{\n  "id": "r-'
                     || n || E'",\n  "note": "a\\nb",\n  "value": 7.10,\n  "resourceType": "{resource_type}"\n}}\n')::{cast}
                   FROM generate_series(1, 30) n"#
            ))
            .await?;
    }
    let export = world.export(&Level::System, &[]).await?;
    for relation in ["condition", "encounter", "procedure"] {
        let mut expected: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            r"SELECT replace(resource::text, E'\n', '') FROM fhir_export.{relation}"
        )))
        .fetch_all(world.practice.ehr())
        .await?;
        expected.sort();
        let resource_type = relation[..1].to_uppercase() + &relation[1..];
        assert_same(relation, &export.download.lines(&resource_type), &expected);
        assert!(expected[0].contains(r#""a\nb""#) && expected[0].contains("7.10"), "{}", expected[0]);
        assert_eq!(expected.len(), 30);
    }
    Ok(())
}

/// Views over normalised tables: several resources a row, paged by a uuid, and numbers whose order is not
/// that of their texts.
const VIEWS: &str = r#"
    DROP TABLE fhir_export.observation, fhir_export.encounter;
    CREATE TABLE public.vital (key uuid PRIMARY KEY DEFAULT gen_random_uuid(), patient text NOT NULL,
                               updated timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO public.vital (patient) SELECT 'p-' || 1 + n % 9 FROM generate_series(1, 250) n;
    CREATE VIEW fhir_export.observation AS
    SELECT v.key AS page_key, v.key || s.suffix AS id, v.patient AS patient_id, v.updated AS last_updated,
           '{"resourceType":"Observation","id":"' || v.key || s.suffix || '"}' AS resource
    FROM public.vital v CROSS JOIN (VALUES ('-bp'), ('-hr'), ('-o2')) s (suffix);
    CREATE TABLE public.visit (key bigint PRIMARY KEY, patient text NOT NULL,
                               updated timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO public.visit SELECT n * 7 - 300, 'p-' || 1 + n % 9 FROM generate_series(1, 333) n;
    CREATE VIEW fhir_export.encounter AS
    SELECT v.key AS page_key, 'visit' || v.key AS id, v.patient AS patient_id, v.updated AS last_updated,
           jsonb_build_object('resourceType', 'Encounter', 'id', 'visit' || v.key) AS resource
    FROM public.visit v;
    GRANT SELECT ON fhir_export.observation, fhir_export.encounter TO PUBLIC;"#;

#[tokio::test]
async fn views_that_are_paged_by_a_uuid_or_a_number_come_out_completely_at_every_level() -> Result<()> {
    let world = World::of(options().set("export.shard_rows", 50).set("export.page_rows", 20)).await?;
    world.source(VIEWS).await?;
    world.practice.insert_many("Patient", "p", 9, None, 0).await?;
    world.app.group(&world.practice, "g", &["p-2", "p-5"]).await?;
    for (level, condition) in [
        (Level::System, "true"),
        (Level::Patient, "true"),
        (Level::Group("g".to_owned()), "patient_id IN ('p-2', 'p-5')"),
    ] {
        let export = world.export(&level, &[]).await?;
        for relation in ["observation", "encounter"] {
            let mut expected: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT resource::text FROM fhir_export.{relation} WHERE {condition}"
            )))
            .fetch_all(world.practice.ehr())
            .await?;
            expected.sort();
            let resource_type = relation[..1].to_uppercase() + &relation[1..];
            assert_same(relation, &export.download.lines(&resource_type), &expected);
            assert!(expected.len() > 60, "{} rows prove nothing", expected.len());
        }
    }
    Ok(())
}

/// Rows that cannot be exported, each kind in another number; `SECRET` stands in every body and id.
const BROKEN: &str = r#"
    ALTER TABLE fhir_export.observation ALTER COLUMN resource DROP NOT NULL;
    INSERT INTO fhir_export.observation
    SELECT 'SECRET-' || kind || '-' || n, 'SECRET', clock_timestamp(), CASE kind
        WHEN 'type' THEN '{"resourceType":"Patient","id":"SECRET-type-' || n || '"}'
        WHEN 'id' THEN '{"resourceType":"Observation","id":"SECRET-other"}'
        WHEN 'json' THEN '{"resourceType":"Observation","id":"SECRET-json-' || n || '","a":SECRET}'
        WHEN 'cut' THEN '{"resourceType":"Observation","id":"SECRET-cut-' || n || '"'
        WHEN 'two' THEN '{"resourceType":"Observation","id":"SECRET-two-' || n || '"}{}'
        WHEN 'long' THEN '{"resourceType":"Observation","id":"SECRET-long-' || n || '"' || repeat(' ', 3000) || '}'
        WHEN 'SECRET bad id' THEN '{"resourceType":"Observation","id":"SECRET-SECRET bad id-' || n || '"}'
        END
    FROM (VALUES ('type', 2), ('id', 1), ('json', 3), ('cut', 1), ('two', 1), ('long', 4), ('null', 6),
                 ('SECRET bad id', 7)) k (kind, times)
    CROSS JOIN LATERAL generate_series(1, times) n"#;

#[tokio::test]
async fn rows_that_cannot_be_exported_are_counted_in_the_error_file_and_all_others_come_out() -> Result<()> {
    let settings = options().set("limits.resource_bytes", 2048).set("export.shard_rows", 20);
    let world = World::of(settings.set("export.page_rows", 7)).await?;
    world.practice.insert_many("Patient", "p", 3, None, 0).await?;
    world.practice.insert_many("Observation", "good", 40, None, 0).await?;
    world.practice.insert_many("Observation", "Z-good", 40, None, 0).await?;
    world.source(BROKEN).await?;

    let export = world.export(&Level::System, &[]).await?;
    world.assert_rows(&export, "Observation", "id LIKE '%good-%'").await?;
    assert_eq!(export.ids("Observation").len(), 80);
    let mut told: Vec<(String, String)> = Vec::new();
    for outcome in export.download.outcomes()? {
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        let text = outcome["issue"][0]["diagnostics"].as_str().expect("it has diagnostics").to_owned();
        let (count, why) = text.split_once(" Observation resource").expect("it names count and type");
        told.push((count.to_owned(), why.to_owned()));
    }
    told.sort();
    let counts: Vec<&str> = told.iter().map(|(count, _)| count.as_str()).collect();
    assert_eq!(counts, ["1", "2", "4", "5", "6", "7"], "{told:?}");
    let error = export.download.section("error").next().expect("there is an error file");
    assert!(error.lines.iter().all(|line| !line.contains("SECRET")), "{:?}", error.lines);
    assert_eq!(export.manifest["error"][0]["type"], "OperationOutcome");
    Ok(())
}

#[tokio::test]
async fn a_file_that_would_grow_beyond_its_bytes_goes_on_in_a_further_part() -> Result<()> {
    const CAP: u64 = 600_000;
    let world = World::of(options().set("export.file_bytes", CAP)).await?;
    world.practice.insert_many("Patient", "p", 2, None, 0).await?;
    world.practice.insert_many("Observation", "o", 1100, None, 1000).await?;

    let export = world.export(&Level::System, &[]).await?;
    world.assert_rows(&export, "Observation", "true").await?;
    assert_eq!(
        export.names("Observation"),
        ["observation_1.ndjson", "observation_1-2.ndjson", "observation_2.ndjson"]
    );
    let files: Vec<_> =
        export.download.section("output").filter(|file| file.resource_type == "Observation").collect();
    assert!(files.iter().all(|file| file.bytes <= CAP));
    assert!(files[0].bytes + files[1].lines[0].len() as u64 + 1 > CAP, "the first part is not full");
    assert_eq!(files[0].lines.len() + files[1].lines.len(), 1000, "a number stands for 1000 resources");
    Ok(())
}

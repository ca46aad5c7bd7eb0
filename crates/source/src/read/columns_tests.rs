use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;

use crate::test_database::TestDatabase;
use crate::{Body, Catalog, Cursor, Member, PageEnd, PageItem, Read, Relation, Scope, Source};

/// A mapping that uses every kind of placeholder on every type of column.
const MAPPING: &str = r#"{
  "resourceType": "Observation",
  "codes": {
    "letters": { "a": "A", "b\\": { "code": "B", "n": 7.10 }, "*": null },
    "words": { "a": "it's \"A\"", "*": "other" },
    "flags": { "true": [{ "code": "yes" }], "*": { "code": "no" } },
    "sizes": { "-1": "less", "7": "seven", "*": null }
  },
  "streams": [{
    "relation": "everything",
    "resources": [
      {
        "resourceType": "Observation", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
        "t": "{{t}}", "v": "{{v}}", "c": "{{c}}", "u": "{{u}}", "b": "{{b}}", "n": "{{n}}", "d": "{{d}}", "z": "{{z}}",
        "ints": ["{{i2}}", "{{i4}}", "{{i8}}", "constant"], "y": "{{y}}", "j": "{{j}}", "jb": "{{jb}}",
        "strings": [{ "b": "{{b | string}}" }, { "n": "{{n | string}}" }, { "i": "{{i8 | string}}" }, { "z": "{{z | instant}}" }],
        "long": "<{{t}}> {{n}}/{{d}}/{{z}}/{{b}}/{{u}}/{{i2}}",
        "div": "<div xmlns=\"x\">{{t | escape}}</div>",
        "codes": ["{{t | code: letters}}", "{{b | code: flags}}", "{{i4 | code: sizes}}", { "w": "u-{{t | code: words}}" }],
        "nested": { "k": "constant", "deep": { "k": "constant", "list": [{ "x": "{{t}}" }, { "k": 1 }] } },
        "maybe": { "$when": "t = 'a' or n <> 0.00 and b = true", "k": "constant" },
        "maybe_not": { "$when": "t is null and i4 in (7, -1)", "k": "{{v}}" },
        "in_list": [{ "$when": "v <> 'it''s'", "k": 1 }, { "$when": "jb is not null", "k": "{{jb}}" }]
      },
      {
        "$when": "n is not null and z is not null",
        "resourceType": "Observation", "id": "{{id}}-2", "meta": { "lastUpdated": "{{last_updated | instant}}" },
        "valueQuantity": { "value": "{{n}}", "unit": "u" }
      }
    ]
  }]
}"#;

/// What breaks careless code, in each column; every combination of neighbours becomes a row.
const VALUES: &[(&str, &str, &[&str])] = &[
    (
        "t",
        "text",
        &[
            "NULL",
            "''",
            "'  '",
            "'a'",
            "E' b\\\\ '",
            "E'\\x01 \\x02'",
            "E'x\\x0by\\t\"\\n<&>''\\x7f'",
            "E'\\u2028 Zo\\u0308e \\U0001F600'",
        ],
    ),
    ("v", "varchar(20)", &["NULL", "'it''s'", "' x '"]),
    ("c", "char(5)", &["NULL", "'ab'", "''"]),
    ("u", "uuid", &["NULL", "'0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'"]),
    ("b", "boolean", &["NULL", "true", "false"]),
    (
        "n",
        "numeric",
        &[
            "NULL",
            "0",
            "0.00",
            "7.10",
            "-0.050",
            "123456789012345678901234567890.1234567890",
            "0.000012",
            "1e20",
            "'NaN'",
            "10000",
            "99999999.9999",
        ],
    ),
    (
        "d",
        "date",
        &[
            "NULL",
            "'2024-02-29'",
            "'0001-01-01'",
            "'9999-12-31'",
            "'infinity'",
            "'0044-03-15 BC'",
            "'1900-03-01'",
        ],
    ),
    (
        "z",
        "timestamptz",
        &[
            "NULL",
            "'2026-03-08T06:59:59.999999Z'",
            "'1969-12-31T23:59:59.5Z'",
            "'-infinity'",
            "'9999-12-31T23:59:59.999999Z'",
            "'2024-11-03 01:30:00 America/New_York'",
            "'10000-01-01Z'",
        ],
    ),
    ("i2", "smallint", &["NULL", "-32768", "7"]),
    ("i4", "integer", &["NULL", "7", "-1", "2147483647"]),
    ("i8", "bigint", &["NULL", "-9223372036854775808", "0"]),
    ("y", "bytea", &["NULL", "''", "'\\x00ff10'", "decode(repeat('ab', 100), 'hex')"]),
    ("j", "json", &["NULL", "'[]'", "E'[{\"a\": 1.10},\\n {\"b\": \"x\"}]'", "'{ }'", "'\"\"'", "'7.10'"]),
    ("jb", "jsonb", &["NULL", "'{}'", "'null'", "'{\"b\": [1.50, \"\\u00e9\"]}'", "'[[]]'"]),
];

async fn database(name: &str, rows: usize) -> TestDatabase {
    let db = TestDatabase::create(name).await;
    let columns: Vec<String> =
        VALUES.iter().map(|(name, column_type, _)| format!("{name} {column_type}")).collect();
    db.execute(&format!(
        "CREATE TABLE fhir_export.everything (page_key bigint, id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                              last_updated timestamptz, {})",
        columns.join(", ")
    ))
    .await;
    let row = |n: usize| {
        // Columns step at different paces, so that each value meets each other column's values.
        let value = |(i, (_, _, values)): (usize, &(&str, &str, &[&'static str]))| {
            values[n / (1 + i % 3) % values.len()]
        };
        let values: Vec<&str> = VALUES.iter().enumerate().map(value).collect();
        format!(
            "({n}, 'r{n:04}', 'p{}', '2026-01-01T00:00:00.1239Z'::timestamptz + '{n} ms'::interval, {})",
            n % 3,
            values.join(", ")
        )
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    db.execute(&format!("INSERT INTO fhir_export.everything VALUES {}", rows.join(",\n"))).await;
    db
}

fn set() -> MappingSet {
    MappingSet::parse([("Observation.json", MAPPING)], UsCore::V6_1_0).unwrap()
}

fn relation(catalog: &Catalog) -> Relation {
    assert!(catalog.unusable.is_empty(), "{:?}", catalog.unusable);
    catalog.relations_of(ResourceType::Observation).next().unwrap().clone()
}

/// What the templates make of the rows, in pages of `limit`.
async fn assembled(source: &Source, relation: &Relation, scope: Scope, limit: u32) -> Vec<String> {
    let marker = source.marker().await.unwrap();
    let programs = relation.programs().unwrap();
    let read =
        Read { relation: relation.clone(), marker, since: None, until: None, narrow: Vec::new(), scope };
    let mut lines = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let mut tx = source.begin(&read.marker).await.unwrap();
        let mut page = tx.page(&read, cursor.as_ref(), limit).unwrap();
        let end = loop {
            match page.next().await.unwrap() {
                PageItem::Row(row) => {
                    let Body::Columns(columns) = row.body else { panic!("{:?}", row.body) };
                    for program in &programs {
                        let mut line = Vec::new();
                        if program.write(|column| columns.cell(column), &mut line) {
                            lines.push(String::from_utf8(line).unwrap());
                        }
                    }
                }
                PageItem::End(end) => break end,
            }
        };
        drop(page);
        tx.finish().await.unwrap();
        match end {
            PageEnd::More(next) => cursor = Some(next),
            PageEnd::End => return lines,
        }
    }
}

fn everybody() -> Scope {
    Scope::All { lower: None, upper: None, only_patient_rows: false }
}

#[tokio::test]
async fn program_and_sql_give_the_same_resource_for_every_row() {
    let db = database("columns_oracle", 500).await;
    let source = db.source();
    let relation = relation(&source.catalog(Some(&set())).await.unwrap());
    let crate::Content::Mapped { mapping, columns } = &relation.content else { panic!("not mapped") };
    let lines = assembled(&source, &relation, everybody(), 70).await;
    assert!(lines.iter().all(|line| !line.contains(['\n', '\r'])));
    let mut expected = Vec::new();
    for template in mapping.templates().unwrap() {
        let sql = format!(
            "SELECT s.resource::text FROM (SELECT {} AS resource FROM fhir_export.everything r) s WHERE s.resource IS NOT NULL",
            template.sql(columns)
        );
        expected.extend(db.texts(&sql).await);
    }
    let given = lines.iter().map(|line| format!("($json${line}$json$)")).collect::<Vec<_>>().join(",");
    let mut given = db.texts(&format!("SELECT v::jsonb::text FROM (VALUES {given}) AS t(v)")).await;
    given.sort();
    expected.sort();
    assert!(expected.len() > 600, "too few resources: {}", expected.len());
    for (given, expected) in given.iter().zip(&expected) {
        assert_eq!(given, expected);
    }
    assert_eq!(given.len(), expected.len());
}

#[tokio::test]
async fn a_cohort_of_mapped_rows_is_read_patient_by_patient() {
    let db = database("columns_cohort", 90).await;
    db.execute("CREATE INDEX ON fhir_export.everything (patient_id, page_key, id)").await;
    let source = db.source();
    let relation = relation(&source.catalog(Some(&set())).await.unwrap());
    let member = |id: &str| Member { patient_id: id.to_owned(), full_history: false };
    let members = vec![member("p0"), member("p2")];
    let lines = assembled(&source, &relation, Scope::Cohort { members }, 7).await;
    let ids: Vec<&str> =
        lines.iter().filter_map(|line| line.split("\"id\":\"").nth(1)?.split('"').next()).collect();
    let base: Vec<&str> = ids.iter().copied().filter(|id| !id.ends_with("-2")).collect();
    let expected: Vec<String> = [0, 2]
        .iter()
        .flat_map(|p| (0..90).filter(move |n| n % 3 == *p).map(|n| format!("r{n:04}")))
        .collect();
    assert_eq!(base, expected);
}

#[tokio::test]
async fn a_row_whose_columns_are_too_long_stays_in_the_database() {
    let db = database("columns_long", 3).await;
    db.execute("UPDATE fhir_export.everything SET t = repeat('x', 600), y = decode(repeat('00', 600), 'hex') WHERE id = 'r0001'").await;
    let source = Source::connect(crate::SourceConfig { resource_bytes: 1000, ..db.config() }).unwrap();
    let relation = relation(&source.catalog(Some(&set())).await.unwrap());
    let marker = source.marker().await.unwrap();
    let read = Read { relation, marker, since: None, until: None, narrow: Vec::new(), scope: everybody() };
    let mut tx = source.begin(&read.marker).await.unwrap();
    let mut page = tx.page(&read, None, 10).unwrap();
    let mut lengths = Vec::new();
    while let PageItem::Row(row) = page.next().await.unwrap() {
        lengths.push(match row.body {
            Body::TooLong(bytes) => bytes >= 1200,
            Body::Columns(_) => false,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(lengths, [false, true, false]);
}

#[tokio::test]
async fn what_does_not_fit_the_relation_is_told_with_file_path_and_column() {
    let db = database("columns_unfit", 1).await;
    db.execute(
        "ALTER TABLE fhir_export.everything DROP COLUMN v, ALTER COLUMN n TYPE double precision,
             ALTER COLUMN z TYPE timestamp, ALTER COLUMN u TYPE inet USING NULL",
    )
    .await;
    let catalog = db.source().catalog(Some(&set())).await.unwrap();
    assert!(catalog.relations.is_empty());
    let problem = &catalog.unusable[0].problem;
    for expected in [
        "Observation.json: streams[0].resources[0].v: there is no column v",
        "n has the type double precision, which has no exact decimal text; cast it in the view: column::numeric",
        "z has the type timestamp without time zone, which has no zone",
        "u has the type inet, which templates cannot use",
    ] {
        assert!(problem.contains(expected), "{problem}");
    }
    db.execute("DROP TABLE fhir_export.everything").await;
    let catalog = db.source().catalog(Some(&set())).await.unwrap();
    assert_eq!(catalog.unusable[0].problem, "there is no such relation, which Observation.json reads");
}

use std::collections::BTreeSet;

use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;
use headgate_domain::search::TypeFilters;

use crate::test_database::{TestDatabase, relation, relation_and_marker};
use crate::{Body, PageEnd, PageItem, Read, Scope, Source};

use super::*;

/// Bodies of Observations; `#` stands for the id. Each is said to be of these types of column.
const BODIES: &[(&str, &str)] = &[
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2024-03-05T10:00:00Z"}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"amended","code":{"coding":[{"code":"x"},{"system":"http://loinc.org","code":"8310-5"}]},"subject":{"reference":"https://h/fhir/Patient/p1/_history/2"},"effectivePeriod":{"start":"2024-03-01","end":"2024-03-09"}}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","code":{"coding":[{"system":"http://snomed.info/sct","code":"8867-4"}],"text":"8310-5"},"subject":{"reference":"p1","type":"Patient"},"effectiveDateTime":"2024"}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","category":[{"coding":[{"code":"vital-signs"}]},{"text":"x"}],"code":{"text":"no code"},"subject":{"reference":"Patient/p10"},"effectiveDateTime":"2024-03"}"##,
    ),
    // Escapes.
    (
        "tj",
        r##"{"resourceType":"Observation","id":"#","\u0073tatus":"f\u0069nal","code":{"coding":[{"system":"http:\/\/loinc.org","code":"8867\u002d4"}]},"subject":{"reference":"Patient\/p\u0031"},"effectiveDateTime":"2024-03-05"}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","code":{"coding":[{"system":"http:\/\/loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient\/p1"}}"##,
    ),
    // Shapes beyond FHIR.
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":["final"],"code":[[{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}]],"subject":[[[{"reference":"Patient/p1"}]]],"effectiveDateTime":[["2024-03-05"]]}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","code":{"system":"http://loinc.org","code":"8867-4"},"subject":{"reference":["Patient/p1"]},"effectivePeriod":[{"start":"2024-03-05T23:59:60-14:00"},{"end":"2020"}]}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":true,"code":"8867-4","subject":"Patient/p1","effectiveDateTime":5,"effectivePeriod":{"start":null,"end":"2024-03-05"}}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"true","code":{"value":"8867-4","system":""},"effectivePeriod":{},"effectiveTiming":{"event":["2024-03-05"]}}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","effectiveTiming":{"repeat":{"boundsPeriod":{"start":"2024-03-01"}}},"effectivePeriod":{"start":"2024-03-09","end":"2024-03-01"}}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","status":"final","code":{"coding":{"code":"8867-4"}},"effectiveDateTime":"2024-03-06T05:00:00+14:00","identifier":[{"system":"http://n","value":"a b\"c"},{"value":"42"}]}"##,
    ),
    (
        "tjb",
        r##"{"resourceType":"Observation","id":"#","meta":{"lastUpdated":"2024-03-05T10:00:00.123Z"},"code":{"coding":[{"code":"späť","system":"http://loinc.org"}]},"effectiveDateTime":"2024-03-04T20:00:00-08:00"}"##,
    ),
    (
        "tj",
        r##"{"resourceType":"Observation","id":"#","status":"amended","status":"final","code":{"text":"a\u0000b"}}"##,
    ),
    // No resources.
    ("t", r##"{"resourceType":"Observation","id":"#","status":"final","code":{"coding":[{"code":"8867-4""##),
    ("t", r##"status final 8867-4 Patient/p1"##),
    ("tjb", r##"["final"]"##),
    ("tjb", r##""final""##),
    ("tjb", "null"),
];

/// Queries, those of an export with blanks between them.
const QUERIES: &[&str] = &[
    "code=8867-4",
    "code=http://loinc.org|8867-4",
    "code=|8867-4",
    "code=http://loinc.org|",
    "code=8310-5,x,nothing",
    "code=späť",
    "code=http://loinc.org|späť",
    "status=final",
    "status=true,amended",
    "status=final&code=8867-4&subject=Patient/p1",
    "category=vital-signs",
    "subject=p1",
    "patient=Patient/p1",
    "patient=p10,p2",
    "subject=Group/p1",
    "identifier=http://n|",
    "identifier=a b\"c",
    "identifier=42",
    "identifier=http://n|42",
    "_id=b1,b2",
    "_id=b5&status=final",
    "_lastUpdated=ge2024-03-05T10:00:00.123Z",
    "_lastUpdated=lt2024-03-05",
    "date=2024-03-05",
    "date=2024",
    "date=ne2024-03-05",
    "date=lt2024-03-05",
    "date=gt2024-03-05",
    "date=le2024-03-05",
    "date=ge2024-03-05",
    "date=sa2024-03-05",
    "date=eb2024-03-05",
    "date=ge2024-03-05T09:59:59Z&date=le2024-03-05T10:00:00Z",
    "date=ge2030",
    "date=lt0001-01-01",
    "date=ge9999-12-31",
    "code=8867-4 status=amended",
    "code=nothing date=2024-03-05",
    "code=nothing",
];

fn filters(queries: &str) -> Vec<TypeFilter> {
    // A blank within a query is written as %20.
    queries
        .split(" status")
        .enumerate()
        .flat_map(|(i, part)| {
            let part = if i == 0 { part.to_owned() } else { format!("status{part}") };
            let parts: Vec<String> = part.split(" date").map(str::to_owned).collect();
            parts.into_iter().enumerate().map(|(i, part)| if i == 0 { part } else { format!("date{part}") })
        })
        .map(|query| format!("Observation?{query}").parse().unwrap())
        .collect()
}

/// Ids and resources of the rows.
async fn rows(source: &Source, read: &Read) -> Vec<(String, Vec<Vec<u8>>)> {
    let programs = read.relation.programs().unwrap();
    let mut rows = Vec::new();
    let mut cursor = None;
    loop {
        let mut tx = source.begin(&read.marker).await.unwrap();
        let mut page = tx.page(read, cursor.as_ref(), 50).unwrap();
        let end = loop {
            match page.next().await.unwrap() {
                PageItem::End(end) => break end,
                PageItem::Row(row) => {
                    let resources = match row.body {
                        Body::Json(json) => vec![json.to_vec()],
                        Body::Columns(columns) => {
                            let mut resources = Vec::new();
                            for program in &programs {
                                let mut line = Vec::new();
                                if program.write(|column| columns.cell(column), &mut line) {
                                    resources.push(line);
                                }
                            }
                            resources
                        }
                        Body::TooLong(_) | Body::Null => Vec::new(),
                    };
                    rows.push((row.id.to_owned(), resources));
                }
            }
        };
        drop(page);
        tx.finish().await.unwrap();
        match end {
            PageEnd::More(next) => cursor = Some(next),
            PageEnd::End => return rows,
        }
    }
}

/// Reads with each of the queries: every row of which a resource matches must come. Returns how many rows came,
/// and how many were to come.
async fn compare(source: &Source, relation: &Relation, queries: &[&str]) -> Vec<(usize, usize)> {
    let marker = source.marker().await.unwrap();
    let scope = Scope::All { lower: None, upper: None, only_patient_rows: false };
    let mut read =
        Read { relation: relation.clone(), marker, since: None, until: None, narrow: Vec::new(), scope };
    let all = rows(source, &read).await;
    let mut counts = Vec::new();
    for query in queries {
        read.narrow = filters(query);
        let mut queries = TypeFilters::default();
        for filter in &read.narrow {
            queries.push(filter.clone());
        }
        let matcher = queries.matcher(relation.resource_type).unwrap();
        let came: BTreeSet<String> = rows(source, &read).await.into_iter().map(|(id, _)| id).collect();
        let mut wanted = 0;
        for (id, resources) in &all {
            if resources.iter().any(|line| matcher.matches(line)) {
                wanted += 1;
                let lines: Vec<_> = resources.iter().map(|line| String::from_utf8_lossy(line)).collect();
                assert!(came.contains(id), "{query} must not leave out {lines:?}");
            }
        }
        counts.push((came.len(), wanted));
    }
    counts
}

async fn finished_resources(name: &str, column: &str, key: char) -> Vec<(usize, usize)> {
    let db = TestDatabase::create(name).await;
    db.execute(&format!(
        "CREATE TABLE fhir_export.observation (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                               last_updated timestamptz, resource {column});
         INSERT INTO fhir_export.observation VALUES ('none', 'p', now(), NULL)"
    ))
    .await;
    for (i, (_, body)) in BODIES.iter().enumerate().filter(|(_, (types, _))| types.contains(key)) {
        let body = body.replace('#', &format!("b{i}")).replace('\'', "''");
        db.execute(&format!("INSERT INTO fhir_export.observation VALUES ('b{i}', 'p', now(), '{body}')"))
            .await;
    }
    let source = db.source();
    let (relation, _) = relation_and_marker(&source, ResourceType::Observation).await;
    compare(&source, &relation, QUERIES).await
}

/// How many rows come for a query.
fn came(counts: &[(usize, usize)], query: &str) -> usize {
    counts[QUERIES.iter().position(|known| *known == query).unwrap()].0
}

#[tokio::test]
async fn bodies_in_text_come_if_what_is_asked_for_appears_in_them() {
    let counts = finished_resources("narrow_text", "text", 't').await;
    assert_eq!(came(&counts, "code=nothing"), 2, "those with escapes");
    assert_eq!(came(&counts, "_id=b1,b2"), 2);
    assert!(came(&counts, "code=http://loinc.org|8867-4") < BODIES.len() / 2, "{counts:?}");
    assert_eq!(came(&counts, "date=ge2030"), BODIES.len() + 1, "times narrow nothing");
}

#[tokio::test]
async fn bodies_in_json_are_never_cast_and_come_as_those_in_text_do() {
    let counts = finished_resources("narrow_json", "json", 'j').await;
    assert_eq!(came(&counts, "code=nothing"), 2, "those with escapes");
    assert!(came(&counts, "code=http://loinc.org|8867-4") < BODIES.len() / 2, "{counts:?}");
}

#[tokio::test]
async fn bodies_in_jsonb_come_if_the_value_is_where_it_should_be() {
    let counts = finished_resources("narrow_jsonb", "jsonb", 'b').await;
    let mut found = Vec::new();
    for (query, rows) in [
        ("code=nothing", 0),
        ("date=ge2030", 3),
        ("date=lt0001-01-01", 3),
        ("subject=Group/p1", 6),
        ("identifier=42", 1),
        ("code=http://loinc.org|8867-4", 4),
        ("category=vital-signs", 1),
        ("_lastUpdated=lt2024-03-05", 1),
    ] {
        found.push((query, came(&counts, query), rows));
    }
    let wrong: Vec<_> = found.into_iter().filter(|(_, found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn an_index_on_jsonb_serves_what_is_asked_for() {
    let db = TestDatabase::create("narrow_index").await;
    db.execute(
        "CREATE TABLE fhir_export.observation (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                               last_updated timestamptz, resource jsonb);
         INSERT INTO fhir_export.observation SELECT 'o' || n, 'p', now(),
             jsonb_build_object('code', jsonb_build_object('coding', jsonb_build_array(
                 jsonb_build_object('code', 'c' || n % 5000)))) FROM generate_series(1, 20000) n;
         CREATE INDEX ON fhir_export.observation USING gin (resource); ANALYZE",
    )
    .await;
    let source = db.source();
    let (relation, _) = relation_and_marker(&source, ResourceType::Observation).await;
    let mut statement = Statement::new("EXPLAIN SELECT FROM fhir_export.observation r WHERE true");
    push(&mut statement, &relation, &filters("code=c7")).unwrap();
    let mut tx = source.begin_unmarked(&[]).await.unwrap();
    let plan = tx.fetch_all(statement, None).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert!(plan.join("\n").contains("Bitmap Index Scan"), "{plan:?}");
}

const MAPPING: &str = r#"{
  "resourceType": "Observation",
  "codes": {
    "status": {"true": "entered-in-error", "*": "final"},
    "kinds": {"lab": {"system": "http://c", "code": "laboratory"}, "soc": {"system": "http://c", "code": "social"}, "*": null},
    "sizes": {"1": "small", "2": "large", "*": "huge"}
  },
  "streams": [{"relation": "findings", "resources": [
    {
      "resourceType": "Observation", "id": "{{id}}", "meta": {"lastUpdated": "{{last_updated | instant}}"},
      "status": "{{wrong | code: status}}",
      "category": [{"coding": ["{{kind | code: kinds}}"]}, {"coding": [{"system": "http://d", "code": "{{kind}}"}]}],
      "code": {"coding": [{"system": "http://loinc.org", "code": "{{code}}"}, {"code": "{{size | code: sizes}}"}]},
      "subject": {"reference": "Patient/{{patient_id}}"},
      "encounter": {"reference": "Encounter/{{encounter}}"},
      "effectiveDateTime": "{{day}}",
      "effectivePeriod": {"start": "{{began}}", "end": "{{ended}}"},
      "identifier": [{"system": "http://n/{{size}}", "value": "{{code}}"}]
    },
    {
      "$when": "rate is not null and kind <> 'soc'",
      "resourceType": "Observation", "id": "{{id}}-hr", "meta": {"lastUpdated": "{{last_updated | instant}}"},
      "status": "final",
      "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
      "subject": {"reference": "{{ref}}"},
      "effectiveDateTime": "{{began}}", "valueQuantity": {"value": "{{rate}}"}
    },
    {
      "$when": "doc is not null",
      "resourceType": "Observation", "id": "{{id}}-doc", "meta": {"lastUpdated": "{{last_updated | instant}}"},
      "code": "{{doc}}"
    }
  ]}]
}"#;

const MAPPED_QUERIES: &[&str] = &[
    "code=8867-4",
    "code=http://loinc.org|8867-4",
    "code=http://other|8867-4",
    "code=718-7",
    "code=small",
    "code=huge",
    "code=tiny",
    "status=final",
    "status=entered-in-error",
    "status=final&code=718-7",
    "category=laboratory",
    "category=http://c|social",
    "category=http://d|lab",
    "category=http://c|lab",
    "subject=p1",
    "subject=Patient/p2,p3",
    "subject=Group/p1",
    "encounter=0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    "encounter=nothing",
    "identifier=http://n/1|718-7",
    "identifier=718-7",
    "_id=r1,r2-hr,r3-doc,none",
    "_id=r3&code=718-7",
    "_lastUpdated=ge2024-03-05",
    "date=2024-03-05",
    "date=2024",
    "date=ne2024-03-05",
    "date=lt2024-03-05",
    "date=gt2024-03-05",
    "date=le2024-03-05T10:00:00Z",
    "date=ge2024-03-05T10:00:00Z",
    "date=sa2024-03-05",
    "date=eb2024-03-05",
    "date=ge2030",
    "code=8867-4 status=entered-in-error",
    "code=laboratory date=2024-03-05",
];

#[tokio::test]
async fn rows_of_columns_come_if_a_template_can_give_what_is_asked_for() {
    let db = TestDatabase::create("narrow_columns").await;
    db.execute(
        "CREATE COLLATION fhir_export.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE fhir_export.findings (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
             last_updated timestamptz, wrong boolean, kind text COLLATE fhir_export.loose, code varchar(20),
             size int, encounter uuid, day date, began timestamptz, ended timestamptz, rate numeric, ref text,
             doc json);
         SELECT setseed(0.5);
         CREATE FUNCTION one(VARIADIC anyarray) RETURNS anyelement LANGUAGE sql VOLATILE AS
             $$ SELECT $1[1 + floor(random() * array_length($1, 1))::int] $$;
         INSERT INTO fhir_export.findings SELECT 'r' || n,
             one(VARIADIC ARRAY['p1', 'p1', ' p2 ', 'p3/_history/1', 'p10', NULL, 'P1']),
             one(VARIADIC ARRAY['2024-03-05T10:00:00Z', '2020-01-01Z', NULL, 'infinity']::timestamptz[]),
             one(VARIADIC ARRAY[true, false, NULL]),
             one(VARIADIC ARRAY['lab', ' lab', E'l\\x01ab', 'LAB', 'soc', 'SOC', 'other', '', NULL]),
             one(VARIADIC ARRAY['718-7', ' 718-7', '8867-4', 'x', NULL, E'718-7\\x02']),
             one(VARIADIC ARRAY[1, 2, 3, NULL]),
             one(VARIADIC ARRAY['0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b', NULL]::uuid[]),
             one(VARIADIC ARRAY['2024-03-04', '2024-03-05', '2024-03-06', 'infinity', '-infinity', NULL]::date[]),
             one(VARIADIC ARRAY['2024-03-05T09:59:59.999999Z', '2024-03-05T23:59:59.999999Z', '2024-03-06Z',
                                '-infinity', 'infinity', '2024-03-04T23:59:59.5Z', NULL]::timestamptz[]),
             one(VARIADIC ARRAY['2024-03-05T10:00:00Z', '2024-03-05Z', 'infinity', '-infinity', NULL, '2023-01-01Z']::timestamptz[]),
             one(VARIADIC ARRAY[60, NULL, 'NaN']::numeric[]),
             one(VARIADIC ARRAY['Patient/p1', 'https://h/Patient/p2/_history/1', 'p3', 'Group/p1', NULL]),
             one(VARIADIC ARRAY['{\"coding\": [{\"code\": \"8867-4\"}]}', '\"a\\u0000b\"', '[ ]', '{}', 'null', NULL])::json
         FROM generate_series(1, 1500) n",
    )
    .await;
    let mappings = MappingSet::parse([("Observation.json", MAPPING)], UsCore::default()).unwrap();
    let source = db.source();
    let catalog = source.catalog(Some(&mappings)).await.unwrap();
    assert!(catalog.unusable.is_empty(), "{:?}", catalog.unusable);
    let relation = relation(&catalog, ResourceType::Observation);
    let counts = compare(&source, &relation, MAPPED_QUERIES).await;
    let came = |query: &str| counts[MAPPED_QUERIES.iter().position(|known| *known == query).unwrap()];
    for query in [
        "status=entered-in-error",
        "category=http://c|social",
        "category=http://d|lab",
        "code=http://other|8867-4",
    ] {
        let (came, wanted) = came(query);
        // All that is more are documents, of which nothing is known.
        assert!(came < 1000, "{query}: {came} came, {wanted} were wanted");
    }
    for (query, most) in [
        ("status=final&code=718-7", 700),
        ("_id=r1,r2-hr,r3-doc,none", 3),
        ("_id=r3&code=718-7", 1),
        ("encounter=nothing", 0),
        ("category=http://c|lab", 0),
        ("date=ge2030", 1400),
    ] {
        let (came, wanted) = came(query);
        assert!(came <= most && wanted <= came, "{query}: {came} came, {wanted} were wanted");
    }
}

#[tokio::test]
async fn the_longest_queries_are_asked_and_more_of_them_than_a_statement_holds_narrow_nothing() {
    let db = TestDatabase::create("narrow_long").await;
    for (relation, column) in [("observation", "jsonb"), ("condition", "text")] {
        db.execute(&format!(
            "CREATE TABLE fhir_export.{relation} (id text, patient_id text, last_updated timestamptz, resource {column});
             INSERT INTO fhir_export.{relation} VALUES ('a', 'p', now(),
                 '{{\"resourceType\": \"X\", \"id\": \"a\", \"subject\": {{\"reference\": \"Patient/p\"}}}}')"
        ))
        .await;
    }
    let source = db.source();
    let ids: Vec<String> = (0..180).map(|n| format!("{n:060}.-A")).collect();
    let codes: Vec<String> = (0..200).map(|n| format!("http://s|{n}")).collect();
    for (resource_type, many, expected) in
        [(ResourceType::Observation, 1, 0), (ResourceType::Condition, 1, 0), (ResourceType::Condition, 60, 1)]
    {
        let (relation, marker) = relation_and_marker(&source, resource_type).await;
        let mut narrow: Vec<TypeFilter> =
            vec![format!("{resource_type}?patient={}", ids.join(",")).parse().unwrap()];
        narrow
            .extend((0..many).map(|_| format!("{resource_type}?code={}", codes.join(",")).parse().unwrap()));
        let scope = Scope::All { lower: None, upper: None, only_patient_rows: false };
        let read = Read { relation, marker, since: None, until: None, narrow, scope };
        assert_eq!(rows(&source, &read).await.len(), expected, "{resource_type}, {many}");
    }
}

#[tokio::test]
async fn without_queries_a_statement_is_as_it_was() {
    let db = TestDatabase::create("narrow_none").await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (relation, _) = relation_and_marker(&source, ResourceType::Goal).await;
    for narrow in [vec![], filters("code=8867-4")] {
        let mut statement = Statement::new("SELECT");
        push(&mut statement, &relation, &narrow).unwrap();
        assert_eq!(statement.into_parts().0.as_str(), "SELECT");
    }
}

use super::super::codes::CodeTables;
use super::*;
use crate::ResourceType;
use crate::mapping::Json;
use crate::practice::UsCore;
use crate::template::Problem;

const COLUMNS: &[(&str, ColumnType)] = &[
    ("id", ColumnType::Text),
    ("last_updated", ColumnType::Timestamptz),
    ("patient_id", ColumnType::Text),
    ("encounter", ColumnType::Uuid),
    ("kind", ColumnType::Text),
    ("flag", ColumnType::Boolean),
    ("size", ColumnType::Integer),
    ("day", ColumnType::Date),
    ("at", ColumnType::Timestamptz),
    ("until", ColumnType::Timestamptz),
    ("doc", ColumnType::Json),
    ("n", ColumnType::Numeric),
];

const CODES: &str = r#"{
    "status": {"true": "entered-in-error", "*": "final"},
    "kinds": {"a": {"system": "s", "code": "A"}, "b": {"system": "s", "code": "B"},
              "b2": {"system": "s", "code": "B"}, "gone": null, "*": null},
    "other": {"a": "x", "b": "y", "*": "y"},
    "sizes": {"1": "small", "none": "big", "*": null}
}"#;

fn columns() -> Vec<Column> {
    COLUMNS.iter().map(|(name, t)| Column { name: (*name).to_owned(), column_type: *t }).collect()
}

fn template(members: &str) -> Template {
    let head =
        r#""resourceType":"Observation","id":"{{id}}-x","meta":{"lastUpdated":"{{last_updated | instant}}"}"#;
    let json: Json = serde_json::from_str(&format!("{{{head},{members}}}")).unwrap();
    let codes = CodeTables::parse(Some(&serde_json::from_str(CODES).unwrap()), "codes").unwrap();
    let parsed: Result<_, Vec<Problem>> =
        Template::parse(&json, ResourceType::Observation, &codes, &UsCore::V6_1_0.into(), "t");
    parsed.unwrap()
}

/// What it comes to, as text.
fn narrowed(members: &str, query: &str) -> String {
    let filter: TypeFilter = format!("Observation?{query}").parse().unwrap();
    shown(&template(members).narrow(&filter, &columns()))
}

fn shown(narrow: &Narrow) -> String {
    let list = |parts: &[Narrow], word: &str| {
        let parts: Vec<String> = parts.iter().map(shown).collect();
        format!("({})", parts.join(word))
    };
    match narrow {
        Narrow::Always => "always".to_owned(),
        Narrow::Never => "never".to_owned(),
        Narrow::All(parts) => list(parts, " and "),
        Narrow::Any(parts) => list(parts, " or "),
        Narrow::Column { name, test, .. } => match test {
            ColumnTest::In(values) => format!("{name} in {}", values.join(",")),
            ColumnTest::NotIn(values) => format!("{name} not in {}", values.join(",")),
            ColumnTest::Contains(text) => format!("{name} has {text}"),
            ColumnTest::Time { side, or_null } => {
                let (sign, time) = match side {
                    Side::From(time) => (">=", time),
                    Side::UpTo(time) => ("<=", time),
                };
                let null = if *or_null { " or null" } else { "" };
                format!("{name} {sign} {}{null}", time.format("%Y-%m-%dT%H:%M:%S"))
            }
        },
    }
}

#[test]
fn constants_decide_at_once() {
    let code = r#""status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}"#;
    for (query, expected) in [
        ("code=8867-4", "always"),
        ("code=http://loinc.org|8867-4", "always"),
        ("code=http://loinc.org|", "always"),
        ("code=8480-6", "never"),
        ("code=http://snomed.info/sct|8867-4", "never"),
        ("code=|8867-4", "never"),
        ("code=8480-6,8867-4", "always"),
        ("status=final&code=8480-6", "never"),
        ("status=amended", "never"),
        ("category=vital-signs", "never"),
        ("date=2024", "never"),
        ("subject=p", "never"),
    ] {
        assert_eq!(narrowed(code, query), expected, "{query}");
    }
}

#[test]
fn columns_are_tested_where_their_values_stand() {
    let members = r#""status":"{{kind}}",
        "category":[{"coding":[{"system":"c","code":"vital-signs"}]}, {"coding":[{"system":"d","code":"{{kind}}"}]}],
        "code":{"coding":[{"system":"s","code":"x-{{kind}}-y"},{"system":"t","code":"{{size | string}}"}]},
        "identifier":[{"system":"http://p/{{encounter}}/n","value":"{{n}}"}]"#;
    for (query, expected) in [
        ("status=a,b&status=a", "(kind in a,b and kind in a)"),
        ("category=vital-signs", "always"),
        ("category=other", "kind in other"),
        ("category=d|other,c|nothing", "kind in other"),
        ("category=c|other", "never"),
        ("code=x-1-y", "kind in 1"),
        ("code=7", "size in 7"),
        ("code=07", "never"),
        ("code=s|7", "never"),
        ("code=x-1-y,7,nine", "(kind in 1 or size in 7)"),
        ("identifier=http://p/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/n|5", "never"),
        ("_id=a-x,b,c-x", "id in a,c"),
        ("_id=a", "never"),
        (
            "_lastUpdated=ge2024-01-01",
            "(last_updated >= 2024-01-01T23:59:59 or last_updated >= 2023-12-31T23:59:59 and last_updated <= 2024-01-02T00:00:01)",
        ),
    ] {
        let found = narrowed(members, query);
        let found = found.replace("((", "(").replace("))", ")").replace("or (", "or ");
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn code_tables_are_turned_around() {
    let members = r#""status":"{{flag | code: status}}","code":{"coding":["{{kind | code: kinds}}"]},
        "category":[{"coding":[{"code":"{{kind | code: other}}"},{"code":"<{{size | code: sizes}}>"}]}]"#;
    for (query, expected) in [
        ("status=final", "flag not in true"),
        ("status=entered-in-error", "flag in true"),
        ("status=amended", "never"),
        ("code=B", "kind in b,b2"),
        ("code=s|A", "kind in a"),
        ("code=t|A", "never"),
        ("code=C", "never"),
        ("category=x", "kind in a"),
        ("category=y", "kind not in a"),
        ("category=<small>", "size in 1"),
        ("category=<big>", "never"),
        ("category=<tiny>", "never"),
    ] {
        assert_eq!(narrowed(members, query), expected, "{query}");
    }
}

#[test]
fn references_are_tested_by_the_id_behind_their_type() {
    let members = r#""subject":{"reference":"Patient/{{patient_id}}"},"encounter":{"reference":"Encounter/{{encounter}}"}"#;
    let uuid = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
    for (query, expected) in [
        ("patient=p1".to_owned(), "(patient_id in p1 or patient_id has /)".to_owned()),
        ("patient=Patient/p1,p2".to_owned(), "(patient_id in p1,p2 or patient_id has /)".to_owned()),
        ("subject=Group/p1".to_owned(), "patient_id has /".to_owned()),
        (format!("encounter={uuid}"), format!("encounter in {uuid}")),
        (format!("encounter={}", uuid.to_uppercase()), "never".to_owned()),
        (format!("encounter=Other/{uuid}"), "never".to_owned()),
        ("encounter=e1".to_owned(), "never".to_owned()),
    ] {
        assert_eq!(narrowed(members, &query), expected, "{query}");
    }
    assert_eq!(narrowed(r#""subject":{"reference":"{{kind}}"}"#, "patient=p1"), "kind has p1");
    assert_eq!(narrowed(r#""subject":{"reference":"http://h/{{kind}}"}"#, "patient=p1"), "always");
    assert_eq!(
        narrowed(r#""subject":{"reference":"Patient/{{kind}}-s"}"#, "patient=p1-s"),
        "(kind in p1 or kind has /)"
    );
    assert_eq!(narrowed(r#""subject":{"reference":"Patient/c"}, "x":"{{kind}}""#, "patient=p1"), "never");
}

#[test]
fn times_are_tested_with_room_for_their_precision() {
    let moment = r#""effectiveDateTime":"{{at}}""#;
    let day = r#""effectiveDateTime":"{{day}}""#;
    let period = r#""effectivePeriod":{"start":"{{at}}","end":"{{until}}"}"#;
    for (members, query, expected) in [
        (moment, "date=lt2024-03-05", "at <= 2024-03-05T00:00:01"),
        (moment, "date=gt2024-03-05", "at >= 2024-03-05T23:59:59"),
        (moment, "date=2024-03", "(at >= 2024-02-29T23:59:59 and at <= 2024-04-01T00:00:01)"),
        (moment, "date=ne2024", "always"),
        (day, "date=sa2024-03-05", "day >= 2024-03-05T00:00:00"),
        (day, "date=eb2024-03-05", "day <= 2024-03-06T00:00:00"),
        (period, "date=gt2024-03-05", "until >= 2024-03-05T23:59:59 or null"),
        (period, "date=lt2024-03-05", "at <= 2024-03-05T00:00:01 or null"),
        (period, "date=sa2024-03-05", "at >= 2024-03-05T23:59:59"),
        (period, "date=2024-03-05", "(at >= 2024-03-04T23:59:59 and until <= 2024-03-06T00:00:01)"),
        (r#""effectivePeriod":{"start":"{{at}}"}"#, "date=gt2024-03-05", "always"),
        (r#""effectivePeriod":{"start":"{{at}}"}"#, "date=eb2024-03-05", "never"),
        (r#""effectiveTiming":{"event":["{{at}}"]}"#, "date=gt2024-03-05", "always"),
        (r#""effectiveDateTime":"{{kind}}""#, "date=gt2024-03-05", "always"),
        (r#""effectiveDateTime":"2024-01-01","x":"{{kind}}""#, "date=gt2024-03-05", "never"),
    ] {
        assert_eq!(narrowed(members, query), expected, "{members} {query}");
    }
}

#[test]
fn what_cannot_be_said_of_columns_narrows_nothing() {
    for members in [
        r#""code":"{{doc}}","status":"{{doc}}""#,
        r#""code":{"coding":["{{doc}}"]},"status":"{{kind}}{{flag}}""#,
        r#""code":{"coding":"{{doc}}"},"status":"{{kind | escape}}""#,
    ] {
        assert_eq!(narrowed(members, "code=a&status=b"), "always", "{members}");
    }
    assert_eq!(narrowed(r#""status":"x{{kind}}{{flag}}""#, "status=b"), "never");
    let other: TypeFilter = "Condition?code=a".parse().unwrap();
    assert_eq!(template(r#""status":"a""#).narrow(&other, &columns()), Narrow::Always);
    let shown = format!(
        "{:?}",
        template(r#""status":"{{kind}}""#).narrow(&"Observation?status=secret".parse().unwrap(), &columns())
    );
    assert!(!shown.contains("secret"), "{shown}");
}

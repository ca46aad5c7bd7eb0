use super::*;
use crate::mapping::Json;
use crate::practice::UsCore;

const COLUMNS: &[(&str, ColumnType)] = &[
    ("id", ColumnType::Text),
    ("last_updated", ColumnType::Timestamptz),
    ("a", ColumnType::Text),
    ("b", ColumnType::Text),
    ("n", ColumnType::Numeric),
    ("flag", ColumnType::Boolean),
    ("items", ColumnType::Jsonb),
    ("day", ColumnType::Date),
];

fn columns() -> Vec<Column> {
    COLUMNS.iter().map(|(name, t)| Column { name: (*name).to_owned(), column_type: *t }).collect()
}

/// A Patient template with these members behind its head.
fn parse(members: &str, codes: &str) -> Result<Template, Vec<Problem>> {
    let head =
        r#""resourceType":"Patient","id":"{{id}}","meta":{"lastUpdated":"{{last_updated | instant}}"}"#;
    let json: Json = serde_json::from_str(&format!("{{{head},{members}}}")).unwrap();
    let codes = CodeTables::parse(Some(&serde_json::from_str(codes).unwrap()), "codes")?;
    Template::parse(&json, ResourceType::Patient, &codes, &UsCore::V6_1_0.into(), "t")
}

/// The members that a row with these values gives, behind the head; none if it gives no resource.
fn written_with(members: &str, codes: &str, values: &[(&str, Cell<'_>)]) -> Option<String> {
    let program = parse(members, codes).unwrap().program(&columns()).unwrap();
    let mut out = b"before ".to_vec();
    let cell = |i: usize| match COLUMNS[i].0 {
        "id" => Cell::Text(b"p1"),
        "last_updated" => Cell::Timestamptz(1_000),
        name => values.iter().find(|(n, _)| *n == name).map_or(Cell::Null, |(_, cell)| *cell),
    };
    let there = program.write(cell, &mut out);
    let line = String::from_utf8(out).unwrap();
    let line = line.strip_prefix("before ").unwrap();
    if !there {
        assert_eq!(line, "");
        return None;
    }
    let _valid: serde_json::Value = serde_json::from_str(line).unwrap();
    let head = r#"{"resourceType":"Patient","id":"p1","meta":{"lastUpdated":"2000-01-01T00:00:00.001Z"}"#;
    let members = line.strip_prefix(head).and_then(|rest| rest.strip_suffix('}')).unwrap();
    Some(members.strip_prefix(',').unwrap_or(members).to_owned())
}

fn written(members: &str, values: &[(&str, Cell<'_>)]) -> String {
    written_with(members, r#"{"t":{"x":"y","*":null},"c":{"true":{"code":"T"},"*":{"code":"?"}}}"#, values)
        .unwrap()
}

fn text(value: &str) -> Cell<'_> {
    Cell::Text(value.as_bytes())
}

#[test]
fn values_take_the_form_of_their_column() {
    let digits = [0, 7, 3, 232];
    let n = Cell::Decimal(Decimal { negative: true, weight: 0, scale: 2, digits: &digits });
    let members = r#""a":"{{a}}","n":"{{n}}","s":"{{n|string}}","f":"{{flag}}","i":"{{items}}","d":"{{day}}","m":"{{a}}-{{n}}/{{day}}""#;
    let row = [
        ("a", text(" \"ä\" ")),
        ("n", n),
        ("flag", Cell::Boolean(false)),
        ("items", Cell::Json(b"[1,\n2]")),
        ("day", Cell::Date(60)),
    ];
    assert_eq!(
        written(members, &row),
        r#""a":"\"ä\"","n":-7.10,"s":"-7.10","f":false,"i":[1,2],"d":"2000-03-01","m":"\"ä\"--7.10/2000-03-01""#
    );
}

#[test]
fn null_members_disappear_and_take_empty_parents_with_them() {
    let members = r#""code":{"coding":[{"system":"s","code":"{{a}}"},{"system":"t","code":"{{b}}"}],"text":"{{b}}"},"z":[{"y":{"x":"{{a}}"}}]"#;
    assert_eq!(written(members, &[]), "");
    assert_eq!(written(members, &[("a", text("  ")), ("b", text(""))]), "");
    assert_eq!(
        written(members, &[("b", text("2"))]),
        r#""code":{"coding":[{"system":"t","code":"2"}],"text":"2"}"#
    );
    assert_eq!(
        written(members, &[("a", text("1"))]),
        r#""code":{"coding":[{"system":"s","code":"1"}]},"z":[{"y":{"x":"1"}}]"#
    );
}

#[test]
fn constants_do_not_keep_an_object_but_keep_their_place_in_an_array() {
    let members = r#""o":{"type":{"text":"MR"},"value":"{{a}}"},"list":[{"text":"always"},{"text":"{{a}}"}],"p":{"list":["c","{{a}}"],"x":"{{b}}"}"#;
    assert_eq!(written(members, &[]), r#""list":[{"text":"always"}]"#);
    assert_eq!(
        written(members, &[("b", text("1"))]),
        r#""list":[{"text":"always"}],"p":{"list":["c"],"x":"1"}"#
    );
}

#[test]
fn a_text_is_there_only_if_all_of_it_is() {
    let members = r#""r":"Patient/{{a}}","n":"{{a}} {{b}}","k":1"#;
    assert_eq!(written(members, &[("a", text("1"))]), r#""r":"Patient/1","k":1"#);
    assert_eq!(written(members, &[("b", text("1"))]), r#""k":1"#);
}

#[test]
fn codes_are_looked_up() {
    let members = r#""s":"{{a|code:t}}","l":[{"x":"u-{{a | code: t}}"}],"c":["{{flag | code: c}}"]"#;
    let row = [("a", text(" x ")), ("flag", Cell::Boolean(true))];
    assert_eq!(written(members, &row), r#""s":"y","l":[{"x":"u-y"}],"c":[{"code":"T"}]"#);
    assert_eq!(
        written(members, &[("a", text("q")), ("flag", Cell::Boolean(false))]),
        r#""c":[{"code":"?"}]"#
    );
    assert_eq!(written(members, &[("a", text("x\u{1}"))]), r#""s":"y","l":[{"x":"u-y"}]"#);
}

#[test]
fn a_condition_decides_and_counts_as_a_value() {
    let members = r#""o":{"$when":"a = 'x' or n <> 0","text":"constant"},"p":{"q":{"$when":"flag = true","r":"{{b}}"}},"k":1"#;
    let zero = Cell::Decimal(Decimal { negative: false, weight: 0, scale: 2, digits: &[] });
    let three = Cell::Decimal(Decimal { negative: false, weight: 0, scale: 0, digits: &[0, 3] });
    assert_eq!(written(members, &[("n", zero)]), r#""k":1"#);
    assert_eq!(written(members, &[("n", three)]), r#""o":{"text":"constant"},"k":1"#);
    assert_eq!(written(members, &[("a", text("x"))]), r#""o":{"text":"constant"},"k":1"#);
    // A true condition keeps no empty object.
    assert_eq!(written(members, &[("flag", Cell::Boolean(true))]), r#""k":1"#);
    assert_eq!(
        written(members, &[("flag", Cell::Boolean(true)), ("b", text("v"))]),
        r#""p":{"q":{"r":"v"}},"k":1"#
    );
}

#[test]
fn a_resource_is_there_under_its_condition() {
    let members = r#""$when":"a in ('x', 'y') and b is null","k":"{{a}}""#;
    assert_eq!(written_with(members, "{}", &[("a", text("y"))]), Some(r#""k":"y""#.to_owned()));
    assert_eq!(written_with(members, "{}", &[("a", text("y")), ("b", text("1"))]), None);
    assert_eq!(written_with(members, "{}", &[]), None);
    assert_eq!(written_with(r#""$when":"$us_core = '7.0.0'""#, "{}", &[]), None);
}

#[test]
fn the_version_of_us_core_is_put_in() {
    let members = r#""p":["u|{{$us_core}}",{"$when":"$us_core = '7.0.0'","x":1},{"$when":"$us_core <> '7.0.0'","y":2}],"o":{"v":"{{$us_core}}","w":[]}"#;
    assert!(parse(members, "{}").unwrap_err()[0].message.contains("empty array"));
    let members = members.replace(",\"w\":[]", "");
    assert_eq!(written(&members, &[]), r#""p":["u|6.1.0",{"y":2}],"o":{"v":"6.1.0"}"#);
}

#[test]
fn the_base_url_is_put_in_where_an_absolute_url_is_wanted() {
    let members = r#""content":[{"attachment":{"contentType":"{{b}}","url":"{{$base_url}}/Binary/{{a}}"}}]"#;
    let url = r#""content":[{"attachment":{"url":"https://example.org/fhir/Binary/7"}}]"#;
    assert_eq!(written(members, &[("a", text("7"))]), url);
    assert_eq!(written(members, &[]), "");
    let unknown = parse(r#""x":"{{$base}}/{{a}}""#, "{}").unwrap_err();
    assert_eq!(unknown[0].message, "there is no variable $base, only $us_core and $base_url");
}

#[test]
fn a_constant_after_a_text_is_not_mistaken_for_a_part_of_it() {
    assert_eq!(written(r#""t":"{{a}}!","k":1,"j":2"#, &[]), r#""k":1,"j":2"#);
    assert_eq!(written(r#""t":"{{a}}!","k":1,"j":2"#, &[("a", text("x"))]), r#""t":"x!","k":1,"j":2"#);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let problems = |members: &str| {
        let found = match parse(members, r#"{"t":{"x":{"code":"y"},"*":null}}"#) {
            Ok(template) => template.program(&columns()).unwrap_err(),
            Err(found) => found,
        };
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (members, expected) in [
        (r#""x":{"y":["{{c}}"]}"#, "t.x.y[0]: the relation has no column c"),
        (r#""x":"{{a | code: u}}""#, "t.x: there is no code table \"u\"; this file has: t"),
        (r#""x":"a-{{a | code: t}}""#, "t.x: the table \"t\" does not hold strings only"),
        (r#""x":"a-{{items}}""#, "t.x: column items: jsonb cannot be part"),
        (r#""x":{"$when":"n = 'a'","y":1}"#, "t.x.$when: column n: numeric cannot be compared with 'a'"),
        (r#""x":{"$when":"gone is null","y":1}"#, "t.x.$when: the relation has no column gone"),
        (r#""x":null"#, "t.x: null is no value"),
        (r#""x":"""#, "t.x: an empty string is no value"),
        (r#""x":{"$if":1}"#, "t.x.$if: is no name"),
        (r#""x":{"$when":1,"y":1}"#, "t.x.$when: a condition is a string"),
        (r#""x":"{{a | upper}}""#, "t.x: there is no filter \"upper\""),
    ] {
        assert!(problems(members).contains(expected), "{members}: {}", problems(members));
    }
    let json: Json = serde_json::from_str(r#"{"resourceType":"Goal","id":"x-{{id}}"}"#).unwrap();
    let head =
        Template::parse(&json, ResourceType::Patient, &CodeTables::default(), &UsCore::V6_1_0.into(), "t")
            .unwrap_err();
    let paths: Vec<&str> = head.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["t", "t.meta.lastUpdated", "t.id"]);
}

#[test]
fn nesting_is_bounded_when_the_template_is_read() {
    let nested =
        |depth: usize| format!(r#""x":{}"{{{{a}}}}"{}"#, r#"{"y":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(written(&nested(20), &[]), "");
    assert!(parse(&nested(60), "{}").unwrap_err()[0].message.contains("nested deeper"));
}

#[test]
fn it_is_known_which_columns_are_used_and_where() {
    let template = parse(r#""$when":"b is null","x":["-{{a}}",{"y":"{{a}}"}]"#, "{}").unwrap();
    let names: Vec<String> = template.columns().into_iter().collect();
    assert_eq!(names, ["a", "b", "id", "last_updated"]);
    assert!(template.column_paths().contains(&("a".to_owned(), "t.x[0]".to_owned())));
}

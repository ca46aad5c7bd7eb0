use super::*;

/// Texts that must not make anything panic are made of these.
const PIECES: &[&str] = &[
    "Observation",
    "Patient",
    "?",
    "&",
    "=",
    ",",
    "|",
    "\\",
    "$",
    "%",
    "%2C",
    "%E4",
    "%00",
    "+",
    " ",
    ":",
    ".",
    "/",
    "-",
    "T",
    "Z",
    "code",
    "date",
    "_id",
    "patient",
    "subject",
    "ge",
    "ap",
    "20",
    "24",
    "9999",
    "12-31",
    "00:00",
    "ä",
    "\u{1F600}",
    "\n",
    "_history",
    "http://",
];

fn read(query: &str) -> TypeFilter {
    query.parse().unwrap_or_else(|e| panic!("{query}: {e}"))
}

fn refused(query: &str) -> SearchError {
    query.parse::<TypeFilter>().expect_err(query)
}

fn values(query: &str) -> Vec<Value> {
    read(query).criteria()[0].values.clone()
}

fn token(system: Option<&str>, code: Option<&str>) -> Value {
    Value::Token { system: system.map(str::to_owned), code: code.map(str::to_owned) }
}

fn reference(resource_type: Option<&str>, id: &str) -> Value {
    Value::Reference { resource_type: resource_type.map(str::to_owned), id: id.to_owned() }
}

/// Whether a resource of the query's type with these members meets the query.
fn meets(query: &str, members: &str) -> bool {
    let mut filters = TypeFilters::default();
    filters.push(read(query));
    let resource_type = read(query).resource_type();
    let line = format!(r#"{{"resourceType":"{resource_type}",{members}}}"#);
    serde_json::from_str::<serde_json::Value>(&line).expect(members);
    filters.matcher(resource_type).unwrap().matches(line.as_bytes())
}

fn check(cases: &[(&str, &str, bool)]) {
    for (query, members, expected) in cases {
        assert_eq!(meets(query, members), *expected, "{query} on {members}");
    }
}

#[test]
fn tokens_are_read_with_and_without_a_system() {
    for (query, expected) in [
        ("Observation?code=8867-4", vec![token(None, Some("8867-4"))]),
        (
            "Observation?code=http://loinc.org|8867-4,8310-5",
            vec![token(Some("http://loinc.org"), Some("8867-4")), token(None, Some("8310-5"))],
        ),
        ("Observation?code=http://loinc.org|", vec![token(Some("http://loinc.org"), None)]),
        ("Observation?code=|8867-4", vec![token(Some(""), Some("8867-4"))]),
        (r"Observation?code=a\,b,c\|d\$\\", vec![token(None, Some("a,b")), token(None, Some(r"c|d$\"))]),
        (
            "Observation?status=final, amended ",
            vec![token(None, Some("final")), token(None, Some("amended"))],
        ),
        ("Observation?code=a=b", vec![token(None, Some("a=b"))]),
        ("Observation?code=a+b", vec![token(None, Some("a+b"))]),
        ("Observation?code=100%", vec![token(None, Some("100%"))]),
    ] {
        assert!(values(query) == expected, "{query}");
    }
}

#[test]
fn what_a_client_encoded_twice_is_decoded_once_more() {
    assert!(values("Observation?code=a%2Cb") == values("Observation?code=a,b"));
    assert!(
        values("Observation?code=http%3A%2F%2Floinc.org%7C8867-4")
            == values("Observation?code=http://loinc.org|8867-4")
    );
    assert!(values("Observation?code=a%2526b") == [token(None, Some("a%26b"))]);
    assert!(values("Observation?code=a%26b%3Dc") == [token(None, Some("a&b=c"))]);
    assert!(read("Condition?clinical%2Dstatus=active").criteria()[0].parameter.name == "clinical-status");
    assert!(matches!(refused("Observation?code=%E4"), SearchError::Malformed { parameter: "code", .. }));
}

#[test]
fn ids_and_references_are_read() {
    assert!(values("Patient?_id=a,b-1.2") == [Value::Id("a".into()), Value::Id("b-1.2".into())]);
    for (query, expected) in [
        ("Observation?patient=p1", reference(Some("Patient"), "p1")),
        ("Observation?patient=Patient/p1", reference(Some("Patient"), "p1")),
        ("Observation?subject=p1", reference(None, "p1")),
        ("Observation?subject=Group/g", reference(Some("Group"), "g")),
        (
            "Observation?subject=https://ehr.example/fhir/Patient/p1/_history/3",
            reference(Some("Patient"), "p1"),
        ),
    ] {
        assert!(values(query) == [expected], "{query}");
    }
    for query in [
        "Observation?patient=Group/g",
        "Observation?subject=urn:uuid:53fefa32-1111-2222-3333-55ee120877b7",
        "Observation?subject=patient/1",
        "Observation?subject=a/Patient/1",
        "Observation?subject=#p",
        "Observation?subject=Patient/",
        "Patient?_id=Patient/1",
        "Patient?_id=a|b",
        "Patient?_id=a b",
    ] {
        assert!(matches!(refused(query), SearchError::Malformed { .. }), "{query}");
    }
}

#[test]
fn a_date_stands_for_the_range_of_its_precision() {
    for (text, prefix, from, to) in [
        ("2024", Prefix::Eq, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("eq2024-12", Prefix::Eq, "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("ne2024-02-29", Prefix::Ne, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("lt2024-01-01T10:30", Prefix::Lt, "2024-01-01T10:30:00Z", "2024-01-01T10:31:00Z"),
        ("gt2024-01-01T10:30:05Z", Prefix::Gt, "2024-01-01T10:30:05Z", "2024-01-01T10:30:06Z"),
        ("le2024-01-01T10:30:05.2Z", Prefix::Le, "2024-01-01T10:30:05.2Z", "2024-01-01T10:30:05.3Z"),
        ("ge2024-01-01T00:30:00+05:00", Prefix::Ge, "2023-12-31T19:30:00Z", "2023-12-31T19:30:01Z"),
        ("sa2024-01-01T00:30:00 05:00", Prefix::Sa, "2023-12-31T19:30:00Z", "2023-12-31T19:30:01Z"),
        ("eb2024-01-01T00:30:00-05:00", Prefix::Eb, "2024-01-01T05:30:00Z", "2024-01-01T05:30:01Z"),
        ("2024-01-01T00:30:00%2B05:00", Prefix::Eq, "2023-12-31T19:30:00Z", "2023-12-31T19:30:01Z"),
        ("2016-12-31T23:59:60Z", Prefix::Eq, "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
        ("9999", Prefix::Eq, "9999-01-01T00:00:00Z", "+10000-01-01T00:00:00Z"),
    ] {
        let expected = Value::Date { prefix, from: from.parse().unwrap(), to: to.parse().unwrap() };
        assert!(values(&format!("Observation?date={text}")) == [expected], "{text}");
    }
    for text in [
        "24",
        "2024-1",
        "2024-13",
        "2023-02-29",
        "2024-01-01-01",
        "0000",
        "2024-01T10:00",
        "2024-01-01T",
        "2024-01-01T1",
        "2024-01-01T10",
        "2024-01-01T24:00:00Z",
        "2024-01-01T10:60:00Z",
        "2024-01-01T10:00:61Z",
        "2024-01-01T10:00:00.Z",
        "2024-01-01T10:00:00z",
        "2024-01-01T10:00:00+5:00",
        "2024-01-01T10:00:00+15:00",
        "2024-01-01T10:00:00+05:00x",
        "xx2024",
        "ge",
        "today",
        "2024-01-01 10:00:00",
        "２０２４",
        "+2024",
        "-2024",
        "GE2024",
    ] {
        let error = refused(&format!("Observation?date={text}"));
        assert!(matches!(error, SearchError::Malformed { parameter: "date", .. }), "{text}: {error}");
    }
    assert_eq!(refused("Observation?date=ap2024"), SearchError::Approximately("date"));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    use SearchError as E;
    let named = |name: &str| name.to_owned();
    for (query, expected) in [
        ("", E::NotAQuery),
        ("Patient", E::NotAQuery),
        ("Missing?_id=1", E::UnknownType),
        ("patient?_id=1", E::UnknownType),
        ("?_id=1", E::UnknownType),
        ("Patient?", E::EmptyPart(ResourceType::Patient)),
        ("Patient?_id", E::EmptyPart(ResourceType::Patient)),
        ("Patient?_id=1&", E::EmptyPart(ResourceType::Patient)),
        ("Patient?_id=", E::EmptyValue("_id")),
        ("Patient?_id=1,,2", E::EmptyValue("_id")),
        ("Patient?_id=1,", E::EmptyValue("_id")),
        ("Observation?_sort=date", E::ResultParameter(named("_sort"))),
        ("Observation?_include=Observation:subject", E::ResultParameter(named("_include"))),
        ("Observation?_include:iterate=x", E::ResultParameter(named("_include:iterate"))),
        ("Observation?_elements=id", E::ResultParameter(named("_elements"))),
        ("Observation?code:in=http://vs", E::Modifier(named("code:in"))),
        ("Observation?code:not=1", E::Modifier(named("code:not"))),
        ("Observation?date:missing=true", E::Modifier(named("date:missing"))),
        ("Observation?subject:Patient=1", E::Modifier(named("subject:Patient"))),
        ("Observation?subject.name=peter", E::Chain(named("subject.name"))),
        ("Observation?subject:Patient.name=peter", E::Chain(named("subject:Patient.name"))),
        ("Patient?_has:Observation:patient:code=1", E::Chain(named("_has:Observation:patient:code"))),
        (
            "Patient?name=peter",
            E::UnknownParameter { resource_type: ResourceType::Patient, name: named("name") },
        ),
        (
            "Patient?Müller=1",
            E::UnknownParameter { resource_type: ResourceType::Patient, name: named("a name") },
        ),
        ("Patient?=1", E::UnknownParameter { resource_type: ResourceType::Patient, name: named("a name") }),
        (
            "Patient?status=active",
            E::UnknownParameter { resource_type: ResourceType::Patient, name: named("status") },
        ),
        ("Observation?status=http://hl7.org/fhir/observation-status|final", E::System("status")),
        ("Observation?status=|final", E::System("status")),
    ] {
        assert_eq!(refused(query), expected, "{query}");
    }
    for text in ["|", "a|b|c", r"a\b", r"a\", "a%00b", "a\tb", r"\|"] {
        let query = format!("Observation?code={text}");
        let is_code = text == r"\|";
        assert_eq!(query.parse::<TypeFilter>().is_ok(), is_code, "{text}");
    }
    let error = refused("Patient?name=Mueller").to_string();
    assert!(error.contains("supported are _id, _lastUpdated, active"), "{error}");
}

#[test]
fn an_error_never_repeats_a_value() {
    for query in [
        "Patient?_id=Smith Mary",
        "Patient?birthdate=Smith Mary",
        "Observation?patient=Smith Mary",
        "Patient?Smith Mary=1",
        "Patient?identifier=Smith|Mary|1",
        "Smith?Mary=1",
        "Patient?gender=Smith|Mary",
    ] {
        let error = format!("{0} {0:?}", refused(query));
        assert!(!error.contains("Smith") && !error.contains("Mary"), "{error}");
    }
    let filter = read("Observation?patient=secret-id&code=secret-code");
    assert_eq!(format!("{filter:?}"), "Observation?patient&code");
    assert!(!format!("{:?}", filter.criteria()).contains("secret"));
}

#[test]
fn queries_are_bounded() {
    let list = |n: usize| vec!["a"; n].join(",");
    let criteria = |n: usize| format!("Patient?{}", vec!["_id=a"; n].join("&"));
    assert!(format!("Patient?_id={}", list(MAX_VALUES)).parse::<TypeFilter>().is_ok());
    assert_eq!(refused(&format!("Patient?_id={}", list(MAX_VALUES + 1))), SearchError::TooManyValues);
    let two = format!("Patient?_id={}&_id={}", list(MAX_VALUES / 2), list(MAX_VALUES / 2 + 1));
    assert_eq!(refused(&two), SearchError::TooManyValues);
    assert!(criteria(MAX_CRITERIA).parse::<TypeFilter>().is_ok());
    assert_eq!(refused(&criteria(MAX_CRITERIA + 1)), SearchError::TooManyCriteria);
    assert_eq!(refused(&format!("Patient?_id={}", "a".repeat(MAX_TEXT))), SearchError::TooLong);
    // As text of its own each of these takes two characters.
    assert_eq!(refused(&format!("Observation?code={}", "$".repeat(MAX_TEXT / 2))), SearchError::TooLong);
}

#[test]
fn the_text_of_a_query_parses_to_an_equal_value() {
    for (query, text) in [
        ("Observation?code=a,b&code=c", "Observation?code=a,b&code=c"),
        (r"Observation?code=\,\|\$\\%2525%26|x", r"Observation?code=\,\|\$\\%2525%26|x"),
        ("Observation?code=100%", "Observation?code=100%25"),
        ("Observation?code=|x,s|", "Observation?code=|x,s|"),
        ("Observation?patient=p&subject=p", "Observation?patient=Patient/p&subject=p"),
        (
            "Observation?date=eq2024,ge2024-01-01T00:00 05:00",
            "Observation?date=2024,ge2024-01-01T00:00+05:00",
        ),
    ] {
        let filter = read(query);
        assert_eq!(filter.to_string(), text);
        assert!(read(text) == filter, "{text}");
    }
}

#[test]
fn filters_are_kept_as_a_list_of_texts() {
    let mut filters = TypeFilters::default();
    for query in
        ["Observation?code=1", "Patient?active=true", "Observation?status=final", "Patient?active=true"]
    {
        filters.push(read(query));
    }
    let json = serde_json::to_string(&filters).unwrap();
    assert_eq!(json, r#"["Observation?code=1","Patient?active=true","Observation?status=final"]"#);
    assert!(serde_json::from_str::<TypeFilters>(&json).unwrap() == filters);
    assert!(serde_json::from_str::<TypeFilters>(r#"["Observation?unknown=1"]"#).is_err());
    assert_eq!(filters.of(ResourceType::Observation).count(), 2);
    assert_eq!(filters.types(), BTreeSet::from([ResourceType::Observation, ResourceType::Patient]));
    assert!(filters.matcher(ResourceType::Encounter).is_none(), "other types are not filtered");
    assert!(!filters.is_empty() && TypeFilters::default().is_empty());
}

#[test]
fn queries_of_a_type_are_alternatives_and_criteria_of_a_query_are_not() {
    let mut filters = TypeFilters::default();
    filters.push(read("Observation?code=1&status=final"));
    filters.push(read("Observation?code=2"));
    let matcher = filters.matcher(ResourceType::Observation).unwrap();
    let matches = |code: &str, status: &str| {
        let line = format!(r#"{{"code":{{"coding":[{{"code":"{code}"}}]}},"status":"{status}"}}"#);
        matcher.matches(line.as_bytes())
    };
    assert!(matches("1", "final") && matches("2", "amended"));
    assert!(!matches("1", "amended") && !matches("3", "final"));
}

#[test]
fn a_comma_separates_queries_only_before_a_type() {
    for (value, expected) in [
        ("Observation?status=final", vec!["Observation?status=final"]),
        ("Observation?status=final,amended", vec!["Observation?status=final,amended"]),
        (
            "MedicationRequest?status=active,MedicationRequest?status=completed&authoredon=gt2018",
            vec!["MedicationRequest?status=active", "MedicationRequest?status=completed&authoredon=gt2018"],
        ),
        ("Observation?code=a,B,Patient?active=true", vec!["Observation?code=a,B", "Patient?active=true"]),
        ("Ab?x=1,C?y=2", vec!["Ab?x=1,C?y=2"]),
        ("Ab?x=1, Missing?y=2", vec!["Ab?x=1", "Missing?y=2"]),
        (r"Observation?code=a\,Patient?x=1", vec![r"Observation?code=a\,Patient?x=1"]),
        (r"Observation?code=a\\,Patient?x=1", vec![r"Observation?code=a\\", "Patient?x=1"]),
        ("Observation?code=a,patient?x=1", vec!["Observation?code=a,patient?x=1"]),
        ("Observation?code=ä,Ünit?x,Patient?é", vec!["Observation?code=ä,Ünit?x", "Patient?é"]),
        ("", vec![""]),
        (",", vec![","]),
        (",Patient?a=b,", vec!["", "Patient?a=b,"]),
    ] {
        assert_eq!(split(value), expected, "{value}");
    }
}

#[test]
fn tokens_match_by_the_shape_of_the_element() {
    let code = r#""code":{"coding":[{"system":"http://snomed.info/sct","code":"1"},{"system":"http://loinc.org","code":"8867\u002d4"},{"code":"bare"}],"text":"Heart rate"}"#;
    let category =
        r#""category":[{"coding":[{"system":"c","code":"a"}]},{"coding":[{"system":"c","code":"b"}]}]"#;
    check(&[
        ("Observation?code=8867-4", code, true),
        ("Observation?code=http://loinc.org|8867-4", code, true),
        ("Observation?code=http://loinc.org|", code, true),
        ("Observation?code=http://snomed.info/sct|8867-4", code, false),
        ("Observation?code=http://loinc.org|1", code, false),
        ("Observation?code=|8867-4", code, false),
        ("Observation?code=|bare", code, true),
        ("Observation?code=other,bare", code, true),
        ("Observation?code=BARE", code, false),
        ("Observation?code=Heart rate", code, false),
        ("Observation?code=8867", code, false),
        ("Observation?code=8867-4", r#""code":{"text":"8867-4"}"#, false),
        ("Observation?code=8867-4", r#""code":"8867-4","id":"x""#, true),
        ("Observation?code=8867-4", r#""c\u006fde":{"coding":[{"code":"8867-4"}]}"#, true),
        ("Observation?code=8867-4", r#""contained":[{"code":{"coding":[{"code":"8867-4"}]}}]"#, false),
        ("Observation?category=b", category, true),
        ("Observation?category=a&category=b", category, true),
        ("Observation?category=a&category=d", category, false),
        ("Observation?status=final", r#""status":"final""#, true),
        ("Observation?status=final", r#""status":"Final""#, false),
        ("Observation?status=final", r#""_status":"final""#, false),
        ("Observation?status=final", r#""id":"final""#, false),
        ("Encounter?class=AMB", r#""class":{"system":"http://v3","code":"AMB"}"#, true),
        ("Encounter?class=http://v3|AMB", r#""class":{"system":"http://v3","code":"AMB"}"#, true),
        ("Encounter?class=http://v2|AMB", r#""class":{"system":"http://v3","code":"AMB"}"#, false),
        (
            "Encounter?discharge-disposition=home",
            r#""hospitalization":{"dischargeDisposition":{"coding":[{"code":"home"}]}}"#,
            true,
        ),
        (
            "Patient?identifier=urn:mrn|7",
            r#""identifier":[{"system":"urn:other","value":"7"},{"system":"urn:mrn","value":"7"}]"#,
            true,
        ),
        (
            "Patient?identifier=urn:mrn|7",
            r#""identifier":[{"system":"urn:mrn","value":"8"},{"system":"urn:other","value":"7"}]"#,
            false,
        ),
        ("Patient?identifier=|7", r#""identifier":[{"value":"7","type":{"coding":[{"code":"MR"}]}}]"#, true),
        ("Patient?active=true", r#""active":true"#, true),
        ("Patient?active=false", r#""active":true"#, false),
        ("AllergyIntolerance?category=food", r#""category":["medication","food"]"#, true),
        ("AllergyIntolerance?code=nut", r#""reaction":[{"substance":{"coding":[{"code":"nut"}]}}]"#, true),
        ("CareTeam?role=1", r#""participant":[{},{"role":[{"coding":[{"code":"1"}]}]}]"#, true),
    ]);
}

#[test]
fn ids_and_the_last_update_are_those_of_the_resource_itself() {
    check(&[
        ("Patient?_id=a,b", r#""id":"b""#, true),
        ("Patient?_id=a", r#""id":"A""#, false),
        ("Patient?_id=a", r#""contained":[{"id":"a"}]"#, false),
        ("Patient?_lastUpdated=gt2024", r#""meta":{"lastUpdated":"2025-01-01T00:00:00.000Z"}"#, true),
        ("Patient?_lastUpdated=gt2024", r#""meta":{"lastUpdated":"2024-12-31T23:59:59.999Z"}"#, false),
        ("Patient?_lastUpdated=gt2024", r#""lastUpdated":"2025-01-01T00:00:00.000Z""#, false),
        ("Patient?_lastUpdated=gt2024", r#""id":"1""#, false),
    ]);
}

#[test]
fn references_match_by_type_and_id() {
    let to = |reference: &str| format!(r#""subject":{{"reference":"{reference}"}}"#);
    for (query, reference, expected) in [
        ("Observation?patient=1", "Patient/1", true),
        ("Observation?patient=1", r"Patient\/1", true),
        ("Observation?patient=1", "https://ehr.example/fhir/Patient/1", true),
        ("Observation?patient=1", "Patient/1/_history/2", true),
        ("Observation?patient=1", "https://ehr.example/fhir/Patient/1/_history/2", true),
        ("Observation?patient=1", "1", true),
        ("Observation?patient=1", "Group/1", false),
        ("Observation?patient=1", "Patient/11", false),
        ("Observation?patient=1", "Patient/2/_history/1", false),
        ("Observation?patient=1", "#1", false),
        ("Observation?patient=1", "urn:uuid:1", false),
        ("Observation?patient=1", "", false),
        ("Observation?patient=a", "Patient/A", false),
        ("Observation?subject=1", "Group/1", true),
        ("Observation?subject=Patient/1", "Group/1", false),
    ] {
        assert_eq!(meets(query, &to(reference)), expected, "{query} on {reference}");
    }
    check(&[
        ("Observation?patient=1", r#""subject":{"reference":"1","type":"Patient"}"#, true),
        ("Observation?patient=1", r#""subject":{"reference":"1","type":"Group"}"#, false),
        ("Observation?patient=1", r#""subject":{"display":"Patient/1"}"#, false),
        ("Observation?patient=1", r#""subject":"Patient/1""#, false),
        (
            "Provenance?target=Observation/2",
            r#""target":[{"reference":"Observation/1"},{"reference":"Observation/2"}]"#,
            true,
        ),
        (
            "Provenance?patient=2",
            r#""target":[{"reference":"Observation/2"},{"reference":"Patient/3"}]"#,
            false,
        ),
        ("Encounter?location=l", r#""location":[{"location":{"reference":"Location/l"}}]"#, true),
        ("Coverage?patient=1", r#""beneficiary":{"reference":"Patient/1"}"#, true),
        ("DocumentReference?encounter=e", r#""context":{"encounter":[{"reference":"Encounter/e"}]}"#, true),
    ]);
}

#[test]
fn every_prefix_compares_ranges_as_fhir_defines_it() {
    // The search range is March 2024; of the resource: before, touching, across the start, within, equal, across the
    // end, touching, after, around.
    let ranges = [
        ("2024-02-01", "2024-02-10"),
        ("2024-02-01", "2024-02-29"),
        ("2024-02-20", "2024-03-10"),
        ("2024-03-05", "2024-03-10"),
        ("2024-03-01", "2024-03-31"),
        ("2024-03-20", "2024-04-10"),
        ("2024-04-01", "2024-04-10"),
        ("2024-05-01", "2024-05-10"),
        ("2024-01-01", "2024-12-31"),
    ];
    for (prefix, expected) in [
        ("eq", "...xx...."),
        ("", "...xx...."),
        ("ne", "xxx..xxxx"),
        ("lt", "xxx.....x"),
        ("gt", ".....xxxx"),
        ("le", "xxxxx...x"),
        ("ge", "...xxxxxx"),
        ("sa", "......xx."),
        ("eb", "xx......."),
    ] {
        let query = format!("Encounter?date={prefix}2024-03");
        let found: String = ranges
            .iter()
            .map(|(start, end)| format!(r#""period":{{"start":"{start}","end":"{end}"}}"#))
            .map(|members| if meets(&query, &members) { 'x' } else { '.' })
            .collect();
        assert_eq!(found, expected, "{prefix}");
    }
}

#[test]
fn dates_match_by_precision_and_shape() {
    let open_end = r#""period":{"start":"2024-03-05T10:00:00Z"}"#;
    let open_start = r#""period":{"end":"2024-03"}"#;
    check(&[
        ("Patient?birthdate=1980", r#""birthDate":"1980-05-06""#, true),
        ("Patient?birthdate=1980-05-06", r#""birthDate":"1980-05""#, false),
        ("Patient?birthdate=ge1980-05-06", r#""birthDate":"1980-05""#, true),
        ("Patient?birthdate=lt1980-05-06", r#""birthDate":"1980-05""#, true),
        ("Patient?birthdate=sa1980-04", r#""birthDate":"1980-05""#, true),
        ("Patient?birthdate=ne1980", r#""gender":"male""#, false),
        ("Patient?birthdate=1980", r#""birthDate":"unknown""#, false),
        ("Patient?birthdate=1980", r#""birthDate":null"#, false),
        ("Patient?birthdate=1980", r#""birthDate":1980"#, false),
        ("Patient?death-date=2024", r#""deceasedBoolean":true"#, false),
        ("Patient?death-date=2024", r#""deceasedDateTime":"2024-03-04T23:00:00-05:00""#, true),
        ("Patient?birthdate=ge1980&birthdate=lt1990", r#""birthDate":"1985""#, true),
        ("Patient?birthdate=ge1980&birthdate=lt1990", r#""birthDate":"1990-01-01""#, false),
        ("Patient?birthdate=1970,1990", r#""birthDate":"1990-01-01""#, true),
        ("Observation?date=2024-03-04", r#""effectiveDateTime":"2024-03-04T23:00:00-05:00""#, false),
        ("Observation?date=2024-03-05", r#""effectiveDateTime":"2024-03-04T23:00:00-05:00""#, true),
        ("Observation?date=2024-03-04T10:00:00Z", r#""effectiveInstant":"2024-03-04T10:00:00.123Z""#, true),
        (
            "Observation?date=gt2024-03-04T10:00:00.122Z",
            r#""effectiveInstant":"2024-03-04T10:00:00.123Z""#,
            true,
        ),
        (
            "Observation?date=gt2024-03-04T10:00:00.123Z",
            r#""effectiveInstant":"2024-03-04T10:00:00.123Z""#,
            false,
        ),
        ("Observation?date=2024", r#""effectivePeriod":{"start":"2024-01-01","end":"2024-12-31"}"#, true),
        ("Observation?date=2024", r#""issued":"2024-01-01T00:00:00Z""#, false),
        ("Encounter?date=ge2030", open_end, true),
        ("Encounter?date=2024", open_end, false),
        ("Encounter?date=ne2024", open_end, true),
        ("Encounter?date=eb2030", open_end, false),
        ("Encounter?date=sa2024-03-04", open_end, true),
        ("Encounter?date=lt1900", open_start, true),
        ("Encounter?date=sa1900", open_start, false),
        ("Encounter?date=eb2024-04", open_start, true),
        ("Encounter?date=gt2024-03", open_start, false),
        ("Encounter?date=ge1900", r#""period":{}"#, false),
        ("Encounter?date=ge1900", r#""period":{"start":"soon","end":"2024"}"#, false),
        ("Observation?date=2024", r#""effectiveTiming":{"event":["2024-01-02","2024-11-01"]}"#, true),
        ("Observation?date=2024-01-02", r#""effectiveTiming":{"event":["2024-01-02","2024-11-01"]}"#, false),
        ("Observation?date=gt2024-10", r#""effectiveTiming":{"event":["2024-11-01","2024-01-02"]}"#, true),
        (
            "Observation?date=2024",
            r#""effectiveTiming":{"repeat":{"boundsPeriod":{"start":"2024-01-01","end":"2024-02-01"}}}"#,
            true,
        ),
        (
            "Observation?date=gt2030",
            r#""effectiveTiming":{"event":["2024-11-01"],"repeat":{"boundsPeriod":{"start":"2024-01-01"}}}"#,
            true,
        ),
        ("Observation?date=2024", r#""effectiveTiming":{"repeat":{"frequency":1}}"#, false),
        ("Goal?target-date=2024", r#""target":[{"dueDate":"2023-01-01"},{"dueDate":"2024-01-01"}]"#, true),
        (
            "DocumentReference?period=2024",
            r#""context":{"period":{"start":"2024-01-01","end":"2024-01-02"}}"#,
            true,
        ),
        ("Immunization?date=2024", r#""occurrenceString":"2024""#, false),
    ]);
}

#[test]
fn what_is_not_one_object_never_matches() {
    let mut filters = TypeFilters::default();
    filters.push(read("Patient?birthdate=ne1900"));
    let matcher = filters.matcher(ResourceType::Patient).unwrap();
    let line = r#"{"birthDate":"2000"}"#;
    assert!(matcher.matches(line.as_bytes()));
    assert!(matcher.matches(format!(" {line}\r\n").as_bytes()));
    let deep = format!(r#"{{"birthDate":{}}}"#, "[".repeat(10_000));
    for broken in [
        "",
        "null",
        "[]",
        r#"[{"birthDate":"2000"}]"#,
        r#"{"birthDate":"2000""#,
        r#"{"birthDate":"2000"}{}"#,
        r#"{"birthDate":"2000","a":tru}"#,
        &deep,
    ] {
        assert!(!matcher.matches(broken.as_bytes()), "{broken}");
    }
    assert!(!matcher.matches(b"{\"birthDate\":\"2000\",\"a\":\"\xff\"}"));
    let nested = format!(r#"{{"birthDate":{}"2000"{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert!(!matcher.matches(nested.as_bytes()), "too deep to be a resource");
}

#[test]
fn every_parameter_leads_to_elements_that_the_type_has() {
    for t in ResourceType::ALL {
        let names: BTreeSet<_> = parameters(*t).iter().map(|p| p.name).collect();
        assert_eq!(names.len(), parameters(*t).len(), "{t}");
        assert_eq!(names.contains("patient"), t.is_patient_owned() && *t != ResourceType::Patient, "{t}");
        for parameter in parameters(*t) {
            for path in parameter.paths {
                let mut elements = crate::elements::Elements::default();
                elements
                    .add(&format!("{t}.{}", path[0]))
                    .unwrap_or_else(|e| panic!("{}: {e}", parameter.name));
            }
        }
    }
}

#[test]
fn no_text_makes_the_reading_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut read = 0;
    for round in 0..60_000 {
        let mut text = ["", "Observation?", "Patient?_id=", "Observation?code=", "Observation?date="]
            [round % 5]
            .to_owned();
        for _ in 0..next(9) {
            text.push_str(PIECES[next(PIECES.len())]);
        }
        for query in split(&text) {
            if let Ok(filter) = query.parse::<TypeFilter>() {
                let again = filter.to_string().parse::<TypeFilter>();
                assert!(again.as_ref() == Ok(&filter), "{query}: {filter}");
                read += 1;
            }
        }
    }
    assert!(read > 1000, "only {read} texts were queries");
}

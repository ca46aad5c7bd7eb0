use super::*;

const HEADERS: Headers<'static> =
    Headers { accept: Some("application/fhir+json"), prefer: Some("respond-async") };
const LENIENT: Headers<'static> =
    Headers { accept: Some("application/fhir+json"), prefer: Some("respond-async, handling=lenient") };

fn now() -> DateTime<Utc> {
    instant::parse("2026-11-23T00:00:00Z").unwrap().time
}

fn parse(query: &str, headers: Headers<'_>) -> Result<ExportRequest, Vec<Issue>> {
    parse_with(query, headers, &PracticeOptions::default())
}

fn parse_with(
    query: &str,
    headers: Headers<'_>,
    options: &PracticeOptions,
) -> Result<ExportRequest, Vec<Issue>> {
    let parameters = Parameters::from_query(query).map_err(|issue| vec![issue])?;
    super::parse(Level::System, &parameters, headers, options, now())
}

fn post(level: Level, parameters: &str, headers: Headers<'_>) -> Result<ExportRequest, Vec<Issue>> {
    let body = format!(r#"{{"resourceType":"Parameters","parameter":[{parameters}]}}"#);
    let parameters = Parameters::from_body(body.as_bytes()).map_err(|issue| vec![issue])?;
    super::parse(level, &parameters, headers, &PracticeOptions::default(), now())
}

#[test]
fn the_modelled_products_example_is_accepted_with_a_warning() {
    let request = parse("_since=2022-10-01T00:00:00&_outputFormat=ndjson", HEADERS).unwrap();
    assert_eq!(request.since.map(instant::format).as_deref(), Some("2022-10-01T00:00:00.000Z"));
    assert!(request.notes[0].issue.diagnostics().contains("read as UTC"));
    assert!(!request.notes[0].ignored);
}

#[test]
fn a_since_without_zone_is_refused_where_the_practice_says_so() {
    let options = PracticeOptions { since_without_zone: false, ..PracticeOptions::default() };
    assert!(parse_with("_since=2022-10-01T00:00:00", HEADERS, &options).is_err());
}

#[test]
fn every_spelling_of_ndjson_is_accepted_and_nothing_else() {
    for format in ["ndjson", "application/ndjson", "application/fhir%2Bndjson", "application/fhir+ndjson"] {
        assert!(parse(&format!("_outputFormat={format}"), HEADERS).is_ok(), "{format}");
    }
    for format in ["csv", "", "application/xml", "text/html", "x-custom", "ndjson,csv"] {
        let issues = parse(&format!("_outputFormat={format}"), LENIENT).unwrap_err();
        assert!(issues[0].diagnostics().starts_with("Invalid Tenant"), "{format}");
    }
}

#[test]
fn the_format_is_refused_before_missing_headers_are() {
    let issues = parse("_since=2022-10-01T00:00:00&_outputFormat=csv", Headers::default()).unwrap_err();
    assert_eq!(issues.len(), 1);
    assert!(issues[0].diagnostics().starts_with("Invalid Tenant"));
}

#[test]
fn missing_headers_are_named() {
    let issues = parse("", Headers::default()).unwrap_err();
    assert!(issues[0].diagnostics().contains("Accept: application/fhir+json"));
    assert!(issues[1].diagnostics().contains("Prefer: respond-async"));
    assert!(parse("", Headers { accept: Some("*/*"), ..HEADERS }).is_ok());
    let relaxed = PracticeOptions { require_headers: false, ..PracticeOptions::default() };
    assert!(parse_with("", Headers::default(), &relaxed).is_ok());
}

#[test]
fn bad_and_future_since_values_are_refused_even_leniently() {
    for since in [
        "2022-10-01",
        "tomorrow",
        "0000-60-01T30:70:80%2B05:00",
        "2057-01-01T00:00:00Z",
        "2026-11-23T00:05:01Z",
    ] {
        assert!(parse(&format!("_since={since}"), LENIENT).is_err(), "{since}");
    }
    assert!(parse("_since=2026-11-23T00:05:00Z", HEADERS).is_ok());
    assert!(parse("_since=2022-10-01T00:00:00Z&_since=2022-10-01T00:00:00Z", HEADERS).is_err());
}

#[test]
fn types_are_read_from_lists_and_repeats() {
    let request = parse("_type=Patient,Observation&_type=Patient&_type=Goal", HEADERS).unwrap();
    let types: Vec<_> = request.types.unwrap().into_iter().map(ResourceType::name).collect();
    assert_eq!(types, ["Goal", "Observation", "Patient"]);
}

#[test]
fn an_unknown_type_is_refused_and_leniently_narrows_never_widens() {
    let issues = parse("_type=Patient,MissingType", HEADERS).unwrap_err();
    assert!(issues[0].diagnostics().contains("MissingType"));
    let request = parse("_type=MissingType", LENIENT).unwrap();
    assert_eq!(request.types, Some(BTreeSet::new()));
    assert!(request.notes[0].ignored);
}

#[test]
fn an_unknown_parameter_is_refused_and_leniently_noted() {
    for query in
        ["organizeOutputBy=Patient", "_foo=1", "_typeFilter=Patient%3Fbroken%3Dtrue", "_elements=x.y"]
    {
        let name = query.split('=').next().unwrap();
        let issues = parse(query, HEADERS).unwrap_err();
        assert!(issues[0].diagnostics().contains(name), "{query}");
        assert!(parse(query, LENIENT).unwrap().notes.iter().any(|note| note.ignored), "{query}");
    }
}

#[test]
fn a_filter_that_cannot_be_read_never_widens_the_export() {
    let broken = "_typeFilter=Patient%3Fbroken%3Dtrue";
    assert_eq!(parse(broken, LENIENT).unwrap().without, BTreeSet::from([ResourceType::Patient]));
    let misspelt = "_typeFilter=patient%3Factive%3Dtrue";
    assert_eq!(parse(misspelt, LENIENT).unwrap().without, BTreeSet::from([ResourceType::Patient]));
    assert!(parse(&format!("_elements={}", ",".repeat(1000)), LENIENT).is_err(), "a note for each");
    let with_another = format!("{broken}&_typeFilter=Patient%3Factive%3Dtrue");
    let request = parse(&with_another, LENIENT).unwrap();
    assert!(request.without.is_empty() || !request.selection.type_filters.is_empty());
    let elements = parse("_elements=x.y", LENIENT).unwrap().selection.elements;
    assert!(elements.projection(ResourceType::Patient).is_some());
}

#[test]
fn filters_are_lists_or_repeats_and_may_be_encoded_twice() {
    let once = "_typeFilter=Observation%3Fcode%3D8867-4%2C8310-5";
    let filters = |query: &str| parse(query, HEADERS).unwrap().selection.type_filters;
    assert_eq!(filters(once).of(ResourceType::Observation).count(), 1);
    assert_eq!(filters("_typeFilter=Observation%253Fcode%253D8867-4%252C8310-5"), filters(once));
    assert_eq!(filters("_typeFilter=Observation%3Fcode%3D8867-4%252C8310-5"), filters(once));
    let both = "_typeFilter=Observation%3Fcode%3D1%2CPatient%3Factive%3Dtrue";
    let repeats = "_typeFilter=Observation%3Fcode%3D1&_typeFilter=Patient%3Factive%3Dtrue";
    assert_eq!(filters(both), filters(repeats));
    assert!(parse(&"_typeFilter=Observation%3Fcode%3D1&".repeat(101), LENIENT).is_err());
}

#[test]
fn an_upper_bound_lies_behind_the_lower_one() {
    let until = "_until=2026-01-02T00:00:00Z";
    let request = parse(&format!("_since=2026-01-01T00:00:00Z&{until}"), HEADERS).unwrap();
    assert_eq!(request.selection.until.map(instant::format).as_deref(), Some("2026-01-02T00:00:00.000Z"));
    assert!(parse(&format!("_since=2026-01-02T00:00:00Z&{until}"), HEADERS).is_err());
}

#[test]
fn patients_are_named_in_a_post_at_patient_or_group_level_alone() {
    let patient = r#"{"name":"patient","valueReference":{"reference":"Patient/1"}}"#;
    let request = post(Level::Patient, patient, HEADERS).unwrap();
    assert_eq!(request.patients, Some(BTreeSet::from(["1".to_owned()])));
    assert!(post(Level::System, patient, LENIENT).is_err());
    assert!(parse("patient=Patient/1", LENIENT).is_err());
    let group = r#"{"name":"patient","valueReference":{"reference":"Group/1"}}"#;
    assert!(post(Level::Patient, group, LENIENT).is_err());
}

#[test]
fn of_conflicting_provenance_the_larger_set_is_taken() {
    let both = "includeAssociatedData=LatestProvenanceResources,RelevantProvenanceResources";
    assert_eq!(parse(both, HEADERS).unwrap().selection.provenance, Some(AssociatedProvenance::Relevant));
    let repeats =
        "includeAssociatedData=RelevantProvenanceResources&includeAssociatedData=LatestProvenanceResources";
    assert_eq!(parse(repeats, HEADERS).unwrap().selection.provenance, Some(AssociatedProvenance::Relevant));
    assert!(parse("includeAssociatedData=_x", HEADERS).is_err());
    assert!(parse("includeAssociatedData=_x", LENIENT).unwrap().notes[0].ignored);
    let outside = parse("_type=Patient&includeAssociatedData=LatestProvenanceResources", HEADERS).unwrap();
    assert!(outside.selection.provenance.is_none() && outside.notes[0].ignored);
}

#[test]
fn get_and_post_mean_the_same() {
    let get = parse(
        "_type=Patient%2CGoal&_since=2026-01-01T00:00:00Z&allowPartialManifests=true&_elements=id",
        HEADERS,
    );
    let body = r#"{"name":"_type","valueString":"Patient,Goal"},{"name":"_since","valueInstant":"2026-01-01T00:00:00Z"},
        {"name":"allowPartialManifests","valueBoolean":true},{"name":"_elements","valueCode":"id"}"#;
    assert_eq!(post(Level::System, body, HEADERS), get);
    assert!(get.unwrap().delivery.partial_manifests);
}

#[test]
fn a_since_before_the_sources_memory_is_refused_and_leniently_tells_no_deletions() {
    let since = "_since=2026-01-01T00:00:00Z";
    let history = Some(instant::parse("2026-02-01T00:00:00Z").unwrap().time);
    assert!(parse(since, HEADERS).unwrap().check_history(history).is_err());
    let mut lenient = parse(since, LENIENT).unwrap();
    assert!(lenient.deleted && lenient.check_history(history).is_ok());
    assert!(!lenient.deleted && lenient.notes[0].ignored);
    assert!(parse("", HEADERS).unwrap().check_history(history).is_ok());
}

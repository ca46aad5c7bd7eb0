use super::*;

const HEADERS: Headers<'static> =
    Headers { accept: Some("application/fhir+json"), prefer: Some("respond-async") };
const LENIENT: Headers<'static> =
    Headers { accept: Some("application/fhir+json"), prefer: Some("respond-async, handling=lenient") };

fn now() -> DateTime<Utc> {
    instant::parse("2026-11-23T00:00:00Z").unwrap().time
}

fn parse(query: &str, headers: Headers<'_>) -> Result<ExportRequest, Vec<Issue>> {
    parse_get(Level::System, query, headers, &PracticeOptions::default(), now())
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
    assert!(parse_get(Level::System, "_since=2022-10-01T00:00:00", HEADERS, &options, now()).is_err());
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
    assert!(parse_get(Level::System, "", Headers::default(), &relaxed, now()).is_ok());
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
    let issues = parse("_typeFilter=Patient%3Factive%3Dtrue", HEADERS).unwrap_err();
    assert!(issues[0].diagnostics().contains("_typeFilter"));
    assert!(parse("_typeFilter=Patient%3Factive%3Dtrue", LENIENT).unwrap().notes[0].ignored);
}

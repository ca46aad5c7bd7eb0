use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;

fn generate(options: GenerateOptions, folder: &Path) -> GenerateReport {
    let generator = Generator::new(options).unwrap();
    let report = generator.write_ndjson(folder, &ProgressBar::hidden()).unwrap();
    assert_eq!(report.resources, generator.resources());
    report
}

fn lines(folder: &Path) -> Vec<(ResourceType, String)> {
    ResourceType::USCDI
        .iter()
        .flat_map(|t| {
            let text = std::fs::read_to_string(folder.join(format!("{t}.ndjson"))).unwrap();
            text.split_terminator('\n').map(|line| (*t, line.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

/// Every `reference` in a document, at any depth.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("reference") {
                found.push(reference.clone());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| references(element, found)),
        _ => {}
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for (folder, seed) in folders.iter().zip([5, 5, 6]) {
        generate(GenerateOptions::patients(seed, 4), folder.path());
    }
    let [first, again, other] = [0, 1, 2].map(|i| lines(folders[i].path()));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn one_patient_is_enough_for_every_type() {
    for seed in 1..=20 {
        let folder = tempfile::tempdir().unwrap();
        let options = GenerateOptions { resources: Some(85), ..GenerateOptions::patients(seed, 1) };
        let report = generate(options, folder.path());
        assert_eq!(report.by_type.keys().copied().collect::<Vec<_>>(), ResourceType::USCDI, "seed {seed}");
        assert_eq!(report.resources, 85);
        assert_eq!(report.by_type[&ResourceType::Patient], 1);
    }
}

#[test]
fn every_line_is_a_resource_with_an_id_of_its_own_and_references_that_resolve() {
    let folder = tempfile::tempdir().unwrap();
    let report = generate(GenerateOptions::patients(11, 30), folder.path());
    let lines = lines(folder.path());
    assert_eq!(lines.len() as u64, report.resources);
    assert_eq!(lines.iter().map(|(_, line)| line.len() as u64 + 1).sum::<u64>(), report.bytes);
    let (mut ids, mut referenced) = (BTreeSet::new(), Vec::new());
    for (t, line) in &lines {
        let document: Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["resourceType"], t.name());
        let id = document["id"].as_str().unwrap();
        assert!(headgate_domain::ids::is_fhir_id(id), "{id}");
        assert!(ids.insert(format!("{t}/{id}")), "{t}/{id} twice");
        references(&document, &mut referenced);
    }
    assert!(referenced.len() > lines.len());
    for reference in referenced {
        assert!(ids.contains(&reference), "{reference} does not resolve");
    }
}

#[test]
fn a_set_that_is_cut_short_still_resolves() {
    for resources in [300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310] {
        let folder = tempfile::tempdir().unwrap();
        generate(GenerateOptions::resources(2, resources), folder.path());
        let lines = lines(folder.path());
        assert_eq!(lines.len() as u64, resources);
        let mut referenced = Vec::new();
        let ids: BTreeSet<String> = lines
            .iter()
            .map(|(t, line)| {
                let document: Value = serde_json::from_str(line).unwrap();
                references(&document, &mut referenced);
                format!("{t}/{}", document["id"].as_str().unwrap())
            })
            .collect();
        assert!(referenced.iter().all(|reference| ids.contains(reference)));
    }
}

#[test]
fn documents_have_what_us_core_requires() {
    let required: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("AllergyIntolerance", &["code", "patient", "clinicalStatus", "verificationStatus"][..]),
        ("CarePlan", &["status", "intent", "category", "subject", "text"]),
        ("CareTeam", &["subject", "participant", "status"]),
        ("Condition", &["category", "code", "subject", "clinicalStatus"]),
        ("Device", &["type", "patient", "udiCarrier"]),
        ("DiagnosticReport", &["status", "category", "code", "subject", "effectiveDateTime", "issued"]),
        ("DocumentReference", &["status", "type", "category", "subject", "content"]),
        ("Encounter", &["status", "class", "type", "subject", "period"]),
        ("Goal", &["lifecycleStatus", "description", "subject"]),
        ("Immunization", &["status", "vaccineCode", "patient", "occurrenceDateTime", "primarySource"]),
        ("Location", &["name", "status", "address"]),
        ("Medication", &["code"]),
        ("MedicationRequest", &["status", "intent", "subject", "requester", "authoredOn"]),
        ("Observation", &["status", "category", "code", "subject", "effectiveDateTime"]),
        ("Organization", &["active", "name", "identifier"]),
        ("Patient", &["identifier", "name", "gender", "birthDate", "extension"]),
        ("Practitioner", &["identifier", "name"]),
        ("PractitionerRole", &["practitioner", "organization", "code", "specialty"]),
        ("Procedure", &["status", "code", "subject", "performedPeriod"]),
        ("Provenance", &["target", "recorded", "agent"]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    generate(GenerateOptions::patients(1, 10), folder.path());
    for (t, line) in lines(folder.path()) {
        let document: Value = serde_json::from_str(&line).unwrap();
        for element in required[t.name()] {
            assert!(!document[element].is_null(), "a {t} without {element}");
        }
        assert!(document["meta"]["lastUpdated"].is_string());
    }
}

#[test]
fn the_documents_hold_what_breaks_careless_code() {
    let folder = tempfile::tempdir().unwrap();
    generate(GenerateOptions::patients(1, 40), folder.path());
    let all: String = lines(folder.path()).into_iter().map(|(_, line)| line).collect();
    for needle in ["\\\"", "\\\\", "\\n", "\\t", "\u{2028}", "\u{301}", "王", r#""value":5.10,"#] {
        assert!(all.contains(needle), "no {needle:?} in the documents");
    }
}

#[test]
fn long_lines_are_as_long_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let options = GenerateOptions { line_bytes: Some(50_000), ..GenerateOptions::resources(1, 200) };
    generate(options, folder.path());
    for (t, line) in lines(folder.path()) {
        assert_eq!(line.len(), 50_000, "{t}");
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{t}");
    }
}

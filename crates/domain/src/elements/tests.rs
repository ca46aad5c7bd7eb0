use super::*;

const TAG: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

fn of(items: &[&str]) -> Elements {
    let mut elements = Elements::default();
    for item in items {
        elements.add(item).unwrap_or_else(|e| panic!("{item}: {e}"));
    }
    elements
}

/// The reduced resource, with `TAG` in place of the tag.
fn reduced(resource_type: ResourceType, items: &[&str], line: &str) -> String {
    let mut out = b">".to_vec();
    of(items).projection(resource_type).unwrap().write(line.as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    serde_json::from_str::<serde_json::Value>(&text[1..]).expect(&text);
    text[1..].replace(TAG, "TAG")
}

#[test]
fn listed_and_mandatory_elements_stay_in_their_order() {
    let line = r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"1"},"text":{"status":"empty"},"status":"final","category":[],"code":{"text":"Puls"},"subject":{"reference":"Patient/1"},"valueQuantity":{"value":1.50}}"#;
    assert_eq!(
        reduced(ResourceType::Observation, &["subject", "id"], line),
        r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[TAG]},"status":"final","code":{"text":"Puls"},"subject":{"reference":"Patient/1"}}"#
    );
    assert_eq!(
        reduced(ResourceType::Observation, &["Observation.value"], line),
        r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[TAG]},"status":"final","code":{"text":"Puls"},"valueQuantity":{"value":1.50}}"#
    );
}

#[test]
fn resources_stay_whole_unless_an_item_concerns_their_type() {
    assert!(
        Elements::default().is_empty() && Elements::default().projection(ResourceType::Patient).is_none()
    );
    let typed = of(&["Patient.name"]);
    assert!(typed.projection(ResourceType::Patient).is_some());
    assert!(typed.projection(ResourceType::Observation).is_none());
    assert!(of(&["birthDate"]).projection(ResourceType::Observation).is_some());
    let line = r#"{"resourceType":"Patient","name":[],"gender":"male","birthDate":"1980"}"#;
    let both = ["Patient.name", "Practitioner.gender", "birthDate"];
    assert_eq!(
        reduced(ResourceType::Patient, &both, line),
        r#"{"resourceType":"Patient","meta":{"tag":[TAG]},"name":[],"birthDate":"1980"}"#
    );
}

#[test]
fn what_is_said_of_a_primitive_goes_with_it() {
    let line = r#"{"id":"p","_id":{"extension":[]},"_birthDate":{"extension":[1]},"_gender":{},"gender":"male","birthDate":"1980"}"#;
    assert_eq!(
        reduced(ResourceType::Patient, &["birthDate"], line),
        r#"{"id":"p","meta":{"tag":[TAG]},"_id":{"extension":[]},"_birthDate":{"extension":[1]},"birthDate":"1980"}"#
    );
}

#[test]
fn an_element_of_a_choice_is_named_in_three_ways() {
    let line = r#"{"id":"o","valueString":"a","_valueString":{},"valueQuantity":{},"valueSet":1,"values":2,"effectiveDateTime":"2024"}"#;
    let whole = r#"{"id":"o","meta":{"tag":[TAG]},"valueString":"a","_valueString":{},"valueQuantity":{},"valueSet":1}"#;
    assert_eq!(reduced(ResourceType::Observation, &["value"], line), whole);
    assert_eq!(reduced(ResourceType::Observation, &["value[x]"], line), whole);
    assert_eq!(
        reduced(ResourceType::Observation, &["valueString", "Observation.effectiveDateTime"], line),
        r#"{"id":"o","meta":{"tag":[TAG]},"valueString":"a","_valueString":{},"effectiveDateTime":"2024"}"#
    );
    let request =
        r#"{"medicationReference":{"reference":"Medication/1"},"reportedBoolean":true,"statusReason":{}}"#;
    assert_eq!(
        reduced(ResourceType::MedicationRequest, &["id"], request),
        r#"{"meta":{"tag":[TAG]},"medicationReference":{"reference":"Medication/1"}}"#
    );
}

#[test]
fn meta_keeps_its_members_and_is_tagged_once() {
    for (meta, expected) in [
        (r#"{}"#, r#"{"tag":[TAG]}"#),
        (r#"{"tag":[]}"#, r#"{"tag":[TAG]}"#),
        (r#"{"tag":[ ]}"#, r#"{"tag":[TAG]}"#),
        (r#"{"tag":null}"#, r#"{"tag":[TAG]}"#),
        (r#"null"#, r#"{"tag":[TAG]}"#),
        (r#"{"tag":[{"code":"a]"}],"profile":["p"]}"#, r#"{"tag":[{"code":"a]"},TAG],"profile":["p"]}"#),
        (r#"{"t\u0061g":[{"code":"SUBSETTED"}]}"#, r#"{"tag":[{"code":"SUBSETTED"},TAG]}"#),
        (
            r#"{"extension":[{"tag":[]}],"versionId":"\"1\""}"#,
            r#"{"extension":[{"tag":[]}],"versionId":"\"1\"","tag":[TAG]}"#,
        ),
    ] {
        let found = reduced(ResourceType::Patient, &["id"], &format!(r#"{{"meta":{meta},"id":"1"}}"#));
        assert_eq!(found, format!(r#"{{"meta":{expected},"id":"1"}}"#));
    }
    let tagged = r#"{"tag":[{"code":"SUBSETTED","display":"x","system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"}]}"#;
    let line = format!(r#"{{"id":"1","meta":{tagged}}}"#);
    assert_eq!(reduced(ResourceType::Patient, &["id"], &line), line);
}

#[test]
fn a_missing_meta_comes_after_the_id() {
    for (line, expected) in [
        (
            r#"{"resourceType":"Patient","id":"1","name":[]}"#,
            r#"{"resourceType":"Patient","id":"1","meta":{"tag":[TAG]},"name":[]}"#,
        ),
        (
            r#"{"id":"1","resourceType":"Patient"}"#,
            r#"{"id":"1","meta":{"tag":[TAG]},"resourceType":"Patient"}"#,
        ),
        (
            r#"{"resourceType":"Patient","name":[]}"#,
            r#"{"resourceType":"Patient","meta":{"tag":[TAG]},"name":[]}"#,
        ),
        (r#"{"name":[]}"#, r#"{"meta":{"tag":[TAG]},"name":[]}"#),
        (r#"{ }"#, r#"{"meta":{"tag":[TAG]}}"#),
    ] {
        assert_eq!(reduced(ResourceType::Patient, &["name"], line), expected);
    }
}

#[test]
fn values_are_copied_as_they_stand_and_names_are_decoded() {
    let line = "{\"n\\u0061me\": [ { \"family\" : \"M\\u00fcller \\\"x\\\" {},[]\" } ] ,\t\"gender\":1e2, \"größe\":1, \"_\":2}\n";
    assert_eq!(
        reduced(ResourceType::Patient, &["name", "gender"], line),
        r#"{"meta":{"tag":[TAG]},"name":[ { "family" : "M\u00fcller \"x\" {},[]" } ],"gender":1e2}"#
    );
}

#[test]
fn what_changes_the_meaning_of_the_rest_stays() {
    let line = r#"{"implicitRules":"u","modifierExtension":[{}],"extension":[{}],"language":"de"}"#;
    assert_eq!(
        reduced(ResourceType::Patient, &["id"], line),
        r#"{"meta":{"tag":[TAG]},"implicitRules":"u","modifierExtension":[{}]}"#
    );
}

#[test]
fn contained_resources_stay_where_they_are_referred_to() {
    let contained = r##""contained":[{"resourceType":"Medication","id":"m"}]"##;
    let line = format!(r##"{{{contained},"medicationReference":{{"reference":"#m"}},"note":[]}}"##);
    let expected =
        format!(r##"{{"meta":{{"tag":[TAG]}},{contained},"medicationReference":{{"reference":"#m"}}}}"##);
    assert_eq!(reduced(ResourceType::MedicationRequest, &["id"], &line), expected);

    let line = format!(r##"{{{contained},"requester":{{"reference":"#m"}},"status":"active"}}"##);
    assert_eq!(
        reduced(ResourceType::MedicationRequest, &["id"], &line),
        r#"{"meta":{"tag":[TAG]},"status":"active"}"#
    );
}

#[test]
fn what_is_not_one_object_is_an_error_and_writes_nothing() {
    let projection = of(&["id"]).projection(ResourceType::Patient).unwrap();
    for broken in ["", "[]", "null", r#"{"id":"1""#, r#"{"id":"1"} {}"#, r#"{"id":1,}"#, "{\"id\":\"\n\"}"] {
        let mut out = vec![1];
        assert_eq!(projection.write(broken.as_bytes(), &mut out), Err(NotAnObject), "{broken}");
        assert_eq!(out, [1]);
    }
}

#[test]
fn items_that_no_type_has_are_refused() {
    use ElementsError as E;
    let refused = |item: &str| Elements::default().add(item).expect_err(item);
    let named = |name: &str| name.to_owned();
    for (item, expected) in [
        ("", E::Empty),
        (" ", E::Empty),
        ("Patient.name.family", E::NotRoot(named("Patient.name.family"))),
        ("name.family", E::NotRoot(named("name.family"))),
        (".", E::NotRoot(named("."))),
        ("Missing.name", E::UnknownType(named("Missing.name"))),
        ("PATIENT.name", E::UnknownType(named("PATIENT.name"))),
        ("Patient.", E::UnknownElement(named("Patient."))),
        ("Patient.status", E::UnknownElement(named("Patient.status"))),
        ("Patient.name[x]", E::UnknownElement(named("Patient.name[x]"))),
        ("Patient.[x]", E::UnknownElement(named("Patient.[x]"))),
        ("Name", E::UnknownElement(named("Name"))),
        ("_birthDate", E::UnknownElement(named("_birthDate"))),
        ("valueAttachment", E::UnknownElement(named("valueAttachment"))),
        ("valuequantity", E::UnknownElement(named("valuequantity"))),
        ("valueSTRING", E::UnknownElement(named("valueSTRING"))),
        ("Mary Smith", E::UnknownElement(named("a name"))),
        ("é", E::UnknownElement(named("a name"))),
    ] {
        assert_eq!(refused(item), expected, "{item}");
    }
}

#[test]
fn elements_are_kept_as_a_list_of_texts() {
    let elements =
        of(&["id", " Patient.name ", "value[x]", "Observation.valueQuantity", "resourceType", "id"]);
    let json = serde_json::to_string(&elements).unwrap();
    assert_eq!(json, r#"["id","Patient.name","value[x]","Observation.valueQuantity","resourceType"]"#);
    assert_eq!(serde_json::from_str::<Elements>(&json).unwrap(), elements);
    assert!(serde_json::from_str::<Elements>(r#"["Patient.status"]"#).is_err());
}

#[test]
fn the_table_has_the_mandatory_elements_of_fhir() {
    // One root element of the base specification per type is enough to see that no type has slipped.
    for (resource_type, mandatory) in [
        (ResourceType::AllergyIntolerance, "patient"),
        (ResourceType::CarePlan, "intent"),
        (ResourceType::Condition, "subject"),
        (ResourceType::Coverage, "payor"),
        (ResourceType::DiagnosticReport, "code"),
        (ResourceType::DocumentReference, "content"),
        (ResourceType::Encounter, "class"),
        (ResourceType::Goal, "description"),
        (ResourceType::Immunization, "occurrenceString"),
        (ResourceType::MedicationDispense, "medicationCodeableConcept"),
        (ResourceType::Provenance, "agent"),
        (ResourceType::QuestionnaireResponse, "status"),
        (ResourceType::RelatedPerson, "patient"),
        (ResourceType::ServiceRequest, "intent"),
    ] {
        let line = format!(r#"{{"{mandatory}":1,"language":"de"}}"#);
        assert_eq!(
            reduced(resource_type, &["id"], &line),
            format!(r#"{{"meta":{{"tag":[TAG]}},"{mandatory}":1}}"#)
        );
    }
}

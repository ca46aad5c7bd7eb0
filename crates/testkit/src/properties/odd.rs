//! Resources of shapes that generated ones do not have: open periods, dates of every precision, codings without
//! system or code, references in every spelling, escapes, and rows of a patient's type without a patient.

use anyhow::{Context as _, Result};
use headgate_domain::ResourceType;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

/// Adds them to plain tables whose bodies have the given SQL type. They belong to these patients in turn.
pub(super) async fn add(ehr: &PgPool, sql_type: &str, patients: &[String]) -> Result<()> {
    for (n, (resource_type, body)) in bodies().into_iter().enumerate() {
        let t: ResourceType = resource_type.parse()?;
        let id = format!("odd-{n}");
        let patient = t.is_patient_owned().then(|| patients[n % patients.len()].clone());
        let text = finished(body, resource_type, &id, patient.as_deref())?;
        // The third row of a patient's type belongs to nobody.
        let owner = patient.filter(|_| resource_type != "Observation" || n % 3 != 0);
        let sql = format!(
            "INSERT INTO {DEFAULT_SCHEMA}.{} (id, patient_id, last_updated, resource)
             VALUES ($1, $2, clock_timestamp(), $3::{sql_type})",
            t.relation()
        );
        sqlx::query(AssertSqlSafe(sql)).bind(&id).bind(owner).bind(text).execute(ehr).await?;
    }
    Ok(())
}

/// Rows of a patient's type without a patient are allowed for Observation.
pub(super) async fn allow(ehr: &PgPool) -> Result<()> {
    let sql = format!("ALTER TABLE {DEFAULT_SCHEMA}.observation ALTER COLUMN patient_id DROP NOT NULL");
    sqlx::query(AssertSqlSafe(sql)).execute(ehr).await?;
    Ok(())
}

/// Adds type, id and patient, and hides some characters of its texts in escapes.
fn finished(mut body: Value, resource_type: &str, id: &str, patient: Option<&str>) -> Result<String> {
    let members = body.as_object_mut().context("a body is an object")?;
    members.insert("resourceType".into(), resource_type.into());
    members.insert("id".into(), id.into());
    if let Some(patient) = patient {
        let member = match resource_type {
            "AllergyIntolerance" | "Immunization" | "Device" => "patient",
            _ => "subject",
        };
        let spellings = [
            format!("Patient/{patient}"),
            format!("https://ehr.example.org/fhir/Patient/{patient}"),
            format!("Patient/{patient}/_history/3"),
        ];
        let spelling = &spellings[id.len() % 3];
        members.entry(member).or_insert_with(|| json!({ "reference": spelling }));
    }
    Ok(body.to_string().replace("hide-", r"h\u0069de\u002d").replace("/hidden", r"\/hidden"))
}

fn coded(system: Option<&str>, code: Option<&str>) -> Value {
    let mut coding = json!({ "display": "odd" });
    if let Some(system) = system {
        coding["system"] = system.into();
    }
    if let Some(code) = code {
        coding["code"] = code.into();
    }
    json!({ "coding": [coding] })
}

fn bodies() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for effective in [
        json!({ "effectiveDateTime": "2011" }),
        json!({ "effectiveDateTime": "2011-03" }),
        json!({ "effectiveDateTime": "2011-03-31" }),
        json!({ "effectiveDateTime": "2011-03-31T23:30:00-02:00" }),
        json!({ "effectiveInstant": "2011-03-31T23:59:59.999Z" }),
        json!({ "effectivePeriod": { "start": "2011-03-31" } }),
        json!({ "effectivePeriod": { "end": "2011-03-31T12:00:00Z" } }),
        json!({ "effectivePeriod": { "start": "2011-03-01", "end": "2011-04" } }),
        json!({ "effectiveTiming": { "event": ["2011-03-30T01:00:00Z", "2011-04-02T01:00:00Z"] } }),
        json!({ "effectiveTiming": { "repeat": { "boundsPeriod": { "start": "2011-02", "end": "2011-05" } } } }),
        json!({}),
    ] {
        let mut body = effective;
        body["status"] = "final".into();
        body["code"] = coded(Some("http://loinc.org"), Some("hide-8867-4"));
        all.push(("Observation", body));
    }
    for code in [
        coded(None, Some("bare")),
        coded(Some("http://x.example/a|b"), Some("c,d$e")),
        coded(Some("http://x.example/?a=1&b=2"), Some("100%")),
        coded(Some("http://x.example/hidden"), None),
        coded(Some("http://x.example/hidden"), Some("a b+c")),
        json!({ "text": "text alone" }),
        json!({ "coding": [] }),
        json!({ "coding": [{ "code": "first" }, { "system": "http://y.example", "code": "Ünï" }] }),
    ] {
        all.push(("Observation", json!({ "status": "amended", "code": code })));
        all.push(("Procedure", json!({ "status": "not-done", "code": code })));
    }
    for onset in [
        json!({ "onsetString": "in childhood" }),
        json!({ "onsetAge": { "value": 7, "unit": "a" } }),
        json!({ "onsetDateTime": "1999-12", "abatementPeriod": { "start": "2000-01-01" } }),
        json!({ "onsetPeriod": { "end": "1999" }, "abatementDateTime": "2000" }),
    ] {
        all.push(("Condition", onset));
    }
    for period in [
        json!({}),
        json!({ "period": { "start": "2010-05-05T10:00:00+02:00" } }),
        json!({ "period": { "end": "2010-05-05" } }),
        json!({ "period": { "start": "2010-05-05T08:00:00Z", "end": "2010-05-05T08:00:00.500Z" } }),
    ] {
        let mut body = period;
        body["status"] = "planned".into();
        body["class"] = json!({ "code": "AMB" });
        body["location"] =
            json!([{ "location": { "reference": "Location/odd-l" } }, { "location": { "display": "x" } }]);
        all.push(("Encounter", body));
    }
    all.push((
        "AllergyIntolerance",
        json!({ "category": ["food", "medication"], "code": coded(None, Some("x")),
        "reaction": [{ "substance": coded(Some("http://z.example"), Some("nut")) }, {}] }),
    ));
    all.push((
        "Goal",
        json!({ "lifecycleStatus": "active", "description": { "text": "y" },
        "target": [{ "dueDate": "2030-01-01" }, { "dueDate": "2031" }, { "dueDuration": { "value": 1 } }] }),
    ));
    all.push(("Immunization", json!({ "status": "completed", "occurrenceString": "as a child" })));
    all.push((
        "MedicationRequest",
        json!({ "status": "active", "intent": "order",
        "medicationReference": { "reference": "Medication/odd-m" } }),
    ));
    all.push(("Organization", json!({ "active": false, "identifier": [{ "value": "no system" }, {}] })));
    all.push(("Practitioner", json!({ "active": true, "gender": "unknown" })));
    all
}

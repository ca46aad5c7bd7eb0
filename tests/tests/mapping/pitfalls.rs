//! What is easily done wrong on the way from rows to resources, each proved on a real export.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use headgate_testkit::domain::ResourceType;
use headgate_testkit::domain::practice::UsCore;
use headgate_testkit::oracle::sql_form::{SqlForm, normal_form};
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _};
use headgate_testkit::{Download, Level};
use tokio::sync::OnceCell;

use crate::clinic::{Clinic, Export, Gate, options, sql};

/// Nothing, to be compared with what came out.
const NONE: [&str; 0] = [];

// Lines and texts.

/// Texts that are hard to write on one line.
const HARD: [&str; 9] = [
    "two\nlines",
    "DOS\r\nlines",
    "a tab\there",
    "separators \u{2028} and \u{2029} of lines",
    "a next \u{85} line",
    "quote \" backslash \\ slash / end",
    r"an escape \u0000 that is none",
    "Ünïcödé and 🩺",
    r#"{"resourceType": "Patient"}"#,
];

#[tokio::test]
async fn a_resource_is_one_line_whatever_its_texts_hold() -> Result<()> {
    let clinic = Clinic::open().await?;
    for (n, text) in HARD.iter().enumerate() {
        let rows = format!(
            "INSERT INTO ehr.problem (id, patient_id, kind, text)
                 VALUES (':problem{n}', ':ann', 'health-concern', $text${text}$text$);
             INSERT INTO ehr.allergy (id, patient_id, text) VALUES (':allergy{n}', ':ann', 'Pollen');
             INSERT INTO ehr.allergy_reaction (allergy_id, text) VALUES (':allergy{n}', $text${text}$text$);"
        );
        clinic.run(&rows).await?;
    }
    let export = clinic.export_all().await?;
    for file in export.download.section("output") {
        assert!(file.lines.iter().all(|line| !line.contains('\r')), "{}", file.name);
    }
    assert_eq!(export.download.lines("Condition").len(), HARD.len());
    assert_eq!(export.download.lines("AllergyIntolerance").len(), HARD.len());
    for (n, text) in HARD.iter().enumerate() {
        assert_eq!(export.resource("Condition", &format!(":problem{n}"))?["code"]["text"], *text);
        let allergy = export.resource("AllergyIntolerance", &format!(":allergy{n}"))?;
        assert_eq!(allergy["reaction"][0]["manifestation"][0]["text"], *text);
    }
    Ok(())
}

#[tokio::test]
async fn a_narrative_is_escaped_so_that_it_stays_the_text_it_is() -> Result<()> {
    let clinic = Clinic::open().await?;
    let narrative = "BP < 130/80 & \"low\" salt;\n<b>don't</b> </div><script>alert(1)</script> &amp;";
    clinic
        .run(&format!(
            "INSERT INTO ehr.care_plan (id, patient_id, status, narrative)
             VALUES (':plan', ':ann', 'active', $text${narrative}$text$)"
        ))
        .await?;
    let plan = clinic.export_all().await?.resource("CarePlan", ":plan")?;
    let div = plan["text"]["div"].as_str().context("no div")?;
    let inner = div.strip_prefix("<div xmlns=\"http://www.w3.org/1999/xhtml\">").context("no <div>")?;
    let inner = inner.strip_suffix("</div>").context("no </div>")?;
    assert!(!inner.contains(['<', '>', '"']), "{inner}");
    let mut text = inner.to_owned();
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    {
        text = text.replace(entity, character);
    }
    assert_eq!(text, narrative);
    Ok(())
}

#[tokio::test]
async fn blanks_around_codes_and_texts_are_cut() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, snomed, icd10, text)
             VALUES (':problem', ':ann', 'health-concern', ' 38341003', E'I10 \\t', E' Hypertension \\r\\n')",
        )
        .await?;
    let code = &clinic.export_all().await?.resource("Condition", ":problem")?["code"];
    let coding = json!([
        { "system": "http://snomed.info/sct", "code": "38341003" },
        { "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I10" },
    ]);
    assert_eq!(*code, json!({ "coding": coding, "text": "Hypertension" }));
    Ok(())
}

/// Sets all columns of texts that fulfil a condition to `text`, but for those whose values are checked or differ.
fn fill_texts(text: &str, condition: &str) -> String {
    format!(
        "DO $do$
         DECLARE
             statement text;
         BEGIN
             SET LOCAL session_replication_role = replica;
             FOR statement IN
                 SELECT format('UPDATE ehr.%I SET %s', relname, string_agg(format('%I = %L', attname, {text}), ', '))
                 FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
                 WHERE relnamespace = 'ehr'::regnamespace AND relkind = 'r' AND attnum > 0
                   AND atttypid = 'text'::regtype AND {condition}
                   AND NOT EXISTS (SELECT FROM pg_constraint
                                   WHERE conrelid = pg_class.oid AND contype IN ('c', 'u') AND attnum = ANY (conkey))
                   AND relname NOT IN ('audit_log', 'deleted_record')
                 GROUP BY relname
             LOOP
                 EXECUTE statement;
             END LOOP;
         END $do$"
    )
}

#[tokio::test]
async fn empty_and_blank_texts_leave_no_trace() -> Result<()> {
    let clinic = Clinic::builder().patients(25).open().await?;
    for text in ["''", "'  '", "E' \\t\\r\\n '"] {
        clinic.run(&fill_texts(text, "NOT attnotnull")).await?;
        let export = clinic.export_all().await?;
        assert_clean(&export.download)?;
        assert!(export.download.by_type().len() > 20);
    }
    Ok(())
}

#[tokio::test]
async fn control_characters_that_fhir_forbids_are_dropped() -> Result<()> {
    let clinic = Clinic::builder().patients(25).open().await?;
    clinic.run(&fill_texts("E'be\\x01fo\\x0bre\\x1f'", "true")).await?;
    let export = clinic.export_all().await?;
    assert_clean(&export.download)?;
    assert!(export.download.lines("Patient")[0].contains("before"));
    Ok(())
}

/// Nothing in any resource is null, empty or blank, and no text has a control character but tab, CR and LF.
fn assert_clean(download: &Download) -> Result<()> {
    let mut dirty: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (resource_type, lines) in download.by_type() {
        for line in lines {
            collect_dirt(&resource_type, &serde_json::from_str(&line)?, &mut |path| {
                dirty.entry(path).or_insert((0, line.clone())).0 += 1;
            });
        }
    }
    let first = dirty.values().next().map(|(_, line)| line.clone()).unwrap_or_default();
    let paths: Vec<String> =
        dirty.iter().map(|(path, (count, _))| format!("{path} ({count} times)")).collect();
    ensure!(dirty.is_empty(), "{}\n{first}", paths.join("\n"));
    Ok(())
}

fn collect_dirt(path: &str, value: &Value, dirt: &mut impl FnMut(String)) {
    let forbidden = |c: char| c < ' ' && !matches!(c, '\t' | '\r' | '\n');
    match value {
        Value::Null => dirt(format!("{path}: null")),
        Value::String(text) if text.trim().is_empty() => dirt(format!("{path}: blank")),
        Value::String(text) if text.contains(forbidden) => dirt(format!("{path}: control character")),
        Value::Array(elements) if elements.is_empty() => dirt(format!("{path}: []")),
        Value::Object(members) if members.is_empty() => dirt(format!("{path}: {{}}")),
        Value::Array(elements) => elements.iter().for_each(|e| collect_dirt(&format!("{path}[]"), e, dirt)),
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| collect_dirt(&format!("{path}.{name}"), member, dirt));
        }
        _ => {}
    }
}

// Numbers and dates.

#[tokio::test]
async fn decimals_keep_the_digits_they_have() -> Result<()> {
    let clinic = Clinic::open().await?;
    let numbers =
        ["7.10", "0.30", "120", "100.0", "0.00", "-0.50", "0.0000001", "12345678901234567890.1234567890"];
    clinic
        .run("INSERT INTO ehr.lab_report (id, patient_id, text, status) VALUES (':panel', ':ann', 'Panel', 'final')")
        .await?;
    for (n, number) in numbers.iter().enumerate() {
        clinic
            .run(&format!(
                "INSERT INTO ehr.lab_result (id, lab_report_id, patient_id, loinc, text, status, value_num, ref_low)
                 VALUES (':result{n}', ':panel', ':ann', '2345-7', 'Glucose', 'final', {number}, {number})"
            ))
            .await?;
    }
    clinic
        .run(
            "INSERT INTO ehr.vital_set (id, patient_id, taken_at, weight_kg, spo2, o2_flow)
                 VALUES (':vitals', ':ann', now(), 70, 98, 0);
             INSERT INTO ehr.questionnaire_response (id, patient_id, questionnaire, status, authored_at)
                 VALUES (':form', ':ann', 'http://loinc.org/q/44249-1', 'completed', now());
             INSERT INTO ehr.questionnaire_item (questionnaire_response_id, link_id, text, value_num)
                 VALUES (':form', '/1', 'How much', 2.50)",
        )
        .await?;
    let export = clinic.export_all().await?;
    for (n, number) in numbers.iter().enumerate() {
        let line = export.line("Observation", &format!(":result{n}"))?;
        assert_eq!(line.matches(&format!("\"value\":{number},")).count(), 2, "{number}: {line}");
    }
    assert!(export.line("Observation", ":vitals-weight")?.contains("\"value\":70.00,"));
    let saturation = export.line("Observation", ":vitals-spo2")?;
    assert!(saturation.contains("\"value\":98.0,") && saturation.contains("\"value\":0.0,"), "{saturation}");
    let form = export.line("QuestionnaireResponse", ":form")?.replace(' ', "");
    assert!(form.contains("\"valueDecimal\":2.50}"), "{form}");
    Ok(())
}

#[tokio::test]
async fn a_date_has_no_zone_and_stays_what_it_is() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "UPDATE ehr.patient SET birth_date = '1970-03-08', name_since = '2026-11-01' WHERE id = ':ann';
             INSERT INTO ehr.patient_telecom (patient_id, kind, value, valid_from, valid_to)
                 VALUES (':ann', 'phone', '555-0100', '2019-12-31', '2020-02-29');
             INSERT INTO ehr.care_plan (id, patient_id, status, narrative, starts, ends)
                 VALUES (':plan', ':ann', 'active', 'Walk', '1899-12-31', '2026-03-08')",
        )
        .await?;
    let export = clinic.export_all().await?;
    let ann = export.resource("Patient", ":ann")?;
    assert_eq!(ann["birthDate"], "1970-03-08");
    assert_eq!(ann["name"][0]["period"], json!({ "start": "2026-11-01" }));
    assert_eq!(ann["telecom"][0]["period"], json!({ "start": "2019-12-31", "end": "2020-02-29" }));
    let period = &export.resource("CarePlan", ":plan")?["period"];
    assert_eq!(*period, json!({ "start": "1899-12-31", "end": "2026-03-08" }));
    Ok(())
}

#[tokio::test]
async fn a_partial_date_stays_partial() -> Result<()> {
    let onset =
        "CASE text WHEN 'year' THEN '2019' WHEN 'month' THEN '2019-05' ELSE to_char(onset, 'YYYY-MM-DD') END";
    let clinic = Clinic::builder().column("condition", "onset", onset).open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, text, onset) VALUES
                 (':first', ':ann', 'health-concern', 'year', NULL),
                 (':second', ':ann', 'health-concern', 'month', NULL),
                 (':third', ':ann', 'health-concern', 'day', '2019-05-06')",
        )
        .await?;
    let export = clinic.export_all().await?;
    for (name, onset) in [(":first", "2019"), (":second", "2019-05"), (":third", "2019-05-06")] {
        assert_eq!(export.resource("Condition", name)?["onsetDateTime"], onset);
    }
    Ok(())
}

/// A moment as an EHR in New York may have it, and the same in UTC.
const MOMENTS: [(&str, &str); 10] = [
    // Clocks go forward on March 8th 2026, from 2 to 3.
    ("timestamptz '2026-03-08 01:59:59 America/New_York'", "2026-03-08T06:59:59Z"),
    ("timestamptz '2026-03-08 03:00:00 America/New_York'", "2026-03-08T07:00:00Z"),
    // And back on November 1st, from 2 to 1: half past one is twice.
    ("timestamptz '2026-11-01 01:30:00 EDT'", "2026-11-01T05:30:00Z"),
    ("timestamptz '2026-11-01 01:30:00 EST'", "2026-11-01T06:30:00Z"),
    ("timestamptz '2026-11-01 02:00:00 America/New_York'", "2026-11-01T07:00:00Z"),
    // Local time without zone.
    ("timestamp '2026-07-01 09:00:00' AT TIME ZONE 'America/New_York'", "2026-07-01T13:00:00Z"),
    ("timestamp '2026-01-15 09:00:00' AT TIME ZONE 'America/New_York'", "2026-01-15T14:00:00Z"),
    ("timestamptz '2025-12-31 23:59:59.999999 America/New_York'", "2026-01-01T04:59:59Z"),
    ("timestamptz '1969-12-31 23:59:59.5+00'", "1969-12-31T23:59:59Z"),
    ("timestamptz '2024-02-29 12:00:00+05:45'", "2024-02-29T06:15:00Z"),
];

#[tokio::test]
async fn a_moment_comes_out_in_utc_and_is_right_over_both_changes_of_the_clocks() -> Result<()> {
    let clinic = Clinic::open().await?;
    for (n, (moment, _)) in MOMENTS.iter().enumerate() {
        clinic
            .run(&format!(
                "INSERT INTO ehr.encounter (id, patient_id, practice_id, visit_number, status, class_code, starts_at)
                 VALUES (':visit{n}', ':ann', ':clinic', 'V-{n}', 'finished', 'AMB', {moment})"
            ))
            .await?;
    }
    let export = clinic.export_all().await?;
    for (n, (moment, utc)) in MOMENTS.iter().enumerate() {
        let visit = export.resource("Encounter", &format!(":visit{n}"))?;
        assert_eq!(visit["period"], json!({ "start": utc }), "{moment}");
    }
    Ok(())
}

#[tokio::test]
async fn an_instant_has_milliseconds_that_are_cut_not_rounded() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.lab_report (id, patient_id, text, status, issued_at) VALUES
                 (':first', ':ann', 'Panel', 'final', '2026-05-05 12:00:00.123999-04'),
                 (':second', ':ann', 'Panel', 'final', '2026-05-05 23:59:59.999999-04'),
                 (':third', ':ann', 'Panel', 'final', '2026-05-05 12:00:00-04')",
        )
        .await?;
    let export = clinic.export_all().await?;
    for (name, instant) in [
        (":first", "2026-05-05T16:00:00.123Z"),
        (":second", "2026-05-06T03:59:59.999Z"),
        (":third", "2026-05-05T16:00:00.000Z"),
    ] {
        assert_eq!(export.resource("DiagnosticReport", name)?["issued"], instant);
    }
    let stamp = "SELECT to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
                 FROM (SELECT date_trunc('milliseconds', updated_at) AS updated_at FROM ehr.lab_report
                       WHERE id = ':first') r";
    let updated = &export.resource("DiagnosticReport", ":first")?["meta"]["lastUpdated"];
    assert_eq!([updated.as_str().context("no lastUpdated")?], clinic.rows(stamp).await?.as_slice());
    Ok(())
}

// Ids and references.

/// An export of a generated practice, made once for the tests that only look at it.
async fn generated() -> Result<&'static Generated> {
    static GENERATED: OnceCell<Generated> = OnceCell::const_new();
    GENERATED.get_or_try_init(Generated::new).await
}

struct Generated {
    export: Export,
    /// The ids of the records that have an author.
    records: BTreeSet<String>,
}

impl Generated {
    async fn new() -> Result<Self> {
        let clinic = Clinic::builder().patients(60).open().await?;
        let export = clinic.export_all().await?;
        let records = clinic.rows("SELECT record_id::text FROM ehr.record_author").await?;
        Ok(Self { export, records: records.into_iter().collect() })
    }

    /// All resources.
    fn resources(&self) -> Result<Vec<Value>> {
        let mut resources = Vec::new();
        for resource_type in self.export.download.by_type().keys() {
            resources.extend(self.export.resources(resource_type)?.into_values());
        }
        ensure!(resources.len() > 5000, "only {} resources prove nothing", resources.len());
        Ok(resources)
    }

    /// What they are referred to by: `Type/id`.
    fn addresses(&self) -> Result<BTreeSet<String>> {
        Ok(self.resources()?.iter().map(address).collect())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn address(resource: &Value) -> String {
    format!("{}/{}", text(&resource["resourceType"]), text(&resource["id"]))
}

/// All references in a value.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(elements) => elements.iter().flat_map(references).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member {
                Value::String(reference) if name == "reference" => vec![reference.as_str()],
                member => references(member),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn ids_are_legal_with_their_suffix_and_each_comes_once() -> Result<()> {
    let mut suffixes = BTreeSet::new();
    // Twice the same id is an error of `resources`.
    for resource in generated().await?.resources()? {
        let id = text(&resource["id"]);
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        assert!(!id.is_empty() && id.len() <= 64 && id.bytes().all(legal), "{id}");
        suffixes.insert(id[36..].to_owned());
    }
    assert!(
        suffixes.contains("") && suffixes.contains("-bp") && suffixes.contains("-head-pct"),
        "{suffixes:?}"
    );
    Ok(())
}

#[tokio::test]
async fn references_are_relative_and_lead_to_resources_of_the_export() -> Result<()> {
    let addresses = generated().await?.addresses()?;
    let mut count = 0;
    let mut dangling = BTreeMap::new();
    for resource in generated().await?.resources()? {
        // Within the resource.
        for reference in references(&resource).into_iter().filter(|reference| !reference.starts_with('#')) {
            count += 1;
            if !addresses.contains(reference) {
                dangling.insert(reference.to_owned(), address(&resource));
            }
        }
    }
    assert_eq!(dangling, BTreeMap::new(), "of {count} references");
    assert!(count > 10_000, "{count} references prove nothing");
    Ok(())
}

#[tokio::test]
async fn nothing_in_a_generated_practice_is_null_empty_or_blank() -> Result<()> {
    assert_clean(&generated().await?.export.download)
}

#[tokio::test]
async fn an_illegal_id_is_told_in_the_error_file_and_the_export_goes_on() -> Result<()> {
    let id = "CASE text WHEN 'under_score' THEN 'a_' || id WHEN 'too long' THEN repeat('a', 65)
                        WHEN 'longest' THEN repeat('a', 64) ELSE id END";
    let clinic = Clinic::builder().column("condition", "id", id).open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, text) VALUES
                 (':first', ':ann', 'health-concern', 'plain'),
                 (':second', ':ann', 'health-concern', 'under_score'),
                 (':third', ':ann', 'health-concern', 'too long'),
                 (':fourth', ':ann', 'health-concern', 'longest'),
                 (':fifth', ':ann', 'health-concern', 'plain')",
        )
        .await?;
    let export = clinic.export_all().await?;
    export.assert_has("Condition", &[":first", &"a".repeat(64), ":fifth"])?;
    assert_told(&export, "2 Condition resource")
}

#[tokio::test]
async fn a_resource_whose_id_is_too_long_with_its_suffix_is_told_and_the_others_of_its_row_come_out()
-> Result<()> {
    let clinic = Clinic::builder().column("observation_vitals", "id", "id || repeat('a', 22)").open().await?;
    clinic
        .run(
            "INSERT INTO ehr.vital_set (id, patient_id, taken_at, heart_rate, weight_kg, head_pct)
             VALUES (':vitals', ':ann', now(), 66, 70, 50)",
        )
        .await?;
    let export = clinic.export_all().await?;
    // 58 characters and `-hr` are legal, with `-weight` or `-head-pct` they are too many.
    export.assert_has("Observation", &[&format!("{}{}-hr", sql(":vitals"), "a".repeat(22))])?;
    assert_told(&export, "2 Observation resource")
}

/// The error file says so much, and nothing else.
fn assert_told(export: &Export, diagnostics: &str) -> Result<()> {
    let outcomes = export.download.outcomes()?;
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    let told = text(&outcomes[0]["issue"][0]["diagnostics"]);
    assert!(told.starts_with(diagnostics) && told.contains("its id is not a FHIR id"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_name_stands_in_one_resource_only_so_that_a_new_one_sends_no_other() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "UPDATE ehr.provider SET last_name = 'Zyzzyva' WHERE id = ':doctor';
             INSERT INTO ehr.encounter (id, patient_id, practice_id, provider_id, visit_number, status, class_code)
                 VALUES (':visit', ':ann', ':clinic', ':doctor', 'V-1', 'finished', 'AMB')",
        )
        .await?;
    let first = clinic.export_all().await?;
    let with_name = |lines: &[String]| lines.iter().filter(|line| line.contains("Zyzzyva")).count();
    for (resource_type, lines) in first.download.by_type() {
        assert_eq!(with_name(&lines), usize::from(resource_type == "Practitioner"), "{resource_type}");
    }
    clinic.run("UPDATE ehr.provider SET last_name = 'Gray' WHERE id = ':doctor'").await?;
    let second = clinic.export_since(&Level::System, &first).await?;
    assert_eq!(second.download.by_type().into_keys().collect::<Vec<_>>(), ["Practitioner"]);
    Ok(())
}

// Provenance and attachments.

#[tokio::test]
async fn every_record_has_one_provenance_with_author_and_transmitter_and_its_targets_are_exported()
-> Result<()> {
    let generated = generated().await?;
    let addresses = generated.addresses()?;
    let mut targets = BTreeMap::new();
    let mut records = BTreeSet::new();
    for (id, provenance) in generated.export.resources("Provenance")? {
        let mut roles = BTreeSet::new();
        for agent in provenance["agent"].as_array().context("no agent")? {
            roles.insert(text(&agent["type"]["coding"][0]["code"]));
            assert!(addresses.contains(text(&agent["who"]["reference"])), "{agent}");
        }
        assert_eq!(roles, BTreeSet::from(["author", "transmitter"]), "{id}");
        for target in references(&provenance["target"]) {
            assert!(addresses.contains(target), "{id} is of {target}, which did not come out");
            assert_eq!(targets.insert(target.to_owned(), id.clone()), None, "{target} has two");
            // A resource's id begins with the id of its record.
            records.insert(target.split_once('/').context("no id")?.1[..36].to_owned());
        }
    }
    assert_eq!(records, generated.records, "each record has one");
    let of_the_directory =
        ["Location", "Medication", "Organization", "Practitioner", "PractitionerRole", "Provenance"];
    for address in &addresses {
        let resource_type = address.split('/').next().unwrap_or_default();
        assert_eq!(targets.contains_key(address), !of_the_directory.contains(&resource_type), "{address}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_of_types_that_does_not_name_provenance_gives_none() -> Result<()> {
    let clinic = Clinic::open().await?;
    let export = clinic.export(&Level::System, &[("_type", "Patient")]).await?;
    assert_eq!(export.download.by_type().into_keys().collect::<Vec<_>>(), ["Patient"]);
    let export = clinic.export(&Level::System, &[("_type", "Patient,Provenance")]).await?;
    assert_eq!(export.download.by_type().into_keys().collect::<Vec<_>>(), ["Patient", "Provenance"]);
    Ok(())
}

/// A document with all bytes that there are.
async fn insert_document(clinic: &Clinic, name: &str, bytes: usize, url: Option<&str>) -> Result<Vec<u8>> {
    let body: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &body);
    let insert = sql(&format!(
        "INSERT INTO ehr.document (id, patient_id, practice_id, author_id, loinc, title, mime, size_bytes,
                                   is_report, report_category, report_status, body, sha1, storage_url)
         VALUES ('{name}', ':ann', ':clinic', ':doctor', '18748-4', 'Imaging', 'application/octet-stream', {bytes},
                 true, 'LP29684-5', 'final', $1, $2, $3)"
    ));
    sqlx::query(AssertSqlSafe(insert))
        .bind(&body)
        .bind(sha1.as_ref())
        .bind(url)
        .execute(clinic.practice.ehr())
        .await?;
    Ok(body)
}

/// What FHIR wants of an attachment, beside its data or address.
fn attachment_of(body: &[u8]) -> BTreeMap<&'static str, Value> {
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, body);
    BTreeMap::from([("size", body.len().into()), ("hash", BASE64_STANDARD.encode(sha1).into())])
}

#[tokio::test]
async fn a_small_attachment_goes_with_the_resource_and_decodes_to_the_same_bytes() -> Result<()> {
    let clinic = Clinic::open().await?;
    let mut bodies = Vec::new();
    // Base64 ends in each of its three ways.
    for (name, bytes) in [(":first", 9999), (":second", 10_000), (":third", 10_001)] {
        bodies.push((name, insert_document(&clinic, name, bytes, None).await?));
    }
    let export = clinic.export_all().await?;
    for (name, body) in bodies {
        let document = export.resource("DocumentReference", name)?;
        let report = export.resource("DiagnosticReport", name)?;
        for attachment in [&document["content"][0]["attachment"], &report["presentedForm"][0]] {
            assert_eq!(BASE64_STANDARD.decode(text(&attachment["data"]))?, body);
            for (member, value) in attachment_of(&body) {
                assert_eq!(attachment[member], value);
            }
            assert_eq!(attachment["url"], Value::Null);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_big_attachment_is_an_address_with_size_and_hash_if_it_has_one() -> Result<()> {
    let clinic = Clinic::open().await?;
    let url = "https://documents.practice.example/scan";
    let body = insert_document(&clinic, ":scan", 1_500_000, Some(url)).await?;
    insert_document(&clinic, ":nowhere", 1_500_000, None).await?;
    let export = clinic.export_all().await?;
    let document = export.resource("DocumentReference", ":scan")?;
    let report = export.resource("DiagnosticReport", ":scan")?;
    for attachment in [&document["content"][0]["attachment"], &report["presentedForm"][0]] {
        assert_eq!((&attachment["url"], &attachment["data"]), (&json!(url), &Value::Null));
        for (member, value) in attachment_of(&body) {
            assert_eq!(attachment[member], value);
        }
    }
    let only_here = &export.resource("DocumentReference", ":nowhere")?["content"][0]["attachment"];
    assert_eq!(BASE64_STANDARD.decode(text(&only_here["data"]))?, body);
    Ok(())
}

// Changes, as exports with `_since` see them.

#[tokio::test]
async fn rows_and_children_that_are_committed_after_an_export_come_with_the_next() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run("INSERT INTO ehr.allergy (id, patient_id, text) VALUES (':allergy', ':ann', 'Pollen')")
        .await?;
    let mut writer = clinic.writer().await?;
    let mut writing = writer.begin().await?;
    let late = sql(
        "INSERT INTO ehr.vital_set (id, patient_id, taken_at, heart_rate) VALUES (':vitals', ':ann', now(), 66);
         INSERT INTO ehr.allergy_reaction (allergy_id, text) VALUES (':allergy', 'Sneezing')",
    );
    sqlx::raw_sql(AssertSqlSafe(late)).execute(&mut *writing).await?;

    let first = clinic.export_all().await?;
    first.assert_has("Observation", &NONE)?;
    assert_eq!(first.resource("AllergyIntolerance", ":allergy")?["reaction"], Value::Null);
    writing.commit().await?;

    let second = clinic.export_since(&Level::System, &first).await?;
    second.assert_has("Observation", &[":vitals-hr"])?;
    let allergy = second.resource("AllergyIntolerance", ":allergy")?;
    assert_eq!(allergy["reaction"][0]["manifestation"][0]["text"], "Sneezing");
    let third = clinic.export_since(&Level::System, &second).await?;
    assert_eq!(third.download.by_type().len(), 0, "nothing has changed any more");
    Ok(())
}

#[tokio::test]
async fn a_change_of_a_child_row_sends_its_parent_again_as_does_its_end() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.allergy (id, patient_id, text) VALUES
                 (':allergy', ':ann', 'Pollen'), (':other', ':ann', 'Latex');
             INSERT INTO ehr.allergy_reaction (allergy_id, text) VALUES
                 (':allergy', 'Sneezing'), (':other', 'Hives');
             INSERT INTO ehr.patient_telecom (patient_id, kind, value) VALUES (':bob', 'phone', '555-0100')",
        )
        .await?;
    let first = clinic.export_all().await?;
    clinic
        .run(
            "UPDATE ehr.allergy_reaction SET text = 'Wheezing' WHERE allergy_id = ':allergy';
             DELETE FROM ehr.patient_telecom WHERE patient_id = ':bob'",
        )
        .await?;
    let second = clinic.export_since(&Level::System, &first).await?;
    second.assert_has("AllergyIntolerance", &[":allergy"])?;
    assert!(second.line("AllergyIntolerance", ":allergy")?.contains("Wheezing"));
    second.assert_has("Patient", &[":bob"])?;
    assert_eq!(second.resource("Patient", ":bob")?["telecom"], Value::Null);
    let changed = |resource_type: &str, name: &str| -> Result<bool> {
        let stamp = |export: &Export| {
            Ok::<_, anyhow::Error>(export.resource(resource_type, name)?["meta"].to_string())
        };
        Ok(stamp(&second)? > stamp(&first)?)
    };
    assert!(
        changed("AllergyIntolerance", ":allergy")? && changed("Patient", ":bob")?,
        "lastUpdated stands still"
    );
    Ok(())
}

#[tokio::test]
async fn a_deleted_record_comes_no_more_and_an_undeleted_one_comes_again() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, text)
             VALUES (':gout', ':ann', 'health-concern', 'Gout'), (':asthma', ':ann', 'health-concern', 'Asthma')",
        )
        .await?;
    let first = clinic.export_all().await?;
    first.assert_has("Condition", &[":gout", ":asthma"])?;
    clinic.run("UPDATE ehr.problem SET deleted = true WHERE id = ':gout'").await?;
    clinic.export_all().await?.assert_has("Condition", &[":asthma"])?;
    let second = clinic.export_since(&Level::System, &first).await?;
    second.assert_has("Condition", &NONE)?;
    clinic.run("UPDATE ehr.problem SET deleted = false WHERE id = ':gout'").await?;
    let third = clinic.export_since(&Level::System, &second).await?;
    third.assert_has("Condition", &[":gout"])
}

#[tokio::test]
async fn a_record_that_was_entered_in_error_comes_with_that_status() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, text, clinical_status, verification)
                 VALUES (':gout', ':ann', 'health-concern', 'Gout', 'active', 'confirmed');
             INSERT INTO ehr.vital_set (id, patient_id, taken_at, heart_rate) VALUES (':vitals', ':ann', now(), 660)",
        )
        .await?;
    let first = clinic.export_all().await?;
    clinic
        .run(
            "UPDATE ehr.problem SET verification = 'entered-in-error' WHERE id = ':gout';
             UPDATE ehr.vital_set SET entered_in_error = true WHERE id = ':vitals'",
        )
        .await?;
    let second = clinic.export_since(&Level::System, &first).await?;
    let gout = second.resource("Condition", ":gout")?;
    assert_eq!(gout["verificationStatus"]["coding"][0]["code"], "entered-in-error");
    assert_eq!(gout["clinicalStatus"], Value::Null);
    assert_eq!(second.resource("Observation", ":vitals-hr")?["status"], "entered-in-error");
    Ok(())
}

#[tokio::test]
async fn a_vital_sign_that_is_taken_out_comes_no_more_and_the_others_of_its_set_come_again() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.vital_set (id, patient_id, taken_at, heart_rate, weight_kg)
             VALUES (':vitals', ':ann', now(), 66, 70)",
        )
        .await?;
    let first = clinic.export_all().await?;
    first.assert_has("Observation", &[":vitals-hr", ":vitals-weight"])?;
    clinic.run("UPDATE ehr.vital_set SET heart_rate = NULL WHERE id = ':vitals'").await?;
    let second = clinic.export_since(&Level::System, &first).await?;
    second.assert_has("Observation", &[":vitals-weight"])
}

#[tokio::test]
async fn since_the_last_update_that_a_client_has_skips_nothing_of_the_same_millisecond() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, text) VALUES
                 (':first', ':ann', 'health-concern', 'Gout'), (':second', ':ann', 'health-concern', 'Asthma');
             ALTER TABLE ehr.problem DISABLE TRIGGER USER;
             UPDATE ehr.problem SET updated_at = '2026-05-05 12:00:00.123100Z' WHERE id = ':first';
             UPDATE ehr.problem SET updated_at = '2026-05-05 12:00:00.123900Z' WHERE id = ':second'",
        )
        .await?;
    let all = clinic.export_all().await?;
    let has = text(&all.resource("Condition", ":first")?["meta"]["lastUpdated"]).to_owned();
    assert_eq!(has, "2026-05-05T12:00:00.123Z");
    let next = clinic.export(&Level::System, &[("_type", "Condition"), ("_since", &has)]).await?;
    next.assert_has("Condition", &[":first", ":second"])?;
    let query = [("_type", "Condition"), ("_since", "2026-05-05T12:00:00.124Z")];
    clinic.export(&Level::System, &query).await?.assert_has("Condition", &NONE)
}

#[tokio::test]
async fn a_merge_moves_the_records_to_the_winner_in_exports_of_his_group() -> Result<()> {
    let clinic = Clinic::open().await?;
    clinic
        .run(
            "INSERT INTO ehr.problem (id, patient_id, kind, text) VALUES (':gout', ':ann', 'health-concern', 'Gout');
             INSERT INTO ehr.vital_set (id, patient_id, taken_at, heart_rate) VALUES (':vitals', ':ann', now(), 66)",
        )
        .await?;
    clinic.app.group(&clinic.practice, "winner", &[&sql(":bob")]).await?;
    clinic.app.group(&clinic.practice, "loser", &[&sql(":ann")]).await?;
    let (winner, loser) = (Level::Group("winner".to_owned()), Level::Group("loser".to_owned()));
    let first = clinic.export(&winner, &[]).await?;
    first.assert_has("Patient", &[":bob"])?;
    first.assert_has("Condition", &NONE)?;
    clinic.run("SELECT ehr.merge_patient(':ann', ':bob')").await?;

    let second = clinic.export_since(&winner, &first).await?;
    assert_eq!(
        second.resource("Condition", ":gout")?["subject"],
        json!({ "reference": sql("Patient/:bob") })
    );
    let pulse = second.resource("Observation", ":vitals-hr")?;
    assert_eq!(pulse["subject"], json!({ "reference": sql("Patient/:bob") }));
    second.assert_has("Patient", &NONE)?;
    assert_eq!(second.resources("Provenance")?.len(), 2, "of the two records");
    let gone = clinic.export(&loser, &[]).await?;
    for resource_type in ["Patient", "Condition", "Observation", "Provenance"] {
        gone.assert_has(resource_type, &NONE)?;
    }
    clinic.export_all().await?.assert_has("Patient", &[":bob"])
}

// Whole streams.

/// Which resources of a type a Group export has: those of the members, `$1`, the directory, and the Medication that the
/// members' resources refer to.
fn of_members(form: &SqlForm, resource_type: ResourceType) -> Result<String> {
    if resource_type != ResourceType::Medication {
        return Ok("s.patient_id IS NULL OR s.patient_id = ANY ($1)".to_owned());
    }
    let mut referred = Vec::new();
    for t in [ResourceType::MedicationRequest, ResourceType::MedicationDispense] {
        referred.push(format!(
            "SELECT q.resource #>> '{{medicationReference,reference}}' FROM ({}) q WHERE q.patient_id = ANY ($1)",
            form.query(t)?
        ));
    }
    Ok(format!("'Medication/' || (s.resource ->> 'id') IN ({})", referred.join(" UNION ALL ")))
}

#[tokio::test]
async fn a_group_export_has_exactly_the_rows_of_its_members_and_the_directory() -> Result<()> {
    let small_pages = options().set("export.shard_rows", 40).set("export.page_rows", 7);
    let clinic = Clinic::builder().app(small_pages).patients(50).open().await?;
    let all = clinic.rows("SELECT id FROM fhir_export.patient ORDER BY id").await?;
    let members: Vec<&str> = all.iter().step_by(6).map(String::as_str).collect();
    clinic.app.group(&clinic.practice, "g", &members).await?;
    let export = clinic.export(&Level::Group("g".to_owned()), &[]).await?;

    let ehr = clinic.practice.ehr();
    let form = SqlForm::of(&clinic.practice.ehr_url, UsCore::V6_1_0).await?;
    let mut with_members = 0;
    for resource_type in form.types() {
        let expected = format!(
            "SELECT s.resource::text FROM ({}) s WHERE {} ORDER BY s.resource::text COLLATE \"C\"",
            form.query(resource_type)?,
            of_members(&form, resource_type)?
        );
        let expected: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(expected)).bind(&members).fetch_all(ehr).await?;
        let lines = normal_form(ehr, &export.download.lines(resource_type.name())).await?;
        assert!(lines == expected, "{resource_type}: {} lines, expected {}", lines.len(), expected.len());
        with_members += usize::from(resource_type.is_patient_owned() && !lines.is_empty());
    }
    assert!(with_members > 15, "the members have records of {with_members} types only");
    export.assert_has("Patient", &members)
}

#[tokio::test]
async fn a_worker_that_is_killed_in_a_stream_of_vital_signs_loses_and_doubles_nothing() -> Result<()> {
    let small_files = options()
        .set("lease.duration_s", 3)
        .set("source.lock_timeout_ms", 60_000)
        .set("export.file_resources", 25)
        .set("export.page_rows", 10)
        .set("export.shard_rows", 150)
        .set("worker.shards", 2)
        .set("worker.publish_files", 1)
        .set("worker.publish_interval_ms", 10);
    let gated = Clinic::builder().column("observation_vitals", "heart_rate", "public.gate(id, heart_rate)");
    let mut clinic = gated.app(small_files).open().await?;
    // From one to four signs in each of 400 sets.
    clinic
        .run(
            "INSERT INTO ehr.vital_set (patient_id, taken_at, heart_rate, systolic, weight_kg, height_cm)
             SELECT ':ann', now(), 60 + n % 40, CASE WHEN n % 2 = 0 THEN 120 END, CASE WHEN n % 3 = 0 THEN 70 END,
                    CASE WHEN n % 5 = 0 THEN 170 END
             FROM generate_series(1, 400) n",
        )
        .await?;
    let middle = clinic.rows("SELECT id::text FROM ehr.vital_set ORDER BY id LIMIT 1 OFFSET 220").await?;
    let mut gate = Gate::close(&clinic, &middle[0]).await?;
    let status_url = clinic.client.start(&Level::System, &[("_type", "Observation")]).await?;
    gate.until_reached().await?;
    // Whoever stands before the gate need not have published yet what was read before it.
    let until = Instant::now() + Duration::from_secs(30);
    while clinic.app.control_scalar::<i64>("SELECT count(*) FROM headgate.file").await? == 0 {
        assert!(Instant::now() < until, "no file is published");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    clinic.app.worker(0).kill()?;
    gate.open().await?;
    clinic.app.restart_worker(0)?;

    let export = clinic.complete(&status_url).await?;
    let expected = clinic
        .rows(
            "SELECT substr(target, 13) FROM ehr.record_author, unnest(targets) AS target
             WHERE target LIKE 'Observation/%' ORDER BY 1",
        )
        .await?;
    let found = export.download.ids("Observation")?;
    assert!(expected.len() > 700);
    assert!(found == expected, "{} resources, expected {}", found.len(), expected.len());
    let again: i64 =
        clinic.app.control_scalar("SELECT count(*) FROM headgate.shard WHERE acquisitions > 1").await?;
    assert!(again > 0, "no shard was taken over");
    let mut files = BTreeMap::new();
    for file in export.download.section("output") {
        assert!(file.lines.len() <= 25, "{}: {}", file.name, file.lines.len());
        for line in &file.lines {
            let row = text(&serde_json::from_str::<Value>(line)?["id"])[..36].to_owned();
            let first = files.entry(row).or_insert_with(|| file.name.clone());
            assert_eq!(*first, file.name, "a row's resources are in two files");
        }
    }
    Ok(())
}

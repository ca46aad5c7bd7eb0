//! `docs/ONBOARDING.md`, the worked example of connecting an EHR, is run as it is written: its commands by a shell with
//! the built program and `psql`, its outputs compared. Then the files of its exports are looked at.
//!
//! With the variable `ONBOARDING_UPDATE` set, what is printed is written into the page instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use headgate_testkit::{READER, TestApp, headgate};
use tokio::process::Command;

use crate::page::{self, Block};

const PRACTICE: i64 = 100_491;

/// How long a worker may take to look at the new practice.
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_worked_example_of_connecting_an_ehr_runs_as_it_is_written() -> Result<()> {
    let desk = Desk::new().await?;
    let path = root().join("docs/ONBOARDING.md");
    let mut markdown = std::fs::read_to_string(&path)?;
    let update = std::env::var_os("ONBOARDING_UPDATE").is_some();
    let mut end = 0;
    for block in page::blocks(&markdown)? {
        let printed = desk.follow(&block).await?;
        let Block::Sh { script, prints: Some(expected) } = &block else { continue };
        if update {
            (markdown, end) = page::with_output(&markdown, end, expected, &printed);
        } else {
            page::ensure_alike(script, &printed, expected)?;
        }
    }
    if update {
        std::fs::write(&path, markdown)?;
    }
    let first = desk.exported("export")?;
    people_and_visits(&first)?;
    problems_and_allergies(&first)?;
    vitals(&first)?;
    let second = desk.exported("export-2")?;
    ensure!(first["Condition"].len() == second["Condition"].len() + 1, "the deleted problem came out again");
    deletions(&desk).await?;
    children(&desk).await
}

/// The reader of the page at work: a folder with its files, an EHR's database, a Headgate.
struct Desk {
    app: TestApp,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    ehr: String,
}

impl Desk {
    async fn new() -> Result<Self> {
        let app = TestApp::start().await?;
        let folder = app.folder().join("desk");
        copy(&root().join("tests/fixtures/onboarding"), &folder)?;
        let programs = folder.join(".bin");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(headgate::binary()?, programs.join("headgate"))?;
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        std::fs::write(folder.join("key.jwk"), vendor.private_jwk()?)?;

        let ehr = app.ehr_url(&app.new_empty_database().await?);
        let reader = ehr.replacen("postgres://postgres@", &format!("postgres://{READER}@"), 1);
        let settings = app.settings();
        let setting = |name: &str| {
            let value =
                settings.variables().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
            value.with_context(|| format!("{name} is not set"))
        };
        let admin = format!("http://{}", setting("HEADGATE__SERVER__ADMIN_LISTEN")?);
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let mut environment: Vec<(String, String)> = [
            ("PATH", path),
            ("EHR", ehr.clone()),
            ("READER", reader),
            ("HEADGATE", app.public_url().to_owned()),
            ("CLIENT_ID", vendor.client_id.clone()),
            ("HEADGATE_ADMIN_URL", admin),
            ("HEADGATE_ADMIN_TOKEN", app.admin().token().to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        environment.extend(settings.variables().map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self { app, folder, environment, ehr })
    }

    /// Does what a block says; returns what is printed.
    async fn follow(&self, block: &Block) -> Result<String> {
        match block {
            Block::Sql(statements) => self.run(statements).await.with_context(|| statements.clone())?,
            Block::Excerpt { file, text } => {
                let whole = std::fs::read_to_string(self.folder.join(file)).with_context(|| file.clone())?;
                ensure!(whole.contains(text.as_str()), "{file} does not say\n{text}");
            }
            Block::Sh { script, prints } => {
                let (succeeded, printed) = self.shell(script).await?;
                ensure!(succeeded || prints.is_some(), "{script}\nfails:\n{printed}");
                if script.contains("practice create") {
                    self.until_looked_at().await?;
                }
                return Ok(printed);
            }
        }
        Ok(String::new())
    }

    /// Whether the script succeeded, and what it printed.
    async fn shell(&self, script: &str) -> Result<(bool, String)> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec 2>&1\n{script}")).current_dir(&self.folder).stdin(Stdio::null());
        let foreign = |name: &str| ["HEADGATE", "AWS_", "PG"].iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(foreign) {
                command.env_remove(name);
            }
        }
        let output = command.envs(self.environment.iter().cloned()).output().await?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    }

    async fn run(&self, statements: &str) -> Result<()> {
        let mut connection = PgConnection::connect(&self.ehr).await?;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// The first column of a query's rows.
    async fn rows(&self, query: &str) -> Result<Vec<String>> {
        let mut connection = PgConnection::connect(&self.ehr).await?;
        let rows = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(rows)
    }

    async fn until_looked_at(&self) -> Result<()> {
        let until = Instant::now() + WITHIN;
        loop {
            let path = format!("practices/{PRACTICE}/source");
            let source = self.app.admin().get(&path).await?.expect(200)?.json()?;
            if !source["refreshed_at"].is_null() {
                return Ok(());
            }
            ensure!(Instant::now() < until, "no worker has looked at the source: {source}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The resources of a folder of NDJSON, by type and id.
    fn exported(&self, folder: &str) -> Result<Exported> {
        let mut exported = Exported::new();
        for entry in std::fs::read_dir(self.folder.join(folder))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "ndjson") {
                continue;
            }
            for line in std::fs::read_to_string(path)?.lines() {
                let resource: Value = serde_json::from_str(line)?;
                let text = |name: &str| resource[name].as_str().map(str::to_owned).context("no type or id");
                let (resource_type, id) = (text("resourceType")?, text("id")?);
                exported.entry(resource_type).or_default().insert(id, resource);
            }
        }
        Ok(exported)
    }
}

type Exported = BTreeMap<String, BTreeMap<String, Value>>;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Flags are heeded, blanks are cut, and the clock on the wall is read as its owners do, on the days too when it is
/// changed.
fn people_and_visits(exported: &Exported) -> Result<()> {
    let patients = &exported["Patient"];
    assert_eq!(patients["2"]["name"], json!([{ "use": "official", "family": "Brandt", "given": ["Bo"] }]));
    assert_eq!(patients["3"]["gender"], "unknown");
    assert_eq!(
        patients["3"]["extension"][0]["extension"],
        json!([{ "url": "text", "valueString": "Declined to specify" }])
    );
    assert_eq!(patients["3"]["address"], Value::Null);
    ensure!(!patients.contains_key("4"), "a deleted patient came out");

    let visits = &exported["Encounter"];
    for (id, start) in [
        ("1", "2025-07-01T13:00:00Z"),
        ("2", "2025-01-15T14:00:00Z"),
        ("3", "2025-11-02T06:30:00Z"),
        ("4", "2025-03-09T07:30:00Z"),
    ] {
        assert_eq!(visits[id]["period"]["start"], start, "Encounter/{id}");
    }
    assert_eq!(visits["3"]["period"]["end"], "2025-11-02T08:00:00Z");
    assert_eq!(visits["5"]["type"][0]["coding"][0]["code"], "448337001");
    ensure!(!visits.contains_key("6"), "a deleted visit came out");
    Ok(())
}

/// Packed codes are unpacked, and what is no problem or no allergy stays where it is.
fn problems_and_allergies(exported: &Exported) -> Result<()> {
    let problems = &exported["Condition"];
    let codes = |id: &str| {
        let codings = problems[id]["code"]["coding"].as_array().cloned().unwrap_or_default();
        codings.iter().filter_map(|coding| coding["code"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(codes("1"), ["44054006", "E11.9"]);
    assert_eq!(codes("2"), ["10509002", "J20.9"]);
    assert_eq!(codes("3"), ["I10"]);
    assert_eq!(problems["4"]["code"], json!({ "text": "Low back pain" }));
    assert_eq!(problems["2"]["clinicalStatus"]["coding"][0]["code"], "resolved");
    assert_eq!(problems["9"]["clinicalStatus"], Value::Null);
    ensure!(["5", "7", "8"].iter().all(|id| !problems.contains_key(*id)), "that is no problem");

    let allergies = &exported["AllergyIntolerance"];
    assert_eq!(
        allergies["5"]["reaction"],
        json!([
            { "manifestation": [{
                "text": "Hives", "coding": [{ "system": "http://snomed.info/sct", "code": "126485001" }]
            }] },
            { "manifestation": [{ "text": "Swelling of the face" }] },
        ])
    );
    assert_eq!(allergies["6"]["reaction"], Value::Null);
    Ok(())
}

/// What was not measured is not there, and what was has the digits it had.
fn vitals(exported: &Exported) -> Result<()> {
    let signs = &exported["Observation"];
    let of = |row: &str| {
        let names = signs.keys().filter_map(|id| id.strip_prefix(row)?.strip_prefix('-'));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("1"), ["bp", "hr", "rr", "spo2", "temp"]);
    assert_eq!(of("2"), ["bp", "height", "hr", "rr", "spo2", "temp", "weight"]);
    assert_eq!(of("4"), ["weight"]);
    ensure!(of("3").is_empty() && of("5").is_empty(), "nothing was measured there");
    assert_eq!(signs["2-weight"]["valueQuantity"]["value"].to_string(), "165.3");
    assert_eq!(signs["2-bp"]["component"][1]["valueQuantity"], Value::Null);
    assert_eq!(signs["2-bp"]["component"][1]["dataAbsentReason"]["coding"][0]["code"], "unknown");
    let is_zero = |sign: &Value| sign["valueQuantity"]["value"].as_f64() == Some(0.0);
    ensure!(!signs.values().any(is_zero), "a measurement of 0");
    Ok(())
}

/// Whatever leaves an export leaves a tombstone with its patient, and nothing else does.
async fn deletions(desk: &Desk) -> Result<()> {
    desk.run(
        "DELETE FROM fhir_export.tombstone;
         UPDATE emr.form_vitals SET weight = 0, pulse = 75 WHERE id = 2;
         UPDATE emr.form_vitals SET activity = 0 WHERE id = 4;
         UPDATE emr.form_encounter SET pid = 3 WHERE encounter = 3;
         UPDATE emr.patient_data SET city = 'Albany' WHERE pid = 2;
         DELETE FROM emr.lists WHERE id IN (6, 8);",
    )
    .await?;
    let query =
        "SELECT resource_type || '/' || id || ' of ' || patient_id FROM fhir_export.tombstone ORDER BY 1";
    let tombstones = [
        "AllergyIntolerance/6 of 2",
        "Encounter/3 of 2",
        "Observation/2-weight of 1",
        "Observation/4-weight of 2",
    ];
    assert_eq!(desk.rows(query).await?, tombstones);
    Ok(())
}

/// A change of a child row moves the stamp of the row whose resource it is part of.
async fn children(desk: &Desk) -> Result<()> {
    let stamp = "SELECT last_updated::text FROM fhir_export.allergy_intolerance WHERE id = '5'";
    let mut before = desk.rows(stamp).await?;
    for change in [
        "UPDATE emr.lists_reaction SET title = 'Hives, severe' WHERE list_id = 5 AND title = 'Hives'",
        "INSERT INTO emr.lists_reaction (list_id, title) VALUES (5, 'Cough')",
        "DELETE FROM emr.lists_reaction WHERE list_id = 5 AND title = 'Cough'",
    ] {
        desk.run(change).await?;
        let after = desk.rows(stamp).await?;
        assert_ne!(before, after, "{change}");
        before = after;
    }
    Ok(())
}

//! A practice on the reference EHR, written by SQL as its application would write it, and a client of its exports.
//!
//! SQL of these tests calls rows by name: `:ann` stands for an id, the same one wherever it is written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::serde_json::{self, Value};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use headgate_testkit::{BulkClient, Download, Level, Practice, TestApp, TestAppBuilder};

/// How long anything may take that a test waits for.
const WITHIN: Duration = Duration::from_secs(60);

/// An organization, a doctor, and two patients.
const ROWS: &str = "
    INSERT INTO ehr.organization (id, kind, name) VALUES (':clinic', 'practice', 'Elm Street Clinic');
    INSERT INTO ehr.provider (id, npi, last_name) VALUES (':doctor', '1234567893', 'Gray');
    INSERT INTO ehr.patient (id, practice_id, mrn, last_name, admin_sex, pcp_id) VALUES
        (':ann', ':clinic', 'M-1', 'Alder', 'female', ':doctor'),
        (':bob', ':clinic', 'M-2', 'Birch', 'male', ':doctor');";

/// A Headgate with one practice on the reference EHR, and a client of it.
pub struct Clinic {
    pub app: TestApp,
    pub practice: Practice,
    pub client: BulkClient,
}

/// What a clinic differs in from the usual one.
#[derive(Default)]
pub struct ClinicBuilder {
    app: Option<TestAppBuilder>,
    patients: u64,
    views: Vec<(&'static str, &'static str, &'static str)>,
}

impl ClinicBuilder {
    /// Other options of the processes.
    pub fn app(mut self, app: TestAppBuilder) -> Self {
        self.app = Some(app);
        self
    }

    /// So many generated patients instead of the usual rows.
    pub fn patients(mut self, patients: u64) -> Self {
        self.patients = patients;
        self
    }

    /// A view of the contract has this expression in place of a column.
    pub fn column(mut self, view: &'static str, column: &'static str, expression: &'static str) -> Self {
        self.views.push((view, column, expression));
        self
    }

    pub async fn open(self) -> Result<Clinic> {
        // transactionTime is as late as it may be, so that no margin hides a mistake.
        let app = self.app.unwrap_or_else(options).start().await?;
        let database = app.reference_ehr(self.patients, 11, ProgressBar::hidden()).await?;
        let mut ehr = PgConnection::connect(&app.ehr_url(&database)).await?;
        if self.patients == 0 {
            sqlx::raw_sql(AssertSqlSafe(sql(ROWS))).execute(&mut ehr).await?;
        }
        sqlx::raw_sql(AssertSqlSafe(format!("{}{GATE}", local_habits(&database)))).execute(&mut ehr).await?;
        for (view, column, expression) in self.views {
            replace_column(&mut ehr, view, column, expression).await?;
        }
        ehr.close().await?;
        let mapping = app.reference_mapping().await?;
        let practice =
            app.practice(100_491, "elmstreet").in_database(&database).mapping(mapping).create().await?;
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        app.consent(&practice, &vendor).await?;
        let client = app.client(&practice, &vendor).await?;
        Ok(Clinic { app, practice, client })
    }
}

/// The usual options of these tests.
pub fn options() -> TestAppBuilder {
    TestApp::builder().set("source.margin_ms", 0)
}

/// What sessions of an EHR's database may be used to, and an export must not be impressed by.
fn local_habits(database: &str) -> String {
    format!(
        "ALTER DATABASE {database} SET timezone = 'America/New_York';
         ALTER DATABASE {database} SET datestyle = 'German, DMY';
         ALTER DATABASE {database} SET bytea_output = 'escape';"
    )
}

async fn replace_column(ehr: &mut PgConnection, view: &str, column: &str, expression: &str) -> Result<()> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns
         WHERE table_schema = 'fhir_export' AND table_name = $1 ORDER BY ordinal_position",
    )
    .bind(view)
    .fetch_all(&mut *ehr)
    .await?;
    ensure!(columns.iter().any(|name| name == column), "{view} has no column {column}");
    let kept: Vec<&str> = columns.iter().map(String::as_str).filter(|name| *name != column).collect();
    let statements = format!(
        "ALTER VIEW fhir_export.{view} RENAME TO {view}_as_it_was;
         CREATE VIEW fhir_export.{view} AS
             SELECT {}, {expression} AS {column} FROM fhir_export.{view}_as_it_was;
         GRANT SELECT ON fhir_export.{view} TO PUBLIC",
        kept.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(ehr).await?;
    Ok(())
}

impl Clinic {
    /// The usual one.
    pub async fn open() -> Result<Self> {
        ClinicBuilder::default().open().await
    }

    /// One that differs.
    pub fn builder() -> ClinicBuilder {
        ClinicBuilder::default()
    }

    /// Runs statements in the EHR.
    pub async fn run(&self, statements: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql(statements))).execute(self.practice.ehr()).await?;
        Ok(())
    }

    /// The texts that a query of one column gives.
    pub async fn rows(&self, query: &str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql(query))).fetch_all(self.practice.ehr()).await?)
    }

    /// A connection of its own to the EHR.
    pub async fn writer(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.practice.ehr_url).await?)
    }

    /// Exports from kick-off to the last file.
    pub async fn export(&self, level: &Level, query: &[(&str, &str)]) -> Result<Export> {
        self.complete(&self.client.start(level, query).await?).await
    }

    /// Exports everything.
    pub async fn export_all(&self) -> Result<Export> {
        self.export(&Level::System, &[]).await
    }

    /// Exports what changed since an earlier export.
    pub async fn export_since(&self, level: &Level, earlier: &Export) -> Result<Export> {
        self.export(level, &[("_since", &earlier.time)]).await
    }

    /// Waits for an export and downloads it.
    pub async fn complete(&self, status_url: &str) -> Result<Export> {
        let manifest = self.client.wait_complete(status_url).await?;
        let download = self.client.download_all(&manifest).await?;
        let time = manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned();
        Ok(Export { time, download })
    }
}

/// A completed export, downloaded.
pub struct Export {
    /// `transactionTime`, as the manifest has it.
    pub time: String,
    pub download: Download,
}

impl Export {
    /// The resources of a type by id; an id that comes twice is an error.
    pub fn resources(&self, resource_type: &str) -> Result<BTreeMap<String, Value>> {
        let mut resources = BTreeMap::new();
        for line in self.download.lines(resource_type) {
            let resource: Value = serde_json::from_str(&line)?;
            let id = resource["id"].as_str().with_context(|| format!("no id: {line}"))?.to_owned();
            ensure!(resources.insert(id, resource).is_none(), "an id came twice: {line}");
        }
        Ok(resources)
    }

    /// The resource with this name and suffix, such as `:vitals-bp`.
    pub fn resource(&self, resource_type: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.line(resource_type, name)?)?)
    }

    /// Its line.
    pub fn line(&self, resource_type: &str, name: &str) -> Result<String> {
        let id = format!("\"id\":\"{}\"", sql(name));
        let mut lines = self.download.lines(resource_type).into_iter().filter(|line| line.contains(&id));
        let line = lines.next().with_context(|| format!("no {resource_type}/{name} came out"))?;
        ensure!(lines.next().is_none(), "{resource_type}/{name} came out twice");
        Ok(line)
    }

    /// Whether exactly the resources with these names and suffixes came out, each once.
    pub fn assert_has(&self, resource_type: &str, names: &[&str]) -> Result<()> {
        let mut expected: Vec<String> = names.iter().map(|name| sql(name)).collect();
        expected.sort();
        let found = self.download.ids(resource_type)?;
        ensure!(found == expected, "{resource_type}: {found:?} came out, not {names:?}: {expected:?}");
        Ok(())
    }
}

/// The text with ids in place of names.
pub fn sql(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(':') {
        out.push_str(before);
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        let (name, behind) = after.split_at(end);
        let begins = |c: char| c.is_ascii_lowercase();
        // Neither a cast nor the colon of a URL.
        if name.starts_with(begins) && !out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ':') {
            out.push_str(&id(name));
            rest = behind;
        } else {
            out.push(':');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn id(name: &str) -> String {
    let number = name.bytes().fold(0_u64, |number, b| (number * 31 + u64::from(b)) % (1 << 48));
    format!("01900000-0000-7000-8000-{number:012x}")
}

/// A gate in the EHR: whoever reads a number of a row behind it waits until it is opened. See [`Gate`].
const GATE: &str = "
    CREATE TABLE public.closed (first text);
    CREATE FUNCTION public.gate(id text, value numeric) RETURNS numeric
    LANGUAGE plpgsql STABLE COST 10000 SECURITY DEFINER AS $$
    BEGIN
        IF EXISTS (SELECT FROM public.closed WHERE first <= gate.id) THEN
            PERFORM pg_advisory_xact_lock_shared(4711);
        END IF;
        RETURN value;
    END $$;";

/// A closed gate. Dropping it opens it, too.
pub struct Gate {
    connection: PgConnection,
}

impl Gate {
    /// Rows with this id or a greater one cannot be read, where their view has a column `public.gate(id, …)`.
    pub async fn close(clinic: &Clinic, id: &str) -> Result<Self> {
        let mut connection = clinic.writer().await?;
        sqlx::query("SELECT pg_advisory_lock(4711)").execute(&mut connection).await?;
        sqlx::query("INSERT INTO public.closed VALUES ($1)").bind(id).execute(&mut connection).await?;
        Ok(Self { connection })
    }

    /// Waits until somebody stands before the gate.
    pub async fn until_reached(&mut self) -> Result<()> {
        let until = Instant::now() + WITHIN;
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut self.connection).await? {
            ensure!(Instant::now() < until, "nobody came to the gate");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    }

    /// Lets everybody through.
    pub async fn open(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}

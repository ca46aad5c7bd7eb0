//! A practice: an EHR database of its own, registered by the admin API.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use headgate_domain::ResourceType;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{LoadOptions, LoadReport, load};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};

use crate::TestApp;
use crate::installation::{READER, READER_WITHOUT_STATS};

/// How long a worker may take to look at a new source.
const REFRESH_WITHIN: Duration = Duration::from_secs(30);

/// A practice to be made.
#[derive(Debug)]
pub struct PracticeBuilder<'a> {
    app: &'a TestApp,
    number: i64,
    slug: String,
    base_url: Option<String>,
    role: &'static str,
    source: Value,
    options: Value,
    from: Option<(PathBuf, ProgressBar)>,
    database: Option<String>,
    wait: bool,
}

impl<'a> PracticeBuilder<'a> {
    pub(crate) fn new(app: &'a TestApp, number: i64, slug: &str) -> Self {
        Self {
            app,
            number,
            slug: slug.to_owned(),
            base_url: None,
            role: READER,
            source: json!({}),
            options: json!({}),
            from: None,
            database: None,
            wait: true,
        }
    }

    /// The practice's FHIR base URL, if it is not `{public_url}/{slug}/fhir/r4`: for one that is told apart by host.
    #[must_use]
    pub fn base_url(mut self, url: &str) -> Self {
        self.base_url = Some(url.to_owned());
        self
    }

    /// The engine's role cannot see when other transactions began.
    #[must_use]
    pub fn without_stats(mut self) -> Self {
        self.role = READER_WITHOUT_STATS;
        self
    }

    /// Stamps of the source may lie so many seconds before their commit.
    #[must_use]
    pub fn history_since(mut self, instant: &str) -> Self {
        self.source["history_since"] = instant.into();
        self
    }

    /// Seconds that a stamp may lie before its commit.
    #[must_use]
    pub fn late_commit_allowance_s(mut self, seconds: u32) -> Self {
        self.source["late_commit_allowance_s"] = seconds.into();
        self
    }

    /// `options` of the admin API, such as `{"since_without_zone": false}`.
    #[must_use]
    pub fn options(mut self, options: Value) -> Self {
        self.options = options;
        self
    }

    /// The mapping set with which plain columns become resources.
    #[must_use]
    pub fn mapping(mut self, name: &str) -> Self {
        self.source["mapping"] = name.into();
        self
    }

    /// The schema of the source contract, if it is not `fhir_export`.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        self.source["schema"] = name.into();
        self
    }

    /// A session setting with which the source is read.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.source["settings"][name] = value.into();
        self
    }

    /// The database of its EHR, which is there already, instead of a new one with empty plain tables. The
    /// engine's role must be allowed to read it.
    #[must_use]
    pub fn in_database(mut self, name: &str) -> Self {
        self.database = Some(name.to_owned());
        self
    }

    /// Does not wait until a worker has looked at the source.
    #[must_use]
    pub fn without_refresh(mut self) -> Self {
        self.wait = false;
        self
    }

    /// Loads a folder of NDJSON before the practice is registered; the bar shows how far that is.
    #[must_use]
    pub fn from_folder(mut self, folder: impl Into<PathBuf>, bar: ProgressBar) -> Self {
        self.from = Some((folder.into(), bar));
        self
    }

    /// Makes the database, registers the practice, and waits until a worker has looked at its source (with
    /// [`PracticeBuilder::without_stats`]: or has failed to).
    ///
    /// # Errors
    /// When one of these fails.
    pub async fn create(self) -> Result<Practice> {
        let app = self.app;
        let database = match self.database {
            Some(database) => database,
            None => app.new_ehr_database().await?,
        };
        let url = app.installation().database_url(&database);
        let loaded = match self.from {
            Some((folder, bar)) => Some(load(LoadOptions::new(&url, folder), bar).await?),
            None => None,
        };
        let reader_url = app.installation().database_url_as(self.role, &database);
        let mut source = self.source;
        // Practices may share a database.
        let dsn_file = app.folder().join(format!("{database}-{}.dsn", self.number));
        std::fs::write(&dsn_file, &reader_url)?;
        source["dsn_ref"] = format!("file:{}", dsn_file.display()).into();
        let usual = || format!("{}/{}/fhir/r4", app.public_url(), self.slug);
        let base_url = self.base_url.unwrap_or_else(usual);
        let body = json!({
            "number": self.number,
            "slug": self.slug,
            "name": format!("Practice {}", self.number),
            "base_url": base_url,
            "source": source,
            "options": self.options,
        });
        let answer = app.admin().post("practices", &body).await?.expect(201)?.json()?;
        let text = |key: &str| {
            answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {answer}"))
        };
        let practice = Practice {
            number: self.number,
            slug: self.slug,
            base_url: text("base_url")?,
            token_url: text("token_url")?,
            s3_prefix: text("s3_prefix")?,
            ehr: PgPoolOptions::new().max_connections(4).connect_lazy(&url)?,
            ehr_url: url,
            loaded,
        };
        if self.wait {
            practice.wait_until_looked_at(app, self.role == READER_WITHOUT_STATS).await?;
        }
        Ok(practice)
    }
}

/// A registered practice.
#[derive(Debug)]
pub struct Practice {
    /// The practice's number.
    pub number: i64,
    /// Its name in paths.
    pub slug: String,
    /// Its FHIR base URL, without a slash at the end.
    pub base_url: String,
    /// Its token endpoint.
    pub token_url: String,
    /// Where its objects lie in the bucket, without a slash at the end.
    pub s3_prefix: String,
    /// The URL of its EHR database as superuser.
    pub ehr_url: String,
    /// What was loaded from a folder, if anything was.
    pub loaded: Option<LoadReport>,
    ehr: PgPool,
}

impl Practice {
    /// The EHR database as superuser. The tables are in the schema `fhir_export`.
    #[must_use]
    pub fn ehr(&self) -> &PgPool {
        &self.ehr
    }

    /// Inserts a small resource, stamped with this database's clock. `patient` is `None` for types of the
    /// directory and Medication.
    ///
    /// # Errors
    /// When the type is unknown or the row is refused.
    pub async fn insert(&self, resource_type: &str, id: &str, patient: Option<&str>) -> Result<()> {
        self.insert_body(resource_type, id, patient, &body(resource_type, id, patient)).await
    }

    /// Inserts a resource with a body of the caller's.
    ///
    /// # Errors
    /// When the type is unknown or the row is refused.
    pub async fn insert_body(
        &self,
        resource_type: &str,
        id: &str,
        patient: Option<&str>,
        body: &str,
    ) -> Result<()> {
        let statement = format!(
            "INSERT INTO {} (id, patient_id, last_updated, resource) VALUES ($1, $2, clock_timestamp(), $3)",
            relation(resource_type)?
        );
        sqlx::query(AssertSqlSafe(statement)).bind(id).bind(patient).bind(body).execute(&self.ehr).await?;
        Ok(())
    }

    /// Inserts `count` small resources with the ids `{prefix}-1`, `{prefix}-2`, … in one statement. Each is
    /// padded with spaces before its closing brace by `padding` bytes. They belong to `patient`, or are spread
    /// over the existing patients when that is `None` and the type belongs to patients.
    ///
    /// # Errors
    /// When the type is unknown, or there are no patients to spread over.
    pub async fn insert_many(
        &self,
        resource_type: &str,
        prefix: &str,
        count: u32,
        patient: Option<&str>,
        padding: u32,
    ) -> Result<()> {
        let (owner, takes_patient) = match (parsed(resource_type)?.is_patient_owned(), resource_type) {
            (false, _) => ("NULL", false),
            (true, "Patient") => ("$1 || '-' || n", false),
            (true, _) => ("coalesce($4, owners.ids[1 + n % cardinality(owners.ids)])", true),
        };
        let statement = format!(
            "WITH owners AS (SELECT array_agg(id ORDER BY id) AS ids FROM {patients})
             INSERT INTO {relation} (id, patient_id, last_updated, resource)
             SELECT $1 || '-' || n, {owner}, clock_timestamp(),
                    '{{\"resourceType\":\"{resource_type}\",\"id\":\"' || $1 || '-' || n || '\"'
                    || repeat(' ', $3) || '}}'
             FROM owners, generate_series(1, $2) AS n",
            patients = relation("Patient")?,
            relation = relation(resource_type)?,
        );
        let mut query = sqlx::query(AssertSqlSafe(statement))
            .bind(prefix)
            .bind(i32::try_from(count)?)
            .bind(i32::try_from(padding)?);
        if takes_patient {
            query = query.bind(patient);
        }
        query.execute(&self.ehr).await?;
        Ok(())
    }

    /// Gives a resource a new body and stamps it anew.
    ///
    /// # Errors
    /// When there is no such row.
    pub async fn update(&self, resource_type: &str, id: &str, body: &str) -> Result<()> {
        let statement = format!(
            "UPDATE {} SET resource = $2, last_updated = clock_timestamp() WHERE id = $1",
            relation(resource_type)?
        );
        let done = sqlx::query(AssertSqlSafe(statement)).bind(id).bind(body).execute(&self.ehr).await?;
        if done.rows_affected() == 1 { Ok(()) } else { bail!("there is no {resource_type}/{id}") }
    }

    /// Deletes a resource and leaves its tombstone, in one statement.
    ///
    /// # Errors
    /// When there is no such row.
    pub async fn delete(&self, resource_type: &str, id: &str) -> Result<()> {
        let statement = format!(
            "WITH gone AS (DELETE FROM {} WHERE id = $1 RETURNING id, patient_id)
             INSERT INTO {DEFAULT_SCHEMA}.tombstone (resource_type, id, patient_id, deleted_at)
             SELECT $2, id, patient_id, clock_timestamp() FROM gone",
            relation(resource_type)?
        );
        let done =
            sqlx::query(AssertSqlSafe(statement)).bind(id).bind(resource_type).execute(&self.ehr).await?;
        if done.rows_affected() == 1 { Ok(()) } else { bail!("there is no {resource_type}/{id}") }
    }

    /// How many rows of a type there are.
    ///
    /// # Errors
    /// When the type is unknown.
    pub async fn count(&self, resource_type: &str) -> Result<u64> {
        let statement = format!("SELECT count(*) FROM {}", relation(resource_type)?);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&self.ehr).await?;
        Ok(count.unsigned_abs())
    }

    /// The bodies of a type's rows that fulfil a condition, such as `patient_id = 'p1'`, in byte order.
    ///
    /// # Errors
    /// When the type is unknown or the condition is not SQL.
    pub async fn bodies(&self, resource_type: &str, condition: &str) -> Result<Vec<String>> {
        let statement = format!("SELECT resource FROM {} WHERE {condition}", relation(resource_type)?);
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&self.ehr).await?;
        let mut bodies = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        bodies.sort();
        Ok(bodies)
    }

    async fn wait_until_looked_at(&self, app: &TestApp, may_fail: bool) -> Result<()> {
        let until = Instant::now() + REFRESH_WITHIN;
        loop {
            let source =
                app.admin().get(&format!("practices/{}/source", self.number)).await?.expect(200)?.json()?;
            if !source["refreshed_at"].is_null() || (may_fail && !source["failure"].is_null()) {
                return Ok(());
            }
            if Instant::now() > until {
                let mut text = format!("no worker has looked at the source: {source}");
                write!(text, "\n{}", crate::headgate::tail(&app.logs()))?;
                bail!(text);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn parsed(resource_type: &str) -> Result<ResourceType> {
    resource_type.parse().with_context(|| format!("{resource_type} is no resource type"))
}

fn relation(resource_type: &str) -> Result<String> {
    Ok(format!("{DEFAULT_SCHEMA}.{}", parsed(resource_type)?.relation()))
}

fn body(resource_type: &str, id: &str, patient: Option<&str>) -> String {
    match patient.filter(|_| resource_type != "Patient") {
        Some(patient) => json!({
            "resourceType": resource_type, "id": id, "subject": { "reference": format!("Patient/{patient}") },
        }),
        None => json!({ "resourceType": resource_type, "id": id }),
    }
    .to_string()
}

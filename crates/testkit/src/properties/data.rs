//! What a practice holds: every resource with its patient and its stamp, read from the practice's database by
//! statements of this module's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use headgate_domain::ResourceType;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::oracle::sql_form::SqlForm;

/// One resource of a practice.
#[derive(Debug)]
pub struct Resource {
    /// Its type.
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// The patient that its row belongs to.
    pub owner: Option<String>,
    /// When its row changed.
    pub stamp: DateTime<Utc>,
    /// The whole resource.
    pub body: Value,
}

/// All resources of a practice.
#[derive(Debug)]
pub struct Data {
    resources: Vec<Resource>,
    by_type: BTreeMap<String, Vec<usize>>,
    by_key: HashMap<(String, String), usize>,
    in_source: BTreeSet<String>,
}

impl Data {
    /// Reads plain tables of documents.
    pub(super) async fn of_tables(ehr: &PgPool) -> Result<Self> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1",
        )
        .bind(DEFAULT_SCHEMA)
        .fetch_all(ehr)
        .await?;
        let mut queries = Vec::new();
        for t in ResourceType::ALL {
            if tables.iter().any(|table| table == t.relation()) {
                queries.push((t.name(), format!("SELECT * FROM {DEFAULT_SCHEMA}.{}", t.relation())));
            }
        }
        Self::read(ehr, queries).await
    }

    /// Reads the reference EHR through the SQL form of its templates.
    pub(super) async fn of_mapping(ehr: &PgPool, form: &SqlForm) -> Result<Self> {
        let mut queries = Vec::new();
        for t in form.types() {
            queries.push((t.name(), form.query(t)?));
        }
        Self::read(ehr, queries).await
    }

    async fn read(ehr: &PgPool, queries: Vec<(&'static str, String)>) -> Result<Self> {
        let mut data = Self {
            resources: Vec::new(),
            by_type: BTreeMap::new(),
            by_key: HashMap::new(),
            in_source: queries.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        for (name, query) in queries {
            let sql = format!("SELECT patient_id, last_updated, resource::text FROM ({query}) s ORDER BY 3");
            let rows: Vec<(Option<String>, DateTime<Utc>, String)> =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(ehr).await?;
            for (owner, stamp, body) in rows {
                let body: Value = serde_json::from_str(&body)?;
                let id = body["id"].as_str().context("a resource without id")?.to_owned();
                data.push(Resource { resource_type: name.to_owned(), id, owner, stamp, body });
            }
        }
        Ok(data)
    }

    fn push(&mut self, resource: Resource) {
        let at = self.resources.len();
        self.by_type.entry(resource.resource_type.clone()).or_default().push(at);
        self.by_key.insert((resource.resource_type.clone(), resource.id.clone()), at);
        self.resources.push(resource);
    }

    /// The resources of a type.
    pub fn of(&self, resource_type: &str) -> impl Iterator<Item = &Resource> {
        self.by_type.get(resource_type).into_iter().flatten().map(|at| &self.resources[*at])
    }

    /// One resource of a type, counted from 0 and around.
    #[must_use]
    pub fn nth(&self, resource_type: &str, n: usize) -> Option<&Resource> {
        let all = self.by_type.get(resource_type)?;
        all.get(n % all.len().max(1)).map(|at| &self.resources[*at])
    }

    /// A resource by its type and id.
    #[must_use]
    pub fn get(&self, resource_type: &str, id: &str) -> Option<&Resource> {
        self.by_key.get(&(resource_type.to_owned(), id.to_owned())).map(|at| &self.resources[*at])
    }

    /// How many resources there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.resources.len()
    }

    /// The types that the source has, with resources or without.
    #[must_use]
    pub fn in_source(&self) -> &BTreeSet<String> {
        &self.in_source
    }

    /// The ids of all Patients, in order.
    #[must_use]
    pub fn patients(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.of("Patient").map(|patient| patient.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    /// A stamp that half of the resources do not exceed.
    #[must_use]
    pub fn middle(&self) -> DateTime<Utc> {
        let mut stamps: Vec<_> = self.resources.iter().map(|resource| resource.stamp).collect();
        stamps.sort_unstable();
        stamps.get(stamps.len() / 2).copied().unwrap_or_default()
    }
}

//! The practices that are exported, and the apps that export them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use headgate_domain::practice::UsCore;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{LoadOptions, load};
use indicatif::ProgressBar;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::Mutex;

use super::data::Data;
use super::odd;
use crate::oracle::sql_form::SqlForm;
use crate::{AppHandle, BulkClient, Practice, TestApp};

/// How long a token is used.
const TOKEN_FOR: Duration = Duration::from_secs(600);

/// Groups by their ids: members, and since when.
pub type Groups = BTreeMap<String, Vec<(String, DateTime<Utc>)>>;

/// A practice, what it holds, and who may have how much of it.
#[derive(Debug)]
pub struct Site {
    /// Its name in reports.
    pub name: &'static str,
    /// The practice.
    pub practice: Practice,
    /// What it holds.
    pub data: Arc<Data>,
    /// Its groups.
    pub groups: Groups,
    /// Who may export, in the order of [`CLIENTS`].
    pub clients: Vec<Client>,
    tokens: Mutex<HashMap<usize, (Instant, BulkClient)>>,
}

/// An app at a practice, with what token and consent allow.
#[derive(Debug, Clone)]
pub struct Client {
    /// Which of the apps.
    app: usize,
    /// What it asks a token for.
    scope: &'static str,
    /// The types; none: all.
    types: Option<BTreeSet<&'static str>>,
    /// The groups; none: all, and the other levels.
    pub groups: Option<BTreeSet<String>>,
}

impl Client {
    /// Whether it may have resources of the type.
    #[must_use]
    pub fn may_read(&self, resource_type: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(resource_type))
    }
}

/// The clients of every site, by their names in reports.
pub const CLIENTS: [&str; 5] =
    ["everything", "some types", "a narrow consent", "groups only", "a narrow token"];

/// Scopes of the apps. The last client is the first app with a narrower token.
const APPS: [&[&str]; 4] = [
    &["system/*.rs"],
    &[
        "system/Patient.rs",
        "system/Observation.rs",
        "system/Encounter.rs",
        "system/Practitioner.rs",
        "system/Provenance.rs",
    ],
    &["system/*.rs"],
    &["system/*.rs"],
];

const NARROW_CONSENT: &str = "system/Patient.read system/Condition.rs system/MedicationRequest.r \
                              system/Medication.rs system/Provenance.rs";
const NARROW_TOKEN: &str = "system/Patient.rs system/Immunization.read system/Organization.rs";

/// The group that the client `groups only` may export.
pub const COVERED: &str = "1.2.3";

/// Registers the apps, once for all sites.
pub(super) async fn apps(app: &TestApp) -> Result<Vec<AppHandle>> {
    let mut apps = Vec::new();
    for scopes in APPS {
        apps.push(app.vendor_app(scopes).await?);
    }
    Ok(apps)
}

/// Tables of documents, as text or jsonb, with stamps spread over six weeks.
pub(super) async fn tables(
    app: &TestApp,
    apps: &[AppHandle],
    name: &'static str,
    number: i64,
    folder: &Path,
) -> Result<Site> {
    let database = app.new_ehr_database().await?;
    let url = app.ehr_url(&database);
    load(LoadOptions::new(&url, folder), ProgressBar::hidden()).await?;
    let ehr = PgPoolOptions::new().max_connections(2).connect(&url).await?;
    let relations = relations(&ehr).await?;
    if name == "jsonb" {
        each(&ehr, &relations, "ALTER TABLE {} ALTER COLUMN resource TYPE jsonb USING resource::jsonb")
            .await?;
    }
    let sql = format!("SELECT id FROM {DEFAULT_SCHEMA}.patient ORDER BY id LIMIT 7");
    let patients: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&ehr).await?;
    odd::allow(&ehr).await?;
    odd::add(&ehr, name, &patients).await?;
    // Few different stamps, so that bounds drawn from them hit several rows exactly.
    let spread = "UPDATE {} SET last_updated = timestamptz '2020-01-01T00:00:00Z'
                  + (hashtext(id) & 1023) * interval '1 hour 1.000001 seconds'";
    each(&ehr, &relations, spread).await?;
    each(&ehr, &relations, "VACUUM (ANALYZE) {}").await?;
    let data = Data::of_tables(&ehr).await?;
    ehr.close().await;
    site(app, apps, name, number, &database, None, data).await
}

/// The reference EHR, with its templates.
pub(super) async fn reference(
    app: &TestApp,
    apps: &[AppHandle],
    number: i64,
    patients: u64,
    seed: u64,
) -> Result<Site> {
    let database = app.reference_ehr(patients, seed, ProgressBar::hidden()).await?;
    let url = app.ehr_url(&database);
    let mapping = app.reference_mapping().await?;
    let form = SqlForm::of(&url, UsCore::default()).await?;
    let ehr = PgPoolOptions::new().max_connections(2).connect(&url).await?;
    let data = Data::of_mapping(&ehr, &form).await?;
    ehr.close().await;
    site(app, apps, "mapped", number, &database, Some(mapping), data).await
}

async fn relations(ehr: &PgPool) -> Result<Vec<String>> {
    let sql = "SELECT table_schema || '.' || table_name FROM information_schema.columns
               WHERE table_schema = $1 AND column_name = 'resource' ORDER BY 1";
    Ok(sqlx::query_scalar(sql).bind(DEFAULT_SCHEMA).fetch_all(ehr).await?)
}

async fn each(ehr: &PgPool, relations: &[String], sql: &str) -> Result<()> {
    for relation in relations {
        sqlx::query(AssertSqlSafe(sql.replace("{}", relation))).execute(ehr).await?;
    }
    Ok(())
}

async fn site(
    app: &TestApp,
    apps: &[AppHandle],
    name: &'static str,
    number: i64,
    database: &str,
    mapping: Option<&str>,
    data: Data,
) -> Result<Site> {
    let mut builder = app.practice(number, name).in_database(database);
    if let Some(mapping) = mapping {
        builder = builder.mapping(mapping);
    }
    // More than are running at any time.
    let practice = builder.options(json!({ "max_exports_per_app": 50 })).create().await?;
    let groups = groups(app, &practice, &data).await?;
    for (at, handle) in apps.iter().enumerate() {
        let consent = match at {
            2 => json!({ "scopes": NARROW_CONSENT }),
            3 => json!({ "group_ids": [COVERED] }),
            _ => json!({}),
        };
        app.consent_with(&practice, handle, consent).await?;
    }
    let types_of = |scopes: &'static str| {
        let names = scopes.split_whitespace().filter_map(|s| s.strip_prefix("system/")?.split_once('.'));
        Some(names.map(|(name, _)| name).collect::<BTreeSet<_>>())
    };
    let some: BTreeSet<&str> =
        APPS[1].iter().filter_map(|s| Some(s.strip_prefix("system/")?.split_once('.')?.0)).collect();
    let all = "system/*.rs";
    let client = |app, scope, types| Client { app, scope, types, groups: None };
    let clients = vec![
        client(0, all, None),
        client(1, all, Some(some)),
        client(2, all, types_of(NARROW_CONSENT)),
        Client { groups: Some(BTreeSet::from([COVERED.to_owned()])), ..client(3, all, None) },
        client(0, NARROW_TOKEN, types_of(NARROW_TOKEN)),
    ];
    Ok(Site { name, practice, data: Arc::new(data), groups, clients, tokens: Mutex::default() })
}

/// Three groups: members of old, members of whom every second one joined in the middle of the stamps, nobody.
async fn groups(app: &TestApp, practice: &Practice, data: &Data) -> Result<Groups> {
    let patients = data.patients();
    let long_ago: DateTime<Utc> = "2019-01-01T00:00:00Z".parse()?;
    let lately = data.middle() + TimeDelta::microseconds(1);
    let third: Vec<&str> = patients.iter().copied().step_by(3).collect();
    let half: Vec<&str> = patients.iter().copied().skip(1).step_by(2).collect();
    let mut groups = Groups::new();
    for (id, members, late) in [(COVERED, third, false), ("mixed", half, true), ("empty", Vec::new(), false)]
    {
        let leaving = patients.first().copied().filter(|first| !members.contains(first));
        let with_leaving: Vec<&str> = members.iter().copied().chain(leaving).collect();
        app.group(practice, id, &with_leaving).await?;
        let mut group = Vec::new();
        for (n, member) in members.iter().enumerate() {
            let since = if late && n % 2 == 1 { lately } else { long_ago };
            group.push(((*member).to_owned(), since));
        }
        let kept: Vec<&str> = members.iter().copied().chain(["nobody-of-this-practice"]).collect();
        app.group(practice, id, &kept).await?;
        let (ids, times): (Vec<String>, Vec<DateTime<Utc>>) = group.iter().cloned().unzip();
        sqlx::query(
            "UPDATE headgate.patient_group_member m SET member_since = v.since
             FROM unnest($3::text[], $4::timestamptz[]) AS v(patient, since)
             WHERE practice_number = $1 AND group_id = $2 AND m.patient_id = v.patient",
        )
        .bind(practice.number)
        .bind(id)
        .bind(ids)
        .bind(times)
        .execute(app.control())
        .await?;
        groups.insert(id.to_owned(), group);
    }
    Ok(groups)
}

impl Site {
    /// A client with a token that is good for a while.
    pub(super) async fn bulk(&self, app: &TestApp, apps: &[AppHandle], client: usize) -> Result<BulkClient> {
        let mut tokens = self.tokens.lock().await;
        if let Some((since, bulk)) = tokens.get(&client)
            && since.elapsed() < TOKEN_FOR
        {
            return Ok(bulk.clone());
        }
        let Client { app: handle, scope, .. } = &self.clients[client];
        let handle = apps.get(*handle).context("there is no such app")?;
        let token = app.token(&self.practice, handle, scope).await?;
        let bulk = app.client(&self.practice, handle).await?.with_token(token);
        tokens.insert(client, (Instant::now(), bulk.clone()));
        Ok(bulk)
    }
}

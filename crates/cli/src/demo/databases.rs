//! The databases: the control database, and one EHR database for each practice, filled with synthetic patients.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;
use headgate_local::postgres::Cluster;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{
    GenerateError, GenerateOptions, GenerateReport, Generator, InstallOptions, LoadOptions, MAPPING,
    MAPPING_FILES, PopulateOptions, grant_reader, install, load, populate,
};
use headgate_source::{Catalog, Source, SourceConfig};
use indicatif::{HumanCount, ProgressBar};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::oneshot;

use super::folder::{Folder, SAMPLE};
use super::screen::{Screen, Unit};

/// The control database.
const CONTROL: &str = "headgate";

/// The role with which the engine reads the EHR databases.
const READER: &str = "headgate_reader";

/// A practice of the demo.
#[derive(Debug)]
pub(super) struct Practice {
    pub(super) number: i64,
    /// Its name in paths, and that of its database.
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    /// The mapping set of its EHR; none where its tables hold finished documents.
    pub(super) mapping: Option<&'static str>,
    /// What makes its patients others than those of the next practice.
    seed: u64,
}

/// The practices of the demo.
pub(super) static PRACTICES: [Practice; 2] = [
    Practice {
        number: 100_491,
        slug: "pod21test",
        name: "Pod 21 Test Practice",
        mapping: Some(MAPPING),
        seed: 21,
    },
    Practice { number: 100_492, slug: "lakeside", name: "Lakeside Family Practice", mapping: None, seed: 22 },
];

/// All databases.
#[derive(Debug)]
pub(super) struct Databases {
    /// URL of the control database.
    pub(super) control: String,
    /// In the order of the practices.
    pub(super) ehrs: Vec<Ehr>,
}

/// The EHR database of a practice.
#[derive(Debug)]
pub(super) struct Ehr {
    pub(super) practice: &'static Practice,
    /// URL with which everything may be done.
    pub(super) owner_url: String,
    /// URL with which the engine reads.
    pub(super) reader_url: String,
    /// The file that the engine has it from.
    pub(super) dsn_file: PathBuf,
    catalog: Catalog,
    pool: PgPool,
}

/// Makes all databases anew, and fills the practices' with `patients` each.
pub(super) async fn make(
    cluster: &Cluster,
    patients: u32,
    folder: &Folder,
    screen: &Screen,
) -> Result<Databases> {
    for name in [CONTROL].into_iter().chain(PRACTICES.iter().map(|practice| practice.slug)) {
        cluster.drop_database(name).await?;
        cluster.create_database(name).await?;
    }
    let [first, second] = &PRACTICES;
    let (first, second) = tokio::try_join!(
        fill(first, cluster, patients, folder, screen),
        fill(second, cluster, patients, folder, screen),
    )?;
    // What was loaded is in the databases now.
    std::fs::remove_dir_all(folder.make(SAMPLE)?)?;
    Ok(Databases { control: cluster.url(CONTROL), ehrs: vec![first, second] })
}

/// Fills a practice's database, and lets the engine read it.
async fn fill(
    practice: &'static Practice,
    cluster: &Cluster,
    patients: u32,
    folder: &Folder,
    screen: &Screen,
) -> Result<Ehr> {
    let owner_url = cluster.url(practice.slug);
    match practice.mapping {
        Some(_) => fill_reference_ehr(practice, &owner_url, patients, screen).await?,
        None => fill_plain_tables(practice, &owner_url, patients, folder, screen).await?,
    }
    grant_reader(&owner_url, DEFAULT_SCHEMA, READER).await?;
    let reader_url = owner_url.replacen("postgres://postgres@", &format!("postgres://{READER}@"), 1);
    let dsn_file = folder.write_secret(&format!("{}.dsn", practice.slug), &reader_url)?;
    let catalog = catalog(practice, &owner_url).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&owner_url)?;
    let ehr = Ehr { practice, owner_url, reader_url, dsn_file, catalog, pool };
    let mut resources = 0;
    for t in ResourceType::ALL {
        resources += ehr.count(*t, None).await?;
    }
    let kind = if practice.mapping.is_some() { "the reference EHR" } else { "plain tables of documents" };
    screen.line(&format!(
        "{}: {} synthetic patients, {} resources in database {}, {kind}",
        practice.name,
        HumanCount(patients.into()),
        HumanCount(resources),
        practice.slug,
    ));
    Ok(ehr)
}

/// A relational EHR, whose columns the worker turns into resources by templates.
async fn fill_reference_ehr(practice: &Practice, url: &str, patients: u32, screen: &Screen) -> Result<()> {
    install(url, &InstallOptions::default()).await?;
    let bar = screen.bar(&format!("{:9} generate", practice.slug), Unit::Patients);
    let options = PopulateOptions::new(url, patients.into(), practice.seed);
    populate(options, bar.clone()).await.context("the reference EHR cannot be filled")?;
    bar.finish_and_clear();
    Ok(())
}

/// Tables of finished documents, which are generated into a folder and loaded.
async fn fill_plain_tables(
    practice: &Practice,
    url: &str,
    patients: u32,
    folder: &Folder,
    screen: &Screen,
) -> Result<()> {
    let sample = folder.make(&format!("{SAMPLE}/{}", practice.slug))?;
    let bar = screen.bar(&format!("{:9} generate", practice.slug), Unit::Resources);
    let generated = generate(GenerateOptions::patients(practice.seed, patients), sample.clone(), bar.clone());
    generated.await?;
    bar.finish_and_clear();

    let bar = screen.bar(&format!("{:9} load    ", practice.slug), Unit::Bytes);
    let options = LoadOptions { replace: true, ..LoadOptions::new(url, &sample) };
    load(options, bar.clone()).await.context("the sample documents cannot be loaded")?;
    bar.finish_and_clear();
    Ok(())
}

/// Which relations make up each type, to count them.
async fn catalog(practice: &Practice, url: &str) -> Result<Catalog> {
    let mappings = match practice.mapping {
        Some(_) => Some(MappingSet::parse(MAPPING_FILES.iter().copied(), UsCore::default())?),
        None => None,
    };
    let source = Source::connect(SourceConfig::new(url, DEFAULT_SCHEMA))?;
    let catalog = source.catalog(mappings.as_ref()).await;
    source.close().await;
    Ok(catalog?)
}

/// On a thread of its own rather than one of the runtime: the runtime would wait for its end after Ctrl-C.
async fn generate(options: GenerateOptions, to: PathBuf, bar: ProgressBar) -> Result<GenerateReport> {
    let (done, generated) = oneshot::channel();
    std::thread::spawn(move || {
        let run =
            || -> Result<GenerateReport, GenerateError> { Generator::new(options)?.write_ndjson(&to, &bar) };
        // Nobody waits any more after Ctrl-C.
        let _told = done.send(run());
    });
    Ok(generated.await.context("the generator of sample documents ended without a result")??)
}

impl Ehr {
    /// Ids of some patients, in their order.
    pub(super) async fn some_patients(&self, count: i64) -> Result<Vec<String>> {
        let sql = format!("SELECT id FROM {DEFAULT_SCHEMA}.patient ORDER BY id LIMIT $1");
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(count).fetch_all(&self.pool).await?)
    }

    /// Resources of a type that the database itself counts; with `members` only theirs, of a type whose rows
    /// belong to patients, and the Medication that theirs refer to.
    pub(super) async fn count(&self, t: ResourceType, members: Option<&[String]>) -> Result<u64> {
        let mut resources = 0;
        for relation in self.catalog.relations_of(t) {
            let all = format!("SELECT count(*) FROM ({}) s", relation.resources_sql(DEFAULT_SCHEMA)?);
            let theirs = members.filter(|_| t.is_patient_owned() || t == ResourceType::Medication);
            let count: i64 = match theirs {
                Some(members) if t == ResourceType::Medication => {
                    let prescribed = self.prescribed()?;
                    let theirs = format!("{all} WHERE s.resource::jsonb ->> 'id' IN ({prescribed})");
                    sqlx::query_scalar(AssertSqlSafe(theirs)).bind(members).fetch_one(&self.pool).await?
                }
                None => sqlx::query_scalar(AssertSqlSafe(all)).fetch_one(&self.pool).await?,
                Some(members) => {
                    let theirs = format!("{all} WHERE s.patient_id = ANY($1)");
                    sqlx::query_scalar(AssertSqlSafe(theirs)).bind(members).fetch_one(&self.pool).await?
                }
            };
            resources += count.unsigned_abs();
        }
        Ok(resources)
    }

    /// A query for the ids of the Medication that resources of patients refer to.
    fn prescribed(&self) -> Result<String> {
        let mut queries = Vec::new();
        for t in [ResourceType::MedicationRequest, ResourceType::MedicationDispense] {
            for relation in self.catalog.relations_of(t) {
                queries.push(format!(
                    "SELECT split_part(q.resource::jsonb #>> '{{medicationReference,reference}}', '/', 2)
                     FROM ({}) q WHERE q.patient_id = ANY($1)",
                    relation.resources_sql(DEFAULT_SCHEMA)?
                ));
            }
        }
        Ok(queries.join(" UNION ALL "))
    }
}

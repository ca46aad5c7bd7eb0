//! Databases for this crate's tests: one private cluster per test process, one database per test.

use std::time::Duration;

use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;
use headgate_local::postgres::{Cluster, Options};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::sync::OnceCell;

use crate::{Catalog, Marker, Relation, Source, SourceConfig};

/// Never dropped; the cluster goes away with the process.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

pub(crate) struct TestDatabase {
    url: String,
}

impl TestDatabase {
    /// Makes a database with an empty schema `fhir_export`. The name must be the test's own.
    pub(crate) async fn create(name: &str) -> Self {
        let start = || async { Cluster::start(Options::default()).await.unwrap() };
        let cluster = CLUSTER.get_or_init(start).await;
        cluster.create_database(name).await.unwrap();
        let database = Self { url: cluster.url(name) };
        database.execute("CREATE SCHEMA fhir_export").await;
        database
    }

    /// As the superuser.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        run(&mut self.connection().await, sql).await;
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let row = self.connection().await.fetch_one(AssertSqlSafe(sql.to_owned())).await.unwrap();
        row.get(0)
    }

    /// One column of texts.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.connection().await.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The configuration of a source that connects as the superuser, without a margin to wait for.
    pub(crate) fn config(&self) -> SourceConfig {
        SourceConfig { margin: Duration::ZERO, ..SourceConfig::new(&self.url, "fhir_export") }
    }

    pub(crate) fn source(&self) -> Source {
        Source::connect(self.config()).unwrap()
    }

    /// The configuration of a source that connects as a new role, which may read the schema as it is now.
    pub(crate) async fn config_as_role(&self, role: &str) -> SourceConfig {
        self.execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA fhir_export TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA fhir_export TO {role}"
        ))
        .await;
        let dsn = self.url.replacen("postgres@", &format!("{role}@"), 1);
        SourceConfig { dsn, ..self.config() }
    }
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

/// The relation of a type, which must be there.
pub(crate) fn relation(catalog: &Catalog, resource_type: ResourceType) -> Relation {
    catalog.relations_of(resource_type).next().unwrap().clone()
}

/// The first relation of a type by this mapping: one stream, without code tables of its own.
pub(crate) async fn mapped(source: &Source, resource_type: &str, stream: &str) -> Relation {
    let mappings = format!(r#"{{"resourceType": "{resource_type}", "streams": [{stream}]}}"#);
    let file = format!("{resource_type}.json");
    let mappings = MappingSet::parse([(file.as_str(), mappings.as_str())], UsCore::default()).unwrap();
    let catalog = source.catalog(Some(&mappings)).await.unwrap();
    assert!(catalog.unusable.is_empty(), "{:?}", catalog.unusable);
    relation(&catalog, resource_type.parse().unwrap())
}

/// The relation of a type, as the catalogue finds it, and a marker to read with.
pub(crate) async fn relation_and_marker(source: &Source, resource_type: ResourceType) -> (Relation, Marker) {
    let catalog = source.catalog(None).await.unwrap();
    (relation(&catalog, resource_type), source.marker().await.unwrap())
}

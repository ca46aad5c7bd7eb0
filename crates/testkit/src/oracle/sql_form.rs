//! What the templates of a mapped practice make, made by PostgreSQL from their SQL form.

use std::collections::BTreeSet;

use anyhow::Result;
use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;
use headgate_reference_ehr::MAPPING_FILES;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_source::{Catalog, Source, SourceConfig};
use sqlx::{AssertSqlSafe, PgPool};

/// The SQL form of a practice on the reference EHR.
#[derive(Debug)]
pub struct SqlForm {
    catalog: Catalog,
}

impl SqlForm {
    /// Reads which relations there are, as the superuser of the EHR's database.
    ///
    /// # Errors
    /// When the database cannot be read, or a relation does not fit its templates.
    pub async fn of(ehr_url: &str, us_core: UsCore) -> Result<Self> {
        let mappings = MappingSet::parse(MAPPING_FILES.iter().copied(), us_core)?;
        let source = Source::connect(SourceConfig::new(ehr_url, DEFAULT_SCHEMA))?;
        let catalog = source.catalog(Some(&mappings)).await;
        source.close().await;
        let catalog = catalog?;
        anyhow::ensure!(catalog.unusable.is_empty(), "{:?}", catalog.unusable);
        Ok(Self { catalog })
    }

    /// The types that there are.
    #[must_use]
    pub fn types(&self) -> BTreeSet<ResourceType> {
        self.catalog.relations.iter().map(|relation| relation.resource_type).collect()
    }

    /// A query for all resources of a type: columns `id`, `patient_id` and `last_updated` of their row, and
    /// `resource`.
    ///
    /// # Errors
    /// When a template is wrong.
    pub fn query(&self, resource_type: ResourceType) -> Result<String> {
        let relations = self.catalog.relations_of(resource_type);
        let queries: Result<Vec<String>, _> =
            relations.map(|relation| relation.resources_sql(DEFAULT_SCHEMA)).collect();
        Ok(queries?.join(" UNION ALL "))
    }

    /// All resources of a type in PostgreSQL's own form of their JSON, in byte order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resources(&self, ehr: &PgPool, resource_type: ResourceType) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT s.resource::text FROM ({}) s ORDER BY s.resource::text COLLATE \"C\"",
            self.query(resource_type)?
        );
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(ehr).await?)
    }
}

/// Lines of JSON in PostgreSQL's own form, in byte order.
///
/// # Errors
/// When the database fails, or a line is not JSON.
pub async fn normal_form(ehr: &PgPool, lines: &[String]) -> Result<Vec<String>> {
    let sql =
        "SELECT line::jsonb::text FROM unnest($1::text[]) AS line ORDER BY line::jsonb::text COLLATE \"C\"";
    Ok(sqlx::query_scalar(sql).bind(lines).fetch_all(ehr).await?)
}

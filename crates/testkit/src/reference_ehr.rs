//! The reference EHR as the source of a practice, and its mapping set.

use anyhow::Result;
use headgate_domain::mapping::Json;
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{
    InstallOptions, MAPPING, MAPPING_FILES, PopulateOptions, grant_reader, install, populate,
};
use indicatif::ProgressBar;

use crate::TestApp;
use crate::installation::READER;

impl TestApp {
    /// Makes a database with the reference EHR, with so many patients or none, which the engine's role may
    /// read; returns its name.
    ///
    /// # Errors
    /// When it cannot be made or filled.
    pub async fn reference_ehr(&self, patients: u64, seed: u64, bar: ProgressBar) -> Result<String> {
        let database = self.new_empty_database().await?;
        let url = self.installation().database_url(&database);
        install(&url, &InstallOptions::default()).await?;
        if patients > 0 {
            populate(PopulateOptions::new(&url, patients, seed), bar).await?;
        }
        grant_reader(&url, DEFAULT_SCHEMA, READER).await?;
        Ok(database)
    }

    /// Stores the mapping set of the reference EHR and returns its name.
    ///
    /// # Errors
    /// When the admin API refuses it.
    pub async fn reference_mapping(&self) -> Result<&'static str> {
        self.put_mapping(MAPPING, MAPPING_FILES).await?;
        Ok(MAPPING)
    }

    /// Stores a mapping set: file names and texts.
    ///
    /// # Errors
    /// When a file is not JSON, or the admin API refuses the set.
    pub async fn put_mapping(&self, name: &str, files: &[(&str, &str)]) -> Result<()> {
        let documents: Result<Vec<(String, Json)>> =
            files.iter().map(|(file, text)| Ok(((*file).to_owned(), serde_json::from_str(text)?))).collect();
        let body = Json::Object(vec![("files".to_owned(), Json::Object(documents?))]);
        let answer = self.admin().put(&format!("mappings/{name}"), &body).await?;
        anyhow::ensure!(matches!(answer.status, 200 | 201), "the mapping set is refused: {}", answer.text());
        Ok(())
    }
}

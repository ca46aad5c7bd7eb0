//! The mapping set of a practice: from the control database, or from the folder of mapping sets.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use headgate_domain::mapping::{MappingError, MappingSet};
use headgate_domain::template::Variables;
use headgate_store::{SourceBinding, Store};

use crate::ask;

/// Why there is no mapping set.
#[derive(Debug, thiserror::Error)]
pub enum MappingsError {
    /// Neither the control database nor the folder has it.
    #[error(
        "the practice's mapping set {name} is neither in the control database (headgate admin mapping put) nor \
         below source.mappings_dir"
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A file of it cannot be read.
    #[error("the mapping {path} cannot be read: {kind}")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// Why.
        kind: io::ErrorKind,
    },
    /// It is wrong.
    #[error("the mapping set {name} is wrong: {error}")]
    Wrong {
        /// Its name.
        name: String,
        /// Everything that is wrong.
        error: MappingError,
    },
    /// The control database.
    #[error(transparent)]
    Store(#[from] headgate_store::Error),
}

/// The mapping set of a practice, for its version of US Core and its base URL; none if its source has finished resources.
///
/// # Errors
/// When the set is named and cannot be had.
pub async fn of(
    store: &Store,
    folder: Option<&Path>,
    binding: &SourceBinding,
) -> Result<Option<MappingSet>, MappingsError> {
    let Some(name) = &binding.source_mapping else { return Ok(None) };
    let files = match ask::control(store.mapping_set(name)).await? {
        Some(files) => files,
        None => match folder.map(|folder| folder.join(name)).filter(|folder| folder.is_dir()) {
            Some(folder) => read_folder(&folder)?,
            None => return Err(MappingsError::Unknown { name: name.clone() }),
        },
    };
    let variables = Variables { us_core: binding.options.us_core, base_url: binding.base_url.clone() };
    parse(name, &files, variables).map(Some)
}

/// Parses the files of a set.
///
/// # Errors
/// [`MappingsError::Wrong`].
pub fn parse(
    name: &str,
    files: &BTreeMap<String, String>,
    variables: Variables,
) -> Result<MappingSet, MappingsError> {
    let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    MappingSet::parse(files, variables).map_err(|error| MappingsError::Wrong { name: name.to_owned(), error })
}

/// The mapping files of a folder: name and text of each `*.json`.
///
/// # Errors
/// [`MappingsError::Unreadable`].
pub fn read_folder(folder: &Path) -> Result<BTreeMap<String, String>, MappingsError> {
    let unreadable = |path: PathBuf| {
        move |error: io::Error| MappingsError::Unreadable {
            path: path.display().to_string(),
            kind: error.kind(),
        }
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder.to_owned()))? {
        let path = entry.map_err(unreadable(folder.to_owned()))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).map_err(unreadable(path.clone()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, text);
        }
    }
    Ok(files)
}

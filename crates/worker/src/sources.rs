//! Opening practices' sources. Each has a pool of its own; it is kept as long as its DSN and settings stay
//! the same. The DSN is read from where the practice's reference points each time, so that a changed
//! credential is taken up without a restart.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use headgate_domain::PracticeNumber;
use headgate_source::{Source, SourceConfig, SourceError};
use headgate_store::SourceBinding;

use crate::config::SourceDefaults;

/// Why a DSN reference could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum DsnError {
    /// The variable is not set.
    #[error("the source's DSN is to be in the environment variable {0}, which is not set for this process")]
    NotInEnvironment(String),
    /// The file cannot be read.
    #[error("the source's DSN is to be in the file {path}, which cannot be read: {kind}")]
    NotInFile {
        /// The file.
        path: String,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// Neither `env:` nor `file:`.
    #[error("a DSN reference is env:NAME or file:/path")]
    Malformed,
}

/// The open sources of a worker.
#[derive(Debug)]
pub struct Sources {
    defaults: SourceDefaults,
    open: Mutex<HashMap<PracticeNumber, (SourceConfig, Source)>>,
}

impl Sources {
    pub fn new(defaults: SourceDefaults) -> Self {
        Self { defaults, open: Mutex::default() }
    }

    /// The source of a practice. Connections are made when they are needed.
    pub fn get(&self, binding: &SourceBinding) -> Result<Source, crate::Error> {
        let config = config(binding, &self.defaults)?;
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((known, source)) = open.get(&binding.practice)
            && same(known, &config)
        {
            return Ok(source.clone());
        }
        let source = Source::connect(config.clone())?;
        open.insert(binding.practice, (config, source.clone()));
        Ok(source)
    }

    /// Closes every pool.
    pub async fn close(&self) {
        let open: Vec<_> = {
            let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            open.drain().map(|(_, (_, source))| source).collect()
        };
        for source in open {
            source.close().await;
        }
    }
}

/// Opens one source outside a worker, as `headgate source check` does.
///
/// # Errors
/// [`DsnError`] or [`SourceError::Config`], within [`crate::Error`].
pub fn open(binding: &SourceBinding, defaults: &SourceDefaults) -> Result<Source, crate::Error> {
    Ok(Source::connect(config(binding, defaults)?)?)
}

fn config(binding: &SourceBinding, defaults: &SourceDefaults) -> Result<SourceConfig, crate::Error> {
    let config = SourceConfig {
        settings: binding.source_settings.clone(),
        statement_timeout: defaults.statement_timeout,
        lock_timeout: defaults.lock_timeout,
        max_connections: defaults.max_connections,
        connect_timeout: defaults.connect_timeout,
        margin: defaults.margin,
        late_commit_allowance: binding.late_commit_allowance_s.map(|s| Duration::from_secs(s.into())),
        prepared_allowance: defaults.prepared_allowance,
        resource_bytes: defaults.resource_bytes,
        ..SourceConfig::new(resolve(&binding.source_dsn_ref)?, &binding.source_schema)
    };
    if config.dsn.is_empty() {
        return Err(SourceError::Config("the DSN is empty").into());
    }
    Ok(config)
}

/// Follows `env:NAME` or `file:/path`.
fn resolve(reference: &str) -> Result<String, DsnError> {
    match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| DsnError::NotInEnvironment(name.to_owned())),
        Some(("file", path)) => std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .map_err(|e| DsnError::NotInFile { path: path.to_owned(), kind: e.kind() }),
        _ => Err(DsnError::Malformed),
    }
}

/// Whether two configurations open the same pool; what the defaults give is the same anyway.
fn same(a: &SourceConfig, b: &SourceConfig) -> bool {
    a.dsn == b.dsn
        && a.schema == b.schema
        && a.settings == b.settings
        && a.late_commit_allowance == b.late_commit_allowance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_followed_and_a_wrong_one_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "postgres://h/d\n").unwrap();
        assert_eq!(resolve(&format!("file:{}", file.path().display())).unwrap(), "postgres://h/d");
        assert!(matches!(resolve("file:/nowhere/at/all"), Err(DsnError::NotInFile { .. })));
        assert!(matches!(resolve("env:HEADGATE_TEST_NOT_SET"), Err(DsnError::NotInEnvironment(_))));
        assert!(matches!(resolve("postgres://h/d"), Err(DsnError::Malformed)));
    }
}

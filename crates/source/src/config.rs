//! How to reach a practice's database, and within which bounds.

use std::fmt;
use std::time::Duration;

use crate::SourceError;
use crate::identifier;

/// Longest margin or allowance that makes sense: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How to reach a practice's database, and within which bounds.
#[derive(Clone)]
pub struct SourceConfig {
    /// `postgres://…`, with its secret already resolved. Never printed.
    pub dsn: String,
    /// The schema that keeps the source contract; `[a-z_][a-z0-9_]{0,62}`.
    pub schema: String,
    /// Session settings, set in every transaction before anything is read: `("app.practice", "100491")`. They
    /// let one database with row-level security serve many practices. Only names with a dot, which belong to
    /// the EHR, are accepted: PostgreSQL's own settings are Headgate's to choose.
    pub settings: Vec<(String, String)>,
    /// After this the database ends a statement (`statement_timeout`); at least 1 ms.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock (`lock_timeout`), as when the EHR is being upgraded; at least 1 ms.
    pub lock_timeout: Duration,
    /// Most connections that this process opens to the practice's database.
    pub max_connections: u32,
    /// How long to wait for a connection, new or from the pool.
    pub connect_timeout: Duration,
    /// How far the horizon stays below the oldest open transaction. It covers the instant between the moment
    /// a transaction reads its start from the clock and the moment it shows it, and small steps of the clock.
    pub margin: Duration,
    /// The longest time between a row's stamp and the commit that makes it visible, where the operator can
    /// promise one. It is required for a replica and for stamps that are not the database's clock; it also
    /// stands in for the privilege to see other sessions.
    pub late_commit_allowance: Option<Duration>,
    /// The longest time a transaction is open before `PREPARE TRANSACTION`. A prepared transaction shows when
    /// it was prepared, but not when it began.
    pub prepared_allowance: Duration,
    /// Longest resource that is fetched, in bytes; a longer one is reported by its length.
    pub resource_bytes: usize,
}

impl SourceConfig {
    /// A configuration with the defaults: 30 s per statement, 3 s for a lock, four connections, a margin of
    /// 2 s, no late-commit allowance, 5 minutes for prepared transactions, resources of at most 16 MiB.
    #[must_use]
    pub fn new(dsn: impl Into<String>, schema: impl Into<String>) -> Self {
        Self {
            dsn: dsn.into(),
            schema: schema.into(),
            settings: Vec::new(),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(3),
            max_connections: 4,
            connect_timeout: Duration::from_secs(10),
            margin: Duration::from_secs(2),
            late_commit_allowance: None,
            prepared_allowance: Duration::from_secs(300),
            resource_bytes: 16 * 1024 * 1024,
        }
    }

    /// Refuses what the database, or the promise of the horizon, could not stand.
    pub(crate) fn validate(&self) -> Result<(), SourceError> {
        identifier::quote(&self.schema, "schema")?;
        if !self.settings.iter().all(|(name, value)| is_custom_setting(name) && !value.contains('\0')) {
            return Err(SourceError::Config("a session setting must be named like `app.practice`"));
        }
        let whole_millisecond =
            |d: Duration| d >= Duration::from_millis(1) && d.as_millis() <= i32::MAX as u128;
        if !whole_millisecond(self.statement_timeout) || !whole_millisecond(self.lock_timeout) {
            return Err(SourceError::Config("the statement and lock timeouts must be at least 1 ms"));
        }
        if self.max_connections == 0 {
            return Err(SourceError::Config("a source needs at least one connection"));
        }
        let allowances = [Some(self.margin), self.late_commit_allowance, Some(self.prepared_allowance)];
        if allowances.into_iter().flatten().any(|d| d > LONGEST) {
            return Err(SourceError::Config("a margin or allowance may not be longer than a year"));
        }
        if self.resource_bytes == 0 || i32::try_from(self.resource_bytes).is_err() {
            return Err(SourceError::Config("the longest resource must be between 1 byte and 2 GiB"));
        }
        Ok(())
    }
}

/// Whether the name is `word.word`, which PostgreSQL leaves to applications.
fn is_custom_setting(name: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(class, rest)| identifier::is_valid(class) && rest.split('.').all(identifier::is_valid))
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.settings.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("SourceConfig")
            .field("dsn", &"[redacted]")
            .field("schema", &self.schema)
            .field("settings", &names)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("max_connections", &self.max_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("margin", &self.margin)
            .field("late_commit_allowance", &self.late_commit_allowance)
            .field("prepared_allowance", &self.prepared_allowance)
            .field("resource_bytes", &self.resource_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SourceConfig {
        SourceConfig::new("postgres://u:secret@h/d", "fhir_export")
    }

    #[test]
    fn the_defaults_are_valid() {
        config().validate().unwrap();
    }

    #[test]
    fn a_schema_name_with_an_injection_is_refused() {
        let bad = SourceConfig { schema: "x\".patient; drop table y; --".to_owned(), ..config() };
        assert!(matches!(bad.validate(), Err(SourceError::Identifier { what: "schema" })));
    }

    #[test]
    fn only_settings_that_belong_to_the_ehr_are_accepted() {
        let with =
            |name: &str| SourceConfig { settings: vec![(name.to_owned(), "1".to_owned())], ..config() };
        with("app.practice").validate().unwrap();
        for name in ["search_path", "role", "statement_timeout", "app.", ".x", "App.x", "app.x;y"] {
            assert!(with(name).validate().is_err(), "{name}");
        }
    }

    #[test]
    fn a_timeout_of_zero_which_would_mean_none_is_refused() {
        assert!(SourceConfig { statement_timeout: Duration::ZERO, ..config() }.validate().is_err());
        assert!(SourceConfig { lock_timeout: Duration::from_micros(10), ..config() }.validate().is_err());
    }

    #[test]
    fn debug_output_shows_neither_the_secret_nor_the_values_of_settings() {
        let config = SourceConfig { settings: vec![("app.practice".into(), "100491".into())], ..config() };
        let text = format!("{config:?}");
        assert!(!text.contains("secret") && !text.contains("100491"), "{text}");
    }
}

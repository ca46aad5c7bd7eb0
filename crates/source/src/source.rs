//! The pool of one practice.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::{SourceConfig, SourceError};

/// How much longer than the server's own timeout to wait for its answer.
const GRACE: Duration = Duration::from_secs(5);

/// Connections idle for longer are closed: a practice that exports nothing costs its database nothing.
const IDLE: Duration = Duration::from_secs(60);

/// A practice's EHR database. Cheap to clone; clones share one pool.
#[derive(Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    config: SourceConfig,
    /// What every transaction sets: the practice's own settings first, so that ours stand.
    settings: Vec<(String, String)>,
}

impl Source {
    /// Makes the practice's pool. Connections are opened when they are needed; must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// [`SourceError::Config`] and [`SourceError::Identifier`] when the configuration cannot be used.
    pub fn connect(config: SourceConfig) -> Result<Self, SourceError> {
        config.validate()?;
        let options: PgConnectOptions =
            config.dsn.parse().map_err(|_| SourceError::Config("the DSN cannot be parsed"))?;
        let options = options.application_name("headgate").disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.connect_timeout)
            .idle_timeout(IDLE)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let settings = transaction_settings(&config);
        Ok(Self { inner: Arc::new(Inner { pool, config, settings }) })
    }

    /// Closes every connection and waits for it. Transactions that are still open fail.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    pub(crate) fn config(&self) -> &SourceConfig {
        &self.inner.config
    }

    pub(crate) fn schema(&self) -> &str {
        &self.inner.config.schema
    }

    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.inner.settings
    }

    pub(crate) fn max_connections(&self) -> u32 {
        self.inner.config.max_connections
    }

    pub(crate) fn resource_bytes(&self) -> i32 {
        i32::try_from(self.inner.config.resource_bytes).unwrap_or(i32::MAX)
    }

    pub(crate) fn patience(&self) -> Duration {
        self.inner.config.statement_timeout + GRACE
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// What every transaction sets.
fn transaction_settings(config: &SourceConfig) -> Vec<(String, String)> {
    let milliseconds = |d: Duration| d.as_millis().to_string();
    let search_path = format!("pg_catalog, \"{}\", pg_temp", config.schema);
    let ours = [
        ("statement_timeout", milliseconds(config.statement_timeout)),
        ("lock_timeout", milliseconds(config.lock_timeout)),
        ("idle_in_transaction_session_timeout", milliseconds(config.statement_timeout)),
        ("search_path", search_path),
        ("application_name", "headgate".to_owned()),
        // One text form for every key, whatever the server's defaults are.
        ("TimeZone", "UTC".to_owned()),
        ("DateStyle", "ISO, YMD".to_owned()),
        // A generic plan does not know how narrow a key range is and may sort the whole relation; compiling
        // a statement that runs for milliseconds, or giving it helpers, costs more than it saves.
        ("plan_cache_mode", "force_custom_plan".to_owned()),
        ("jit", "off".to_owned()),
        ("max_parallel_workers_per_gather", "0".to_owned()),
    ];
    let own = config.settings.iter().cloned();
    own.chain(ours.into_iter().map(|(name, value)| (name.to_owned(), value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unparsable_dsn_is_refused_without_being_shown() {
        let error = Source::connect(SourceConfig::new("postgres://u:geheim@h:notaport/d", "s")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }

    #[tokio::test]
    async fn a_database_that_is_not_there_is_a_transient_error() {
        let config = SourceConfig {
            connect_timeout: Duration::from_millis(300),
            ..SourceConfig::new("postgres://u@127.0.0.1:1/d", "s")
        };
        let error = Source::connect(config).unwrap().catalog(None).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }

    #[test]
    fn our_settings_come_after_those_of_the_practice() {
        let mut config = SourceConfig::new("", "s");
        config.settings.push(("app.practice".to_owned(), "1".to_owned()));
        let settings = transaction_settings(&config);
        assert_eq!(settings[0], ("app.practice".to_owned(), "1".to_owned()));
        assert!(settings[1..].iter().any(|(name, value)| name == "TimeZone" && value == "UTC"));
    }
}

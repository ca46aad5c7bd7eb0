//! The configuration: typed, complete, and refused as a whole when any of it is wrong.
//!
//! Three layers, the later winning: the defaults of `config/default.toml`, which is built in and is also the
//! documentation of every option; a file; and the environment. A name that is not in the defaults is an error
//! in any layer: a misspelt limit must not silently be no limit. Everything that is wrong is reported at
//! once, by key and with what to write instead, and no message holds a value that may be a secret.

mod admin;
mod checks;
mod database;
mod drain;
mod environment;
mod export;
mod files;
mod jwks;
mod keys;
mod lease;
mod limits;
mod log;
mod poll;
mod s3;
mod server;
mod source;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod worker;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;

pub use admin::{Admin, AdminIssuer};
pub use database::Database;
pub use drain::Drain;
pub use export::Export;
pub use files::Files;
pub use jwks::Jwks;
pub use keys::Keys;
pub use lease::Lease;
pub use limits::Limits;
pub use log::{Format, Log};
pub use poll::Poll;
pub use s3::{PayloadSigning, S3};
pub use server::Server;
pub use source::Source;
pub use telemetry::{OtlpProtocol, Telemetry};
pub use tls::Tls;
pub use token::{External, Token};
pub use worker::Worker;

use checks::Checks;
use environment::Environment;

/// The defaults and the documentation of every option.
pub const DEFAULT_TOML: &str = include_str!("../../../config/default.toml");

/// Names the configuration file where the command line does not.
pub const FILE_VARIABLE: &str = "HEADGATE_CONFIG";

/// All options.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners.
    pub server: Server,
    /// The control database.
    pub database: Database,
    /// The bucket.
    pub s3: S3,
    /// What protects stored secrets.
    pub keys: Keys,
    /// Access tokens.
    pub token: Token,
    /// Key sets at URLs.
    pub jwks: Jwks,
    /// The admin API.
    pub admin: Admin,
    /// Links to files.
    pub files: Files,
    /// Leases of workers.
    pub lease: Lease,
    /// Cutting and keeping exports.
    pub export: Export,
    /// Status requests.
    pub poll: Poll,
    /// Sizes.
    pub limits: Limits,
    /// Workers.
    pub worker: Worker,
    /// The practices' databases.
    pub source: Source,
    /// Ending.
    pub drain: Drain,
    /// Logging.
    pub log: Log,
    /// Traces, metrics and logs for a collector.
    pub telemetry: Telemetry,
}

/// What the process is going to do: which options it cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves HTTP: needs the control database, the bucket and its public base URL.
    Api,
    /// Runs exports: needs the control database and the bucket.
    Worker,
    /// Migrates the control database, which is all it needs.
    Migrate,
    /// Anything else: the defaults do.
    Tool,
}

/// The configuration cannot be used. The process ends with [`exit::CONFIG`](crate::exit::CONFIG).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One or more options are unknown, malformed, missing or out of range; a line each.
    #[error("the configuration is wrong:\n  {}", .0.join("\n  "))]
    Options(Vec<String>),
}

impl Config {
    /// Reads the configuration of this process: defaults, the file (else the one that `HEADGATE_CONFIG`
    /// names, else none), and the environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: Option<&Path>, role: Role) -> Result<Self, ConfigError> {
        let named = std::env::var_os(FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let file = file.map(Path::to_path_buf).or(named);
        // A variable that is not text cannot be one of ours, or cannot be understood.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Self::from_parts(file.as_deref(), variables, role)
    }

    /// Reads a configuration from the given parts instead of the process's own.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_parts(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        role: Role,
    ) -> Result<Self, ConfigError> {
        let mut layers = Figment::from(Toml::string(DEFAULT_TOML));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::File { path: path.to_path_buf(), source })?;
            layers = layers.merge(Toml::string(&text));
        }
        layers = layers.merge(Environment::read(variables).map_err(ConfigError::Options)?);
        let mut config: Self = layers
            .extract()
            .map_err(|error| ConfigError::Options(error.into_iter().map(without_value).collect()))?;
        config.check(role)?;
        Ok(config)
    }

    /// Reads secrets from their files, then validates every section.
    fn check(&mut self, role: Role) -> Result<(), ConfigError> {
        let mut checks = Checks::default();
        self.server.check(role, &mut checks);
        self.database.check(role, &mut checks);
        self.s3.check(role, &mut checks);
        self.keys.check(role, &mut checks);
        self.token.check(&self.jwks, &mut checks);
        self.jwks.check(role, &mut checks);
        self.admin.check(role, &self.jwks, &mut checks);
        self.files.check(&mut checks);
        self.lease.check(&mut checks);
        self.export.check(&mut checks);
        self.poll.check(&mut checks);
        self.limits.check(&mut checks);
        self.worker.check(self.export.file_bytes, &mut checks);
        self.source.check(&mut checks);
        self.drain.check(&mut checks);
        self.log.check(&mut checks);
        self.telemetry.check(&mut checks);
        let problems = checks.into_problems();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Options(problems)) }
    }
}

/// Words an error of the parser without the offending value, which may be a secret.
fn without_value(error: figment::Error) -> String {
    let key = error.path.join(".");
    let text = match error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("must be {expected}"),
        Kind::InvalidLength(_, expected) => format!("must have {expected}"),
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        Kind::UnknownField(name, _) if key.is_empty() || key == name => {
            return format!("{name}: there is no such section");
        }
        Kind::UnknownField(name, known) => {
            format!("there is no option {name}; there are: {}", known.join(", "))
        }
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "is too large".to_owned(),
        // The TOML parser quotes the line it stumbled over: its first line says where, its last one what.
        Kind::Message(text) => {
            let mut lines = text.lines();
            let place = lines.next().unwrap_or_default();
            lines.last().map_or_else(|| place.to_owned(), |what| format!("{place}: {what}"))
        }
        other => other.to_string(),
    };
    if key.is_empty() { text } else { format!("{key}: {text}") }
}

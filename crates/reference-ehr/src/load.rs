//! Fills the plain-table variant of the source contract from a folder of NDJSON.
//!
//! One thread reads and parses, one connection copies; the whole load is one transaction, so readers see
//! all of it or nothing, and every new or changed row carries the same stamp: the clock of that
//! transaction, never `meta.lastUpdated`, because an incremental export asks when a row appeared *here*.
//!
//! The body of a row is its line without the line feed, byte for byte. (A carriage return before the line
//! feed is JSON white space and stays.) Blank lines are skipped; any other line that is not a resource
//! with a known owner stops the load, which then has changed nothing.
//!
//! Rows that exist already are updated if their body differs; rows that the folder does not name stay.
//! With [`LoadOptions::replace`] the tables are emptied first, and what does not come back leaves a
//! tombstone. Readers wait for such a load to end, because it truncates.

mod copy;
mod error;
mod files;
mod row;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use headgate_domain::ResourceType;
use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

pub use error::{LineProblem, LoadError};

use crate::database::{DatabaseError, connect};
use copy::Destination;
use files::Filled;
use tables::{PENDING, Tables, Way};

/// The schema of the source contract where nothing else is said.
pub const DEFAULT_SCHEMA: &str = "fhir_export";

/// The longest line that is read, in bytes without its line feed.
pub const MAX_LINE_BYTES: usize = 256 << 20;

/// How many batches may wait between the reading thread and the connection.
const WAITING_BATCHES: usize = 4;

/// What to load, and where to.
#[derive(Clone)]
pub struct LoadOptions {
    /// The EHR's database, with a user who may create the schema: `postgres://…`.
    pub dsn: String,
    /// The schema of the source contract; made if it is missing.
    pub schema: String,
    /// The folder with `*.ndjson` and `*.ndjson.gz`. The names do not matter: each line names its type.
    pub from: PathBuf,
    /// Whether what is there is emptied first.
    pub replace: bool,
}

impl LoadOptions {
    /// Loads `from` into [`DEFAULT_SCHEMA`] of the database at `dsn`, keeping what is there.
    pub fn new(dsn: impl Into<String>, from: impl Into<PathBuf>) -> Self {
        Self { dsn: dsn.into(), schema: DEFAULT_SCHEMA.to_owned(), from: from.into(), replace: false }
    }
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// Lines read, by type.
    pub rows: BTreeMap<ResourceType, u64>,
    /// Rows that are new or changed; the others were there already, with the same body.
    pub written: u64,
    /// Bytes of NDJSON read, unpacked, with line feeds.
    pub bytes: u64,
    /// Seconds from start to end, indexes and statistics included.
    pub seconds: f64,
}

/// Loads a folder. The bar gets its length, in bytes on disk, and moves while they are read; its style
/// and place are the caller's ([`ProgressBar::hidden`] shows nothing).
///
/// # Errors
/// When the folder has no NDJSON, a line is not a resource whose owner is known (the error names file and
/// line), two lines have the same id, or the database fails. The tables are then as they were.
pub async fn load(options: LoadOptions, bar: ProgressBar) -> Result<LoadReport, LoadError> {
    let started = Instant::now();
    let files = Arc::new(files::list(&options.from)?);
    let mut connection = connect(&options.dsn).await?;
    let tables = Tables::new(&options.schema);
    let (filled, batches) = mpsc::channel(WAITING_BATCHES);
    let reading = {
        let (files, bar) = (Arc::clone(&files), bar.clone());
        tokio::task::spawn_blocking(move || files::read(&files, &bar, &filled))
    };

    let mut tx = connection.begin().await.map_err(DatabaseError::from)?;
    let mut loading = Loading { connection: &mut tx, tables: &tables, ways: BTreeMap::new(), written: 0 };
    loading.begin(options.replace).await?;
    loading.receive(batches).await?;
    // Before anything is committed: a broken line ends the stream of batches as the last line does.
    let read = reading.await.map_err(LoadError::Reader)??;
    bar.set_message("indexes");
    loading.settle(&files).await?;
    let Loading { ways, written, .. } = loading;
    tx.commit().await.map_err(DatabaseError::from)?;

    for t in ways.keys() {
        tables.tidy(&mut connection, *t).await?;
    }
    bar.finish();
    Ok(LoadReport { rows: read.rows, written, bytes: read.bytes, seconds: started.elapsed().as_secs_f64() })
}

/// The database's side of one load, within its transaction.
struct Loading<'a> {
    connection: &'a mut PgConnection,
    tables: &'a Tables,
    /// The types that have a table, and how it is filled.
    ways: BTreeMap<ResourceType, Way>,
    written: u64,
}

impl Loading<'_> {
    /// The USCDI types always have a table: an empty one says that the type is supported and has no rows.
    /// Others get theirs with their first row.
    async fn begin(&mut self, replace: bool) -> Result<(), LoadError> {
        self.tables.begin(self.connection).await?;
        let mut wanted = BTreeSet::from(ResourceType::USCDI);
        if replace {
            wanted.extend(self.tables.existing(self.connection).await?);
        }
        for t in wanted {
            let way = self.tables.prepare(self.connection, t, replace).await?;
            self.ways.insert(t, way);
        }
        Ok(())
    }

    async fn way(&mut self, t: ResourceType) -> Result<Way, LoadError> {
        if let Some(way) = self.ways.get(&t) {
            return Ok(*way);
        }
        let way = self.tables.prepare(self.connection, t, false).await?;
        self.ways.insert(t, way);
        Ok(way)
    }

    async fn receive(&mut self, mut batches: mpsc::Receiver<Filled>) -> Result<(), LoadError> {
        while let Some((destination, data)) = batches.recv().await {
            let Destination::Table(t) = destination else {
                self.tables.copy(self.connection, PENDING, &data).await?;
                continue;
            };
            let way = self.way(t).await?;
            let copied = self.tables.copy(self.connection, &self.tables.target(t, way), &data).await?;
            if way == Way::Direct {
                self.written += copied;
            }
        }
        Ok(())
    }

    /// Merges and indexes. Provenance comes last, because its rows may wait for those of the others.
    async fn settle(&mut self, files: &[PathBuf]) -> Result<(), LoadError> {
        let types: Vec<ResourceType> = self.ways.keys().copied().collect();
        for t in types.iter().copied().filter(|t| *t != ResourceType::Provenance) {
            self.settle_type(t).await?;
        }
        self.resolve_pending(files).await?;
        self.settle_type(ResourceType::Provenance).await?;
        for t in types {
            self.tables.bury_replaced(self.connection, t).await?;
        }
        Ok(())
    }

    /// Gives the Provenance rows that name no patient the patient of their target.
    async fn resolve_pending(&mut self, files: &[PathBuf]) -> Result<(), LoadError> {
        let way = self.way(ResourceType::Provenance).await?;
        for t in self.tables.pending_types(self.connection).await? {
            self.way(t).await?;
            if let Some((file, line)) = self.tables.missing_target(self.connection, t).await? {
                let file = files.get(file).cloned().unwrap_or_default();
                return Err(LoadError::Line { file, line, problem: LineProblem::MissingTarget });
            }
            let resolved = self.tables.resolve_pending(self.connection, t, way).await?;
            if way == Way::Direct {
                self.written += resolved;
            }
        }
        Ok(())
    }

    async fn settle_type(&mut self, t: ResourceType) -> Result<(), LoadError> {
        let way = self.way(t).await?;
        self.written += self.tables.settle(self.connection, t, way).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

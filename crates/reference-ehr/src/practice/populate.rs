//! Fills an installed EHR with a synthetic practice.
//!
//! One thread generates, one connection copies, all in one transaction. Triggers are off meanwhile, foreign
//! keys and indexes are dropped and made again at the end: that checks every reference, and costs a
//! fraction of doing so row by row. What the triggers would have written (stamps, authors, tombstones) the
//! generator writes.

use std::collections::BTreeMap;
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::mpsc;

use super::chart::Chart;
use super::directory::Directory;
use super::error::PracticeError;
use super::install::{DEFAULT_EHR_SCHEMA, check_name, has_tables, set_practice};
use super::keys::Keys;
use super::person::Person;
use super::rows::{Chunk, Rows};
use super::turns::Turns;
use crate::database::{DatabaseError, connect, execute};
use crate::generate::rng::Rng;

/// How many chunks may wait between the generating thread and the connection.
const WAITING_CHUNKS: usize = 4;

/// The streams of randomness that are not a patient's; patients have 1, 2, 3, …
const DIRECTORY_STREAM: u64 = 0;
const KEY_STREAM: u64 = u64::MAX;

/// What to generate, and where to.
#[derive(Clone)]
pub struct PopulateOptions {
    /// The EHR's database, with a user who owns the schema: `postgres://…`.
    pub dsn: String,
    /// The schema of the tables.
    pub schema: String,
    /// How many patients.
    pub patients: u64,
    /// What makes this practice different from others.
    pub seed: u64,
    /// The number of this practice in an EHR that many share.
    pub practice: Option<i64>,
}

impl PopulateOptions {
    /// A practice of so many patients, in [`DEFAULT_EHR_SCHEMA`] of the database at `dsn`.
    pub fn new(dsn: impl Into<String>, patients: u64, seed: u64) -> Self {
        Self { dsn: dsn.into(), schema: DEFAULT_EHR_SCHEMA.to_owned(), patients, seed, practice: None }
    }
}

/// What was generated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PopulateReport {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Seconds from start to end, indexes and statistics included.
    pub seconds: f64,
}

/// Fills an EHR that has no patients yet. The same patients and seed give the same content, but for the
/// stamps of the rows, which are the clock of this transaction. The bar counts patients; its style and place
/// are the caller's ([`ProgressBar::hidden`] shows nothing).
///
/// # Errors
/// When the schema is no reference EHR, has patients already, or the database fails. Nothing has changed
/// then.
pub async fn populate(options: PopulateOptions, bar: ProgressBar) -> Result<PopulateReport, PracticeError> {
    let started = Instant::now();
    check_name(&options.schema)?;
    if options.patients == 0 {
        return Err(PracticeError::NoPatients);
    }
    bar.set_length(options.patients);
    let mut connection = connect(&options.dsn).await?;
    let mut tx = connection.begin().await?;
    if !has_tables(&mut tx, &options.schema).await? {
        return Err(PracticeError::NotInstalled(options.schema));
    }
    let extent = match options.practice {
        Some(practice) => {
            set_practice(&mut tx, practice).await?;
            format!(" WHERE practice_number = {practice}")
        }
        None => String::new(),
    };
    let has_rows = format!("SELECT EXISTS (SELECT FROM {}.patient{extent})", options.schema);
    if sqlx::query_scalar(AssertSqlSafe(has_rows)).fetch_one(&mut *tx).await? {
        return Err(PracticeError::NotEmpty(options.schema));
    }

    let bare = Bare::strip(&mut tx, &options.schema).await?;
    let stamp = stamp(&mut tx).await?;
    let (filled, chunks) = mpsc::channel(WAITING_CHUNKS);
    let generating = {
        let (options, bar) = (options.clone(), bar.clone());
        tokio::task::spawn_blocking(move || generate(&options, stamp, filled, &bar))
    };
    let rows = receive(&mut tx, &options.schema, chunks).await?;
    generating.await.map_err(PracticeError::Generator)?;
    bar.set_message("indexes");
    bare.dress(&mut tx).await?;
    tx.commit().await?;

    for table in &bare.tables {
        execute(&mut connection, format!("VACUUM (ANALYZE) {table}")).await?;
    }
    bar.finish();
    Ok(PopulateReport { rows, seconds: started.elapsed().as_secs_f64() })
}

/// The clock of the database, after this transaction has written: whoever reads while it is open sees that
/// it is.
async fn stamp(connection: &mut PgConnection) -> Result<String, PracticeError> {
    Ok(sqlx::query_scalar(
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"Z\"')",
    )
    .fetch_one(connection)
    .await?)
}

/// Writes the whole practice.
pub(super) fn generate(
    options: &PopulateOptions,
    stamp: String,
    filled: mpsc::Sender<Chunk>,
    bar: &ProgressBar,
) {
    let keys = Keys::new(Rng::new(options.seed, KEY_STREAM));
    let mut rows = Rows::new(filled, keys, stamp);
    let mut turns = Turns::default();
    let mut rng = Rng::new(options.seed, DIRECTORY_STREAM);
    let directory = Directory::write(options.patients, &mut rng, &mut rows);
    for number in 0..options.patients {
        // A stream of its own for each patient: one chart hardly depends on the others.
        let mut rng = Rng::new(options.seed, number + 1);
        let person = Person::new(rows.key(), number, &mut rng, &directory);
        let (turns, rows) = (&mut turns, &mut rows);
        Chart { person, directory: &directory, rng, turns, rows }.write_all();
        bar.inc(1);
        if rows.is_closed() {
            return;
        }
    }
    rows.finish();
}

async fn receive(
    connection: &mut PgConnection,
    schema: &str,
    mut chunks: mpsc::Receiver<Chunk>,
) -> Result<BTreeMap<String, u64>, DatabaseError> {
    let mut rows = BTreeMap::new();
    while let Some(chunk) = chunks.recv().await {
        let (table, columns) = (chunk.table, chunk.columns.join(", "));
        let mut copy =
            connection.copy_in_raw(&format!("COPY {schema}.{table} ({columns}) FROM STDIN")).await?;
        copy.send(chunk.data).await?;
        copy.finish().await?;
        *rows.entry(table.to_owned()).or_insert(0) += chunk.rows;
    }
    Ok(rows)
}

/// Tables without triggers, foreign keys and secondary indexes, and how to make these again.
struct Bare {
    tables: Vec<String>,
    indexes: Vec<String>,
    foreign_keys: Vec<String>,
}

impl Bare {
    async fn strip(connection: &mut PgConnection, schema: &str) -> Result<Self, PracticeError> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT oid::regclass::text FROM pg_class
             WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' ORDER BY relname",
        )
        .bind(schema)
        .fetch_all(&mut *connection)
        .await?;
        let foreign_keys: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
             FROM pg_constraint
             WHERE connamespace = $1::text::regnamespace AND contype = 'f'
             ORDER BY conrelid::regclass::text, conname",
        )
        .bind(schema)
        .fetch_all(&mut *connection)
        .await?;
        let indexes: Vec<(String, String)> = sqlx::query_as(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
             FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
             WHERE relnamespace = $1::text::regnamespace
               AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
             ORDER BY relname",
        )
        .bind(schema)
        .fetch_all(&mut *connection)
        .await?;
        for table in &tables {
            execute(connection, format!("ALTER TABLE {table} DISABLE TRIGGER USER")).await?;
        }
        for (table, name, _) in &foreign_keys {
            execute(connection, format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await?;
        }
        for (name, _) in &indexes {
            execute(connection, format!("DROP INDEX {name}")).await?;
        }
        let foreign_keys = foreign_keys
            .into_iter()
            .map(|(table, name, definition)| {
                format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
            })
            .collect();
        Ok(Self {
            tables,
            indexes: indexes.into_iter().map(|(_, definition)| definition).collect(),
            foreign_keys,
        })
    }

    /// Makes again what was taken off. Statistics come first, so that the checks of the foreign keys are
    /// planned for the tables as they are.
    async fn dress(&self, connection: &mut PgConnection) -> Result<(), DatabaseError> {
        execute(connection, "SET LOCAL maintenance_work_mem = '256MB'".to_owned()).await?;
        for table in &self.tables {
            execute(connection, format!("ANALYZE {table}")).await?;
        }
        for statement in self.indexes.iter().chain(&self.foreign_keys) {
            execute(connection, statement.clone()).await?;
        }
        for table in &self.tables {
            execute(connection, format!("ALTER TABLE {table} ENABLE TRIGGER USER")).await?;
        }
        Ok(())
    }
}

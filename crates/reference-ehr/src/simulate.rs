//! A practice at work: a stream of believable writes to the relational reference EHR, through ordinary SQL
//! and with its triggers, so that exports, and chains of exports with `_since`, have something to keep up
//! with.
//!
//! Each write is a transaction of its own: visits, corrections, child rows that change, records deleted
//! softly and for good, and brought back, signs taken back, errors marked, duplicates merged, groups joined
//! and left. Some transactions stay open for seconds before they are committed, and some are rolled back.
//! Which writes come is determined by the seed, what they hit depends on what is there.

mod changes;
mod places;
mod visits;

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::database::DatabaseError;
use crate::generate::rng::Rng;
use crate::practice::{DEFAULT_EHR_SCHEMA, PracticeError, SHARED_OWNER, is_installed};
use places::Places;

/// How many writes may be under way at the same time, those that are held open included.
const CONNECTIONS: u32 = 10;

/// What to do, for how long, and how fast.
#[derive(Clone)]
pub struct SimulateOptions {
    /// The EHR's database, with a user who may write its tables: `postgres://…`.
    pub dsn: String,
    /// The schema of the tables.
    pub schema: String,
    /// For how long.
    pub duration: Duration,
    /// Transactions per second.
    pub rate: f64,
    /// What makes this stream of writes different from others.
    pub seed: u64,
    /// The number of the practice in an EHR that many share.
    pub practice: Option<i64>,
}

impl SimulateOptions {
    /// Writes to [`DEFAULT_EHR_SCHEMA`] of the database at `dsn`, five a second.
    pub fn new(dsn: impl Into<String>, duration: Duration) -> Self {
        let schema = DEFAULT_EHR_SCHEMA.to_owned();
        Self { dsn: dsn.into(), schema, duration, rate: 5.0, seed: 1, practice: None }
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SimulateReport {
    /// Committed transactions by what they did.
    pub committed: BTreeMap<&'static str, u64>,
    /// Of these, how many were held open before they were committed.
    pub held_open: u64,
    /// Transactions that were rolled back after they had written.
    pub rolled_back: u64,
    /// Transactions that found nothing to write to.
    pub idle: u64,
    /// Transactions that the database refused, because another one held the row for too long or was first.
    pub refused: u64,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// A kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Visit,
    Prescription,
    Registration,
    Correction,
    Child,
    SoftDelete,
    Undelete,
    Delete,
    VitalSignTakenBack,
    EnteredInError,
    Merge,
    GroupJoined,
    GroupLeft,
    Directory,
}

/// Kinds of writes, and their shares in a hundred.
const SHARES: [(Action, i64); 14] = [
    (Action::Visit, 25),
    (Action::Prescription, 7),
    (Action::Registration, 4),
    (Action::Correction, 15),
    (Action::Child, 13),
    (Action::SoftDelete, 5),
    (Action::Undelete, 3),
    (Action::Delete, 6),
    (Action::VitalSignTakenBack, 6),
    (Action::EnteredInError, 6),
    (Action::Merge, 1),
    (Action::GroupJoined, 4),
    (Action::GroupLeft, 3),
    (Action::Directory, 2),
];

impl Action {
    fn draw(rng: &mut Rng) -> Self {
        let mut left = rng.between(1, 100);
        let drawn = SHARES.iter().find(|(_, share)| {
            left -= share;
            left <= 0
        });
        drawn.map_or(Action::Visit, |(action, _)| *action)
    }

    fn name(self) -> &'static str {
        match self {
            Action::Visit => "visits",
            Action::Prescription => "prescriptions",
            Action::Registration => "new patients",
            Action::Correction => "corrections",
            Action::Child => "child rows changed",
            Action::SoftDelete => "soft deletes",
            Action::Undelete => "undeletes",
            Action::Delete => "deletes",
            Action::VitalSignTakenBack => "vital signs taken back",
            Action::EnteredInError => "entered in error",
            Action::Merge => "merges",
            Action::GroupJoined => "group joins",
            Action::GroupLeft => "group leaves",
            Action::Directory => "directory changes",
        }
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Committed {
        held: bool,
    },
    RolledBack,
    /// There was nothing to write to.
    Idle,
    Refused,
}

/// Writes until the time is over. The bar counts transactions; its style and place are the caller's
/// ([`ProgressBar::hidden`] shows nothing).
///
/// # Errors
/// When the schema is no reference EHR, has no patients, or the database fails other than by refusing a
/// transaction that got into another's way.
pub async fn simulate(options: SimulateOptions, bar: ProgressBar) -> Result<SimulateReport, PracticeError> {
    if !is_installed(&options.dsn, &options.schema).await? {
        return Err(PracticeError::NotInstalled(options.schema));
    }
    let started = Instant::now();
    let pool = pool(&options).await?;
    let places = Arc::new(Places::find(&pool).await?.ok_or(PracticeError::NoPatients)?);
    let permits = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let mut rng = Rng::new(options.seed, 0);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate.clamp(0.01, 10_000.0)));
    let (mut under_way, mut report) = (JoinSet::new(), SimulateReport::default());
    for number in 1.. {
        ticks.tick().await;
        if started.elapsed() >= options.duration {
            break;
        }
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        let (pool, places) = (pool.clone(), Arc::clone(&places));
        let action = Action::draw(&mut rng);
        let rng = Rng::new(options.seed, number);
        under_way.spawn(async move {
            let end = transact(action, &pool, &places, rng).await;
            drop(permit);
            (action, end)
        });
        while let Some(ended) = under_way.try_join_next() {
            report.note(ended, &bar)?;
        }
    }
    while let Some(ended) = under_way.join_next().await {
        report.note(ended, &bar)?;
    }
    pool.close().await;
    bar.finish();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

impl SimulateReport {
    fn note(
        &mut self,
        ended: Result<(Action, Result<End, DatabaseError>), tokio::task::JoinError>,
        bar: &ProgressBar,
    ) -> Result<(), PracticeError> {
        let (action, end) = ended.map_err(PracticeError::Generator)?;
        match end? {
            End::Committed { held } => {
                *self.committed.entry(action.name()).or_insert(0) += 1;
                self.held_open += u64::from(held);
            }
            End::RolledBack => self.rolled_back += 1,
            End::Idle => self.idle += 1,
            End::Refused => self.refused += 1,
        }
        bar.inc(1);
        Ok(())
    }
}

/// Connections on which the tables need no schema's name. In an EHR that many share they take the role of its
/// owner, whom the policies bind: superusers would write to other practices too.
async fn pool(options: &SimulateOptions) -> Result<PgPool, DatabaseError> {
    let connect = PgConnectOptions::from_str(&options.dsn)?
        .application_name("headgate-ehr-simulate")
        .options([("search_path", options.schema.clone()), ("lock_timeout", "8s".to_owned())])
        .options(options.practice.map(|practice| ("app.practice", practice.to_string())))
        .options(options.practice.map(|_| ("role", SHARED_OWNER)))
        .disable_statement_logging();
    Ok(PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(connect).await?)
}

/// One transaction, with what may delay or undo it.
async fn transact(
    action: Action,
    pool: &PgPool,
    places: &Places,
    mut rng: Rng,
) -> Result<End, DatabaseError> {
    let outcome = attempt(action, pool, places, &mut rng).await;
    match outcome {
        Err(error) if is_conflict(&error) => Ok(End::Refused),
        other => other,
    }
}

async fn attempt(
    action: Action,
    pool: &PgPool,
    places: &Places,
    rng: &mut Rng,
) -> Result<End, DatabaseError> {
    let mut tx = pool.begin().await?;
    if rng.chance(50) {
        let provider = places.provider(rng);
        sqlx::query("SELECT set_config('app.provider', $1::text, true)")
            .bind(provider.to_string())
            .execute(&mut *tx)
            .await?;
    }
    let has_written = match action {
        Action::Visit => visits::visit(&mut tx, places, rng).await?,
        Action::Prescription => visits::prescription(&mut tx, places, rng).await?,
        Action::Registration => visits::registration(&mut tx, places, rng).await?,
        Action::Correction => changes::correction(&mut tx, places, rng).await?,
        Action::Child => changes::child(&mut tx, places, rng).await?,
        Action::SoftDelete => changes::soft_delete(&mut tx, places, rng).await?,
        Action::Undelete => changes::undelete(&mut tx, places, rng).await?,
        Action::Delete => changes::delete(&mut tx, places, rng).await?,
        Action::VitalSignTakenBack => changes::vital_sign_taken_back(&mut tx, places, rng).await?,
        Action::EnteredInError => changes::entered_in_error(&mut tx, places, rng).await?,
        Action::Merge => changes::merge(&mut tx, places, rng).await?,
        Action::GroupJoined => changes::group_joined(&mut tx, places, rng).await?,
        Action::GroupLeft => changes::group_left(&mut tx, places, rng).await?,
        Action::Directory => changes::directory(&mut tx, places, rng).await?,
    };
    if !has_written {
        tx.rollback().await?;
        return Ok(End::Idle);
    }
    let held = rng.chance(6);
    if held {
        let millis = rng.between(1000, 5000).unsigned_abs();
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    if rng.chance(3) {
        tx.rollback().await?;
        return Ok(End::RolledBack);
    }
    tx.commit().await?;
    Ok(End::Committed { held })
}

/// Whether another transaction was first or in the way: a deadlock, a lock not given in time, a row that is
/// gone or there already.
fn is_conflict(error: &DatabaseError) -> bool {
    ["40P01", "40001", "55P03", "23503", "23505", "P0001"].iter().any(|code| error.is(code))
}

#[cfg(test)]
mod tests;

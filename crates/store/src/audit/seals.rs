//! Seals: batches of audit events that can no longer be changed, removed or added to unnoticed.
//!
//! Writers of events never wait for each other, so an event may become visible after one with a greater number. A
//! batch may therefore only be sealed when nothing can be added below its end. The sealer works in two strokes. It
//! marks the greatest number there is, with the id of its own transaction; a later run seals up to the mark, once every
//! transaction with a lower id has ended.
//!
//! The hash of a seal covers the digest of its events and the hash of the seal before. Its MAC is made by the caller
//! with a key that is not in the database: whoever can write the tables can compute hashes, but no MAC.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::sealed::{self, SealedEvent};
use crate::error::number;
use crate::{Page, Paged, Result, Store};

/// Events of one seal at most.
const MOST: i64 = 10_000;

/// A mark has to be at least this old, besides: an event takes its number a moment before its transaction gets an id.
const SETTLES_AFTER: Duration = Duration::from_secs(2);

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRecord {
    /// Its number, from 1 without gaps.
    pub number: i64,
    /// The first number of an event that it covers.
    pub first_id: i64,
    /// The last.
    pub last_id: i64,
    /// How many events there are between.
    pub events: i64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// With which key its MAC was made.
    pub key_id: String,
    /// When it was made.
    pub sealed_at: DateTime<Utc>,
}

/// A seal that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeal {
    /// Its number.
    pub number: i64,
    /// How many events it covers.
    pub events: i64,
    /// Its hash. Kept where nobody can change it, it vouches for everything up to here.
    pub hash: Vec<u8>,
}

/// What is known of a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacState {
    /// It was made with the key that it names.
    Good,
    /// It was not.
    Bad,
    /// The key that it names is not at hand.
    UnknownKey,
}

/// Something that is wrong with the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealProblem {
    /// Of which seal.
    pub seal: i64,
    /// What.
    pub problem: String,
}

/// What a look at a part of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealCheck {
    /// Seals that were looked at.
    pub checked_seals: u64,
    /// Events that were looked at.
    pub checked_events: u64,
    /// With which seal the next look begins; none: this was the end.
    pub next: Option<i64>,
    /// What is wrong.
    pub problems: Vec<SealProblem>,
    /// Events that no seal covers yet.
    pub unsealed_events: u64,
    /// The hash of the last seal that was looked at.
    pub last_hash: Option<Vec<u8>>,
}

/// A seal and what its events amount to now.
struct Row {
    seal_number: i64,
    first_id: i64,
    last_id: i64,
    events: i64,
    digest: Vec<u8>,
    previous: Vec<u8>,
    hash: Vec<u8>,
    key_id: String,
    mac: Vec<u8>,
    events_now: i64,
    digest_now: Vec<u8>,
    hash_now: Vec<u8>,
}

impl Store {
    /// Seals what can be sealed, and marks what is there; returns the new seals. `mac` makes the MAC of a hash: the id of
    /// its key, and the MAC. `tell` gets each event that is sealed, with the number of its seal, before that is certain:
    /// where it fails afterwards, the event is sealed and told again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seal_audit(
        &self,
        mac: impl Fn(&[u8]) -> (String, Vec<u8>),
        tell: impl Fn(i64, &SealedEvent),
    ) -> Result<Vec<NewSeal>> {
        let mut tx = self.everywhere().await?;
        let mine = sqlx::query_scalar!(
            r#"/* seal_audit: lock */
             SELECT pg_try_advisory_xact_lock(hashtextextended('headgate.audit_seal', 0)) AS "mine!""#,
        )
        .fetch_one(&mut *tx)
        .await?;
        if !mine {
            return Ok(Vec::new());
        }
        let mut sealed = Vec::new();
        let settled = settled_mark(&mut tx).await?;
        if let Some(last_id) = settled {
            while let Some(seal) = seal_batch(&mut tx, last_id, &mac, &tell).await? {
                sealed.push(seal);
            }
        }
        mark(&mut tx, settled.is_some()).await?;
        tx.commit().await?;
        Ok(sealed)
    }

    /// Seals by number.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn seals(&self, page: &Page) -> Result<Paged<SealRecord>> {
        let rows = sqlx::query!(
            "/* seals */
             SELECT seal_number, first_id, last_id, events, hash, key_id, sealed_at FROM headgate.audit_seal
              WHERE $1::bigint IS NULL OR seal_number > $1 ORDER BY seal_number LIMIT $2",
            page.number()?,
            page.rows(),
        )
        .fetch_all(&self.pool)
        .await?;
        let seals = rows.into_iter().map(|row| SealRecord {
            number: row.seal_number,
            first_id: row.first_id,
            last_id: row.last_id,
            events: row.events,
            hash: row.hash,
            key_id: row.key_id,
            sealed_at: row.sealed_at,
        });
        Ok(Paged::of(seals.collect(), page, |seal| seal.number.to_string()))
    }

    /// Checks seals of the chain, from the seal `from` on, until so many events were looked at or the chain has ended,
    /// and then what follows the last. `check` tells whether a MAC, made with the key of this id, is that of a hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_seals(
        &self,
        from: i64,
        most_events: u32,
        check: impl Fn(&str, &[u8], &[u8]) -> MacState,
    ) -> Result<SealCheck> {
        let mut tx = self.everywhere().await?;
        // First what there is behind the chain: a seal that is added meanwhile is then one more, and none is missed.
        let tail = tail(&mut tx).await?;
        let before = seal_before(&mut tx, from).await?;
        let through = through(&mut tx, from, most_events).await?;
        let rows = sqlx::query_as!(
            Row,
            r#"/* verify_seals */
             SELECT s.seal_number, s.first_id, s.last_id, s.events, s.digest, s.previous, s.hash, s.key_id, s.mac,
                    d.events AS "events_now!", d.digest AS "digest_now!",
                    sha256(s.previous || int8send(s.seal_number) || int8send(s.first_id) || int8send(s.last_id)
                           || int8send(s.events) || s.digest) AS "hash_now!"
               FROM headgate.audit_seal s, headgate.audit_digest(s.first_id, s.last_id) d
              WHERE s.seal_number BETWEEN $1 AND $2 ORDER BY s.seal_number"#,
            from,
            through.last,
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;

        let proven = tail
            .newest
            .as_ref()
            .is_some_and(|(key_id, hash, mac)| check(key_id, hash, mac) == MacState::Good);
        let mut found = Found::new(from, before, proven);
        rows.iter().for_each(|row| found.look_at(row, &check));
        if !through.more {
            found.look_at_end(&tail);
        }
        Ok(SealCheck {
            checked_seals: rows.len() as u64,
            checked_events: found.events,
            next: through.more.then_some(through.last + 1),
            problems: found.problems,
            unsealed_events: number(tail.unsealed, "audit_event", "count")?,
            last_hash: rows.last().map(|row| row.hash.clone()),
        })
    }
}

/// How far a look goes.
struct Through {
    /// The last seal that it looks at.
    last: i64,
    /// Whether there are more.
    more: bool,
}

/// Seals of one look at most: each costs something, whatever it covers.
const MOST_SEALS: i64 = 1000;

/// The seals from `from` on, until they cover so many events.
async fn through(connection: &mut PgConnection, from: i64, most_events: u32) -> Result<Through> {
    let row = sqlx::query!(
        r#"/* verify_seals: through */
         SELECT coalesce(max(seal_number) FILTER (WHERE covered < $2), $1 - 1) AS "last!",
                (SELECT coalesce(max(seal_number), 0) FROM headgate.audit_seal) AS "newest!"
           FROM (SELECT seal_number, (sum(events) OVER (ORDER BY seal_number) - events)::bigint AS covered
                   FROM (SELECT seal_number, events FROM headgate.audit_seal WHERE seal_number >= $1
                          ORDER BY seal_number LIMIT $3) next) AS so_far"#,
        from,
        i64::from(most_events),
        MOST_SEALS,
    )
    .fetch_one(connection)
    .await?;
    Ok(Through { last: row.last, more: row.newest > row.last })
}

/// What follows the last seal.
struct Tail {
    /// Key id, hash and MAC of the newest seal.
    newest: Option<(String, Vec<u8>, Vec<u8>)>,
    last_seal: i64,
    unsealed: i64,
    oldest: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

/// Walks the chain and notes what is wrong.
struct Found {
    expected: i64,
    first_id: Option<i64>,
    previous: Option<Vec<u8>>,
    /// Whether the newest seal has a good MAC: it covers the hashes of all before it, also of those whose keys are gone.
    proven: bool,
    events: u64,
    problems: Vec<SealProblem>,
}

impl Found {
    fn new(from: i64, before: Option<(i64, Vec<u8>)>, proven: bool) -> Self {
        let (first_id, previous) = match before {
            Some((last_id, hash)) => (Some(last_id + 1), Some(hash)),
            None if from <= 1 => (None, Some(Vec::new())),
            None => (None, None),
        };
        let problems = Vec::new();
        Self { expected: from.max(1), first_id, previous, proven, events: 0, problems }
    }

    fn look_at(&mut self, row: &Row, check: impl Fn(&str, &[u8], &[u8]) -> MacState) {
        let mut wrong = |problem: String| {
            self.problems.push(SealProblem { seal: row.seal_number, problem });
        };
        if row.seal_number != self.expected {
            wrong(format!("seals {} to {} were removed", self.expected, row.seal_number - 1));
        } else {
            if self.previous.as_ref().is_some_and(|previous| *previous != row.previous) {
                wrong("it does not follow the seal before: that one was changed".to_owned());
            }
            if self.first_id.is_some_and(|id| id != row.first_id) {
                wrong("events between it and the seal before are not covered".to_owned());
            }
        }
        if row.events_now < row.events {
            wrong(format!(
                "of its {} events, numbers {} to {}, {} were removed",
                row.events,
                row.first_id,
                row.last_id,
                row.events - row.events_now
            ));
        } else if row.events_now > row.events {
            wrong(format!(
                "{} events were added between the numbers {} and {}",
                row.events_now - row.events,
                row.first_id,
                row.last_id
            ));
        } else if row.digest_now != row.digest {
            wrong(format!("events between the numbers {} and {} were edited", row.first_id, row.last_id));
        }
        if row.hash_now != row.hash {
            wrong("the seal itself was edited".to_owned());
        }
        match check(&row.key_id, &row.hash, &row.mac) {
            MacState::Good => {}
            MacState::Bad => wrong("its MAC was not made with the key of this installation".to_owned()),
            MacState::UnknownKey if self.proven => {}
            MacState::UnknownKey => {
                wrong(format!("its key {} is not at hand: configure it as the previous key", row.key_id));
            }
        }
        self.expected = row.seal_number + 1;
        self.first_id = Some(row.last_id + 1);
        self.previous = Some(row.hash.clone());
        self.events += u64::try_from(row.events_now).unwrap_or_default();
    }

    /// Behind the last seal there may only be what is new.
    fn look_at_end(&mut self, tail: &Tail) {
        let last = self.expected - 1;
        if tail.last_seal > last {
            let problem = format!("seals {} to {} were removed", self.expected, tail.last_seal);
            self.problems.push(SealProblem { seal: self.expected, problem });
        }
        let late = |at: &DateTime<Utc>| tail.now.signed_duration_since(at) > chrono::Duration::minutes(10);
        if tail.oldest.as_ref().is_some_and(late) {
            let problem = "events of more than 10 minutes ago follow it unsealed: is an API process running?"
                .to_owned();
            self.problems.push(SealProblem { seal: last, problem });
        }
    }
}

/// The end and the hash of the seal before the one with this number.
async fn seal_before(connection: &mut PgConnection, from: i64) -> Result<Option<(i64, Vec<u8>)>> {
    let row = sqlx::query!(
        "/* verify_seals: before */ SELECT last_id, hash FROM headgate.audit_seal WHERE seal_number = $1",
        from - 1,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.last_id, row.hash)))
}

async fn tail(connection: &mut PgConnection) -> Result<Tail> {
    let newest = sqlx::query!(
        "/* verify_seals: newest */
         SELECT key_id, hash, mac FROM headgate.audit_seal ORDER BY seal_number DESC LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let row = sqlx::query!(
        r#"/* verify_seals: tail */
         SELECT coalesce((SELECT seal_number FROM headgate.audit_mark), 0) AS "last_seal!", count(*) AS "unsealed!",
                min(at) AS oldest, clock_timestamp() AS "now!"
           FROM headgate.audit_event
          WHERE audit_id > coalesce((SELECT max(last_id) FROM headgate.audit_seal), 0)"#,
    )
    .fetch_one(connection)
    .await?;
    Ok(Tail {
        newest: newest.map(|row| (row.key_id, row.hash, row.mac)),
        last_seal: row.last_seal,
        unsealed: row.unsealed,
        oldest: row.oldest,
        now: row.now,
    })
}

/// The number up to which nothing can be added any more.
async fn settled_mark(connection: &mut PgConnection) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!(
        "/* seal_audit: settled */
         SELECT last_id FROM headgate.audit_mark
          WHERE next_xid <= pg_snapshot_xmin(pg_current_snapshot())
            AND marked_at <= clock_timestamp() - $1::interval",
        crate::acquire::interval(SETTLES_AFTER),
    )
    .fetch_optional(connection)
    .await?)
}

/// Seals the next batch up to `end`; `None` when there is nothing left.
async fn seal_batch(
    connection: &mut PgConnection,
    end: i64,
    mac: &impl Fn(&[u8]) -> (String, Vec<u8>),
    tell: &impl Fn(i64, &SealedEvent),
) -> Result<Option<NewSeal>> {
    let batch = sqlx::query!(
        r#"/* seal_batch */
         WITH before AS (
             SELECT coalesce(max(seal_number), 0) AS seal_number, coalesce(max(last_id), 0) AS last_id,
                    coalesce((SELECT hash FROM headgate.audit_seal ORDER BY seal_number DESC LIMIT 1), ''::bytea) AS hash
               FROM headgate.audit_seal),
         bounds AS (
             SELECT b.seal_number + 1 AS seal_number, b.last_id + 1 AS first_id, b.hash AS previous,
                    (SELECT max(audit_id) FROM (
                         SELECT audit_id FROM headgate.audit_event WHERE audit_id > b.last_id AND audit_id <= $1
                          ORDER BY audit_id LIMIT $2) batch) AS last_id
               FROM before b)
         SELECT b.seal_number AS "seal_number!", b.first_id AS "first_id!", b.last_id AS "last_id!",
                b.previous AS "previous!", d.events AS "events!", d.digest AS "digest!",
                sha256(b.previous || int8send(b.seal_number) || int8send(b.first_id) || int8send(b.last_id)
                       || int8send(d.events) || d.digest) AS "hash!"
           FROM bounds b, headgate.audit_digest(b.first_id, b.last_id) d
          WHERE b.last_id IS NOT NULL"#,
        end,
        MOST,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(batch) = batch else { return Ok(None) };
    let (key_id, mac) = mac(&batch.hash);
    sqlx::query!(
        "/* seal_batch: insert */
         INSERT INTO headgate.audit_seal
             (seal_number, first_id, last_id, events, digest, previous, hash, key_id, mac)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        batch.seal_number,
        batch.first_id,
        batch.last_id,
        batch.events,
        batch.digest,
        batch.previous,
        batch.hash,
        key_id,
        mac,
    )
    .execute(&mut *connection)
    .await?;
    sealed::each(connection, batch.first_id, batch.last_id, |event| tell(batch.seal_number, event)).await?;
    Ok(Some(NewSeal { number: batch.seal_number, events: batch.events, hash: batch.hash }))
}

/// Marks the greatest number there is, unless a mark still waits to settle. Transaction ids start anew in a database
/// that was restored from a dump: a mark from before would wait for ever.
async fn mark(connection: &mut PgConnection, settled: bool) -> Result<()> {
    sqlx::query!(
        "/* seal_audit: mark */
         INSERT INTO headgate.audit_mark AS m (last_id, next_xid, seal_number)
         SELECT coalesce((SELECT max(audit_id) FROM headgate.audit_event), 0),
                pg_current_xact_id(),
                coalesce((SELECT max(seal_number) FROM headgate.audit_seal), 0)
         ON CONFLICT (one) DO UPDATE
            SET last_id = excluded.last_id, next_xid = excluded.next_xid, marked_at = clock_timestamp(),
                seal_number = excluded.seal_number
          WHERE $1 OR m.next_xid > excluded.next_xid
             -- Nothing waits behind it.
             OR m.last_id <= coalesce((SELECT max(last_id) FROM headgate.audit_seal), 0)",
        settled,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;

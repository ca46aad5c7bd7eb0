//! Whether this machine, the control database and the S3 server agree on the time.
//!
//! Tokens and links end by this machine's clock and by that of the S3 server, which refuses what is signed 15 minutes
//! off; leases and consents by the database's.

use chrono::{DateTime, TimeDelta, Utc};
use headgate_objects::Objects;
use headgate_store::Store;
use reqwest::header::DATE;

use super::bucket;
use super::finding::Finding;
use crate::failure::with_causes;

/// Milliseconds that clocks which are kept by NTP never differ by.
const WARN_MS: i64 = 2_000;

/// Milliseconds beyond which tokens and leases end at the wrong time.
const FAIL_MS: i64 = 30_000;

/// Compares with the control database's.
pub async fn of_database(store: &Store) -> Vec<Finding> {
    const CHECK: &str = "clock of the control database";
    let before = Utc::now();
    match store.server_facts(&[]).await {
        Ok(facts) => vec![judge(CHECK, off(facts.now, facts.now, before, Utc::now()))],
        Err(error) => vec![Finding::failed(CHECK, with_causes(&error), "see the server's log")],
    }
}

/// Compares with the header `Date` of the S3 server's answer to a request without credentials.
pub async fn of_bucket(objects: &Objects, http: &reqwest::Client) -> Vec<Finding> {
    const CHECK: &str = "clock of the S3 server";
    let unknown = |found: String| vec![Finding::warning(CHECK, found, "compare the clocks by hand")];
    let address = match bucket::address(objects, "doctor").await {
        Ok(address) => address,
        Err(error) => return unknown(error.to_string()),
    };
    let before = Utc::now();
    let Ok(answer) = http.get(address).send().await else {
        return unknown("the S3 server cannot be reached without credentials".to_owned());
    };
    let after = Utc::now();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return unknown("the S3 server does not tell its time".to_owned());
    };
    let date = date.to_utc();
    // Whole seconds: the time is somewhere within this one.
    vec![judge(CHECK, off(date, date + TimeDelta::seconds(1), before, after))]
}

/// By how much a clock that said something from `first` to `last` is off, given that it was read between two readings
/// of ours. The least that it can be.
fn off(first: DateTime<Utc>, last: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    if first > after {
        first - after
    } else if last < before {
        last - before
    } else {
        TimeDelta::zero()
    }
}

fn judge(check: &str, off: TimeDelta) -> Finding {
    let ms = off.num_milliseconds();
    let seconds = ms.unsigned_abs() as f64 / 1000.0;
    let found = match ms {
        0 => "agrees with this machine's".to_owned(),
        1.. => format!("{seconds:.1} s ahead of this machine's"),
        _ => format!("{seconds:.1} s behind this machine's"),
    };
    let mend = "have both machines keep their time by NTP";
    match ms.abs() {
        late if late > FAIL_MS => Finding::failed(check, found, mend),
        late if late > WARN_MS => Finding::warning(check, found, mend),
        _ => Finding::ok(check, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn what_the_way_took_is_no_difference() {
        let at = |ms: i64| DateTime::from_timestamp_millis(1_700_000_000_000 + ms).unwrap();
        for (first, last, expected) in [
            (0, 0, 0),
            (400, 400, 0),
            (900, 900, 400),
            (-3000, -3000, -3000),
            // A second of the header `Date`.
            (-900, 100, 0),
            (-2000, -1000, -1000),
            (500, 1500, 0),
        ] {
            let found = off(at(first), at(last), at(0), at(500)).num_milliseconds();
            assert_eq!(found, expected, "{first}..{last}");
        }
    }

    #[test]
    fn two_seconds_are_looked_at_and_thirty_are_too_many() {
        for (ms, verdict) in [
            (0, Verdict::Ok),
            (2_000, Verdict::Ok),
            (2_001, Verdict::Warning),
            (-30_000, Verdict::Warning),
            (-30_001, Verdict::Failed),
        ] {
            assert_eq!(judge("clock", TimeDelta::milliseconds(ms)).verdict, verdict, "{ms}");
        }
        assert_eq!(judge("clock", TimeDelta::milliseconds(-3_500)).found, "3.5 s behind this machine's");
    }
}

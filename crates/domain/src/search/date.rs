//! Ranges of time: what a FHIR date stands for by its precision, and how two ranges compare.
//!
//! The same reader serves queries and resources. A date or a moment without a zone is read as UTC. Instead of
//! the `+` of a zone a blank is taken, which is what a form makes of a `+` that was not percent-encoded.

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};

use super::Prefix;

/// A range with its first moment and the first one after it; `None` is without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

impl Range {
    /// Whether this range, of a resource, is in that relation to `from .. to` of a query.
    pub(super) fn compares(self, prefix: Prefix, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let within = self.from.is_some_and(|f| from <= f) && self.to.is_some_and(|t| t <= to);
        let begins_before = self.from.is_none_or(|f| f < from);
        let ends_after = self.to.is_none_or(|t| to < t);
        match prefix {
            Prefix::Eq => within,
            Prefix::Ne => !within,
            Prefix::Lt => begins_before,
            Prefix::Gt => ends_after,
            Prefix::Le => begins_before || within,
            Prefix::Ge => ends_after || within,
            Prefix::Sa => self.from.is_some_and(|f| to <= f),
            Prefix::Eb => self.to.is_some_and(|t| t <= from),
        }
    }

    /// The smallest range that has both in it.
    pub(super) fn around(self, other: Self) -> Self {
        Self {
            from: self.from.zip(other.from).map(|(a, b)| a.min(b)),
            to: self.to.zip(other.to).map(|(a, b)| a.max(b)),
        }
    }
}

impl From<(DateTime<Utc>, DateTime<Utc>)> for Range {
    fn from((from, to): (DateTime<Utc>, DateTime<Utc>)) -> Self {
        Self { from: Some(from), to: Some(to) }
    }
}

/// The moments from the first, inclusive, to the second, exclusive, that a text stands for: a year, a month, a
/// day, a minute, a second or a fraction of one (finer than a nanosecond is cut). Second 60 is the one after 59.
pub(super) fn range(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if !text.is_ascii() || text.len() > 48 {
        return None;
    }
    let Some((date, clock)) = text.split_once('T') else { return days(text) };
    let (midnight, _) = days(date).filter(|_| date.len() == 10)?;
    let (hour, rest) = two_digits(clock)?;
    let (minute, rest) = two_digits(rest.strip_prefix(':')?)?;
    let (second, rest, length) = match rest.strip_prefix(':') {
        None => (0, rest, TimeDelta::minutes(1)),
        Some(rest) => {
            let (second, rest) = two_digits(rest)?;
            let (fraction, rest, length) = fraction(rest)?;
            (i64::from(second) * 1_000_000_000 + fraction, rest, length)
        }
    };
    if hour > 23 || minute > 59 || second >= 61 * 1_000_000_000 {
        return None;
    }
    let clock = TimeDelta::minutes(i64::from(hour * 60 + minute)) + TimeDelta::nanoseconds(second);
    let from = midnight.checked_add_signed(clock)?.checked_sub_signed(zone(rest)?)?;
    Some((from, from.checked_add_signed(length)?))
}

/// A year, a month or a day.
fn days(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4).filter(|year| *year > 0)?;
    let month = parts.next().map(|part| number(part, 2).ok_or(())).transpose().ok()?;
    let day = parts.next().map(|part| number(part, 2).ok_or(())).transpose().ok()?;
    if parts.next().is_some() {
        return None;
    }
    let year = i32::try_from(year).ok()?;
    let from = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?;
    let to = match (month, day) {
        (None, _) => from.checked_add_months(Months::new(12))?,
        (_, None) => from.checked_add_months(Months::new(1))?,
        _ => from.checked_add_days(Days::new(1))?,
    };
    Some((from.and_time(chrono::NaiveTime::MIN).and_utc(), to.and_time(chrono::NaiveTime::MIN).and_utc()))
}

fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn two_digits(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(2)?;
    Some((number(digits, 2)?, rest))
}

/// Reads `.123` from the front: nanoseconds, what follows, and how long the last digit is.
fn fraction(text: &str) -> Option<(i64, &str, TimeDelta)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text, TimeDelta::seconds(1))) };
    let end = rest.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let digits = &rest[..end.min(9)];
    let unit = 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
    Some((digits.parse::<i64>().ok()? * unit, &rest[end..], TimeDelta::nanoseconds(unit)))
}

/// How far the zone is east of UTC.
fn zone(text: &str) -> Option<TimeDelta> {
    if matches!(text, "" | "Z") {
        return Some(TimeDelta::zero());
    }
    let sign = match text.as_bytes()[0] {
        b'+' | b' ' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = two_digits(&text[1..])?;
    let (minutes, rest) = two_digits(rest.strip_prefix(':')?)?;
    (hours <= 14 && minutes <= 59 && rest.is_empty())
        .then(|| TimeDelta::minutes(sign * i64::from(hours * 60 + minutes)))
}

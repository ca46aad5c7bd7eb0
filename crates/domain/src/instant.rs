//! Dates of the wire: FHIR `instant` and the zone-less `dateTime` that clients of the modelled product
//! send. Our own grammar decides; no text of a client ever reaches a database's timestamp parser,
//! which would take `tomorrow`, `24:00:00` and `infinity`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};

/// A parsed point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// The time in UTC.
    pub time: DateTime<Utc>,
    /// Whether the text named its zone. A text without one was read as UTC.
    pub zoned: bool,
}

/// Why a text is not a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// Only a date (or less).
    #[error("a time of day is missing: write an instant such as 2022-10-01T00:00:00Z")]
    DateOnly,
    /// Anything else.
    #[error("not a FHIR instant: write it as 2022-10-01T00:00:00Z or 2022-10-01T00:00:00.000-05:00")]
    Malformed,
}

/// Parses `YYYY-MM-DDThh:mm:ss[.fraction][Z|±hh:mm]`. A blank where the sign of a zone stands is taken
/// as the `+` that a client forgot to percent-encode.
///
/// # Errors
/// [`InstantError`] for everything else, including leap seconds and 24:00, which have no one meaning.
pub fn parse(text: &str) -> Result<Instant, InstantError> {
    if is_date(text) {
        return Err(InstantError::DateOnly);
    }
    if !text.is_ascii() || text.len() > 40 || text.len() < 19 {
        return Err(InstantError::Malformed);
    }
    let (date, rest) = text.split_at(10);
    let rest = rest.strip_prefix('T').ok_or(InstantError::Malformed)?;
    let date = parse_date(date).ok_or(InstantError::Malformed)?;
    let (clock, rest) = rest.split_at(8);
    let [hour, minute, second] = numbers(clock, ':').ok_or(InstantError::Malformed)?;
    let (nanos, zone) = fraction(rest).ok_or(InstantError::Malformed)?;
    let local: NaiveDateTime = date
        .and_hms_nano_opt(hour, minute, second, nanos)
        .filter(|_| second < 60)
        .ok_or(InstantError::Malformed)?;
    let offset = zone_seconds(zone).ok_or(InstantError::Malformed)?;
    let time = local
        .checked_sub_signed(TimeDelta::seconds(offset.unwrap_or(0)))
        .ok_or(InstantError::Malformed)?
        .and_utc();
    Ok(Instant { time, zoned: offset.is_some() })
}

/// Formats a time as a FHIR `instant` in UTC with milliseconds: `2026-11-23T01:02:03.004Z`.
#[must_use]
pub fn format(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    text.len() <= 10
        && parts.next().is_some_and(|year| year.len() == 4)
        && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let digits = |part: &str, len: usize| {
        (part.len() == len && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<u32>().ok())
            .flatten()
    };
    let year = digits(year, 4).filter(|y| *y > 0)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, digits(month, 2)?, digits(day, 2)?)
}

/// Splits `12:34:56` into its three two-digit numbers.
fn numbers(text: &str, separator: char) -> Option<[u32; 3]> {
    let mut out = [0; 3];
    let mut parts = text.split(separator);
    for slot in &mut out {
        let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit()))?;
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// Reads `.123` from the front of `text`; returns nanoseconds and what follows.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let digits = &rest[..end];
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let nanos = digits.parse::<u32>().ok()? * 10_u32.pow(9 - u32::try_from(digits.len()).ok()?);
    Some((nanos, &rest[end..]))
}

/// Seconds east of UTC; `None` inside when no zone is given.
fn zone_seconds(zone: &str) -> Option<Option<i64>> {
    if zone.is_empty() {
        return Some(None);
    }
    if zone == "Z" {
        return Some(Some(0));
    }
    let sign = match zone.as_bytes()[0] {
        b'+' | b' ' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{}:00", &zone[1..]), ':')?;
    (hours <= 14 && minutes < 60).then_some(Some(sign * i64::from(hours * 3600 + minutes * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_with_and_without_a_zone_are_read() {
        for (text, utc, zoned) in [
            ("2022-10-01T00:00:00Z", "2022-10-01T00:00:00.000Z", true),
            ("2022-10-01T00:00:00", "2022-10-01T00:00:00.000Z", false),
            ("2022-10-01T00:00:00.5-05:00", "2022-10-01T05:00:00.500Z", true),
            ("2022-10-01T00:00:00+05:30", "2022-09-30T18:30:00.000Z", true),
            ("2022-10-01T00:00:00 05:30", "2022-09-30T18:30:00.000Z", true),
            ("2024-02-29T23:59:59.999999999Z", "2024-02-29T23:59:59.999Z", true),
        ] {
            let parsed = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((format(parsed.time).as_str(), parsed.zoned), (utc, zoned), "{text}");
        }
    }

    #[test]
    fn dates_alone_are_named_as_such() {
        for text in ["2022", "2022-10", "2022-10-01"] {
            assert_eq!(parse(text), Err(InstantError::DateOnly), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "now",
            "infinity",
            "tomorrow",
            "epoch",
            "2022-10-01T",
            "2022-10-01T24:00:00Z",
            "2022-10-01T23:59:60Z",
            "0000-60-01T30:70:80+05:00",
            "0000-01-01T00:00:00Z",
            "2022-02-30T00:00:00Z",
            "2022-10-01T00:00:00z",
            "2022-10-01 00:00:00Z",
            "2022-10-01T00:00Z",
            "2022-10-01T00:00:00.Z",
            "2022-10-01T00:00:00+5",
            "2022-10-01T00:00:00+15:00",
            "2022-10-01T00:00:00ZZ",
            "2022-10-01T00:00:00Europe/Paris",
            "２０２２-10-01T00:00:00Z",
            "2022-10-01T00:00:00.1234567890Z",
            "2022-1-01T00:00:00Z ",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

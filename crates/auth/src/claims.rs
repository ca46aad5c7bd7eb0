//! Reading single claims (RFC 7519, section 4).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// 9999-12-31T23:59:59Z in seconds since 1970. No token lives longer, and every time up to it exists.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// A claim that is there and not a finite number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotATime;

/// A claim, when it is a text.
pub(crate) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A claim in seconds since 1970. A NumericDate may have a fraction (RFC 7519, section 2), hence the
/// floating-point number.
pub(crate) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, NotATime> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|time| time.is_finite()).map(Some).ok_or(NotATime),
    }
}

/// A time as whole seconds, rounded up; `None` when it is beyond every calendar.
pub(crate) fn whole_seconds(time: f64) -> Option<i64> {
    (time.abs() <= LAST_SECOND).then_some(time.ceil() as i64)
}

/// Seconds since 1970, to the millisecond: exact in a double for the next hundred thousand years.
pub(crate) fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}

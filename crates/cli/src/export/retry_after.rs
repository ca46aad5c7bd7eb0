//! When to ask again: `Retry-After` (RFC 9110, 10.2.3) where the server gives it, else a growing pause.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// A server that says 0 means "soon", not "in a busy loop".
const SHORTEST: Duration = Duration::from_millis(250);
/// A slip in a server's date must not park a client for days.
const LONGEST: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause that `Retry-After` asks for, as seconds or as an HTTP date, kept within sane bounds; `None` if it is
/// absent or unreadable.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
            (at - now).to_std().unwrap_or(Duration::ZERO)
        }
    };
    Some(asked.clamp(SHORTEST, LONGEST))
}

/// Pauses of 1, 2, 4 … 30 seconds for servers that do not say when to come back.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff(FIRST_PAUSE)
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, DateTime::from_timestamp(1_445_412_470, 0).unwrap())
    }

    #[test]
    fn seconds_are_obeyed() {
        assert_eq!(parsed("7"), Some(Duration::from_secs(7)));
        assert_eq!(parsed(" 120 "), Some(Duration::from_secs(120)));
    }

    #[test]
    fn an_http_date_is_a_pause_from_now() {
        // 2015-10-21 07:27:50 UTC is "now".
        assert_eq!(parsed("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_date_in_the_past_and_a_zero_are_a_short_pause() {
        assert_eq!(parsed("Wed, 21 Oct 2015 07:20:00 GMT"), Some(SHORTEST));
        assert_eq!(parsed("0"), Some(SHORTEST));
    }

    #[test]
    fn an_absurd_pause_is_cut() {
        assert_eq!(parsed("99999999"), Some(LONGEST));
    }

    #[test]
    fn anything_else_counts_as_absent() {
        assert_eq!(parsed("soon"), None);
        assert_eq!(parsed("-3"), None);
        assert_eq!(retry_after(&HeaderMap::new(), Utc::now()), None);
    }

    #[test]
    fn the_pause_grows_to_thirty_seconds() {
        let mut backoff = Backoff::new();
        let seconds: Vec<u64> = (0..7).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    }
}

//! When a connection ends that its client does not end.
//!
//! hyper bounds the pause between two requests of HTTP/1, and nothing while an answer is being sent; of a client of
//! HTTP/2 it wants no more than that pings are answered. So requests are counted here, and the same holds for both
//! protocols: a connection with no request under way ends `idle_timeout` after a piece of its last answer was taken,
//! whether or not that was all. A client of HTTP/2 that goes on asking could still leave some of its answers unread
//! for ever, and a proxy keeps a connection busy for days: so one of HTTP/2 ends at an age too. HTTP/1 has one answer
//! at a time, and could not be told of its end between two requests without losing one.
//!
//! To end is first to be told so (GOAWAY, `Connection: close`): what is under way is answered, and what comes too late
//! the client may safely send elsewhere. When the last answer has had its time to be read, the rest is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::response::Response;
use tokio::time::Instant;

use super::Bounds;
use super::observed::Observed;

/// The age of an HTTP/2 connection at which it is ended, in idle timeouts.
const AGE: u32 = 8;

/// The requests of a connection. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Mutex<Seen>>);

/// What was seen of a connection's requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Those that are not answered yet.
    under_way: usize,
    /// When one came, was answered, or went on being read for the last time; `None` before the first.
    last: Option<Instant>,
}

#[cfg(test)]
impl Seen {
    /// Whether there was any request.
    pub(super) fn has_begun(&self) -> bool {
        self.last.is_some()
    }
}

impl Requests {
    /// A request has come.
    pub(super) fn begin(&self) -> UnderWay {
        let mut seen = self.lock();
        *seen = Seen { under_way: seen.under_way + 1, last: Some(Instant::now()) };
        UnderWay(self.clone())
    }

    /// A piece of an answer was taken.
    pub(super) fn go_on(&self) {
        self.lock().last = Some(Instant::now());
    }

    /// What was seen up to now.
    pub(super) fn seen(&self) -> Seen {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is not answered yet, until dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Requests);

impl UnderWay {
    /// Counts its answer as one that is being read, for as long as the client takes more of it.
    pub(super) fn observe(&self, answer: Response) -> Response {
        answer.map(|body| Body::new(Observed::new(body, self.0.clone())))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut seen = self.0.lock();
        *seen = Seen { under_way: seen.under_way.saturating_sub(1), last: Some(Instant::now()) };
    }
}

/// What to do with a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To serve it, and to ask again then: nothing is to be done before.
    Serve(Instant),
    /// To tell the client that it ends.
    Close,
    /// To drop it.
    Drop,
}

/// The course of one connection.
#[derive(Debug)]
pub(super) struct Course {
    bounds: Bounds,
    ages: bool,
    opened: Instant,
    closing: Option<Instant>,
}

impl Course {
    /// Of a connection that was just opened.
    pub(super) fn new(bounds: Bounds, http2: bool, now: Instant) -> Self {
        Self { bounds, ages: http2, opened: now, closing: None }
    }

    /// What to do now. [`Step::Close`] comes once.
    pub(super) fn step(&mut self, seen: Seen, draining: bool, now: Instant) -> Step {
        if let Some(since) = self.closing {
            return self.until_dropped(seen, since, draining, now);
        }
        let end = self.end(seen, now);
        if now < end && !draining {
            // What is seen by then may move the end to and fro.
            return Step::Serve(end.min(now + self.bounds.idle_timeout));
        }
        if seen.last.is_none() && !draining {
            return Step::Drop;
        }
        self.closing = Some(now);
        Step::Close
    }

    /// When the connection is closed, as far as can be said now.
    fn end(&self, seen: Seen, now: Instant) -> Instant {
        let Bounds { header_timeout, idle_timeout, .. } = self.bounds;
        let Some(last) = seen.last else { return self.opened + header_timeout };
        // A request that is answered a moment from now begins the pause then.
        let idle_since = if seen.under_way == 0 { last } else { now };
        let end = idle_since + idle_timeout;
        if self.ages { end.min(self.opened + idle_timeout * AGE) } else { end }
    }

    fn until_dropped(&self, seen: Seen, since: Instant, draining: bool, now: Instant) -> Step {
        let Bounds { header_timeout, idle_timeout, request_timeout, .. } = self.bounds;
        // How long an answer may take to be read. A drain has not got so much time.
        let reading = if draining { header_timeout } else { idle_timeout };
        // A client that goes on asking is not waited for longer than for one request.
        let last_end = since + request_timeout + reading;
        let read = (since + header_timeout).max(seen.last.unwrap_or(since) + reading);
        let end = if seen.under_way == 0 { last_end.min(read) } else { last_end };
        if now < end { Step::Serve(end.min(now + header_timeout)) } else { Step::Drop }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        request_timeout: Duration::from_secs(30),
        max_connections: 1,
    };

    /// Times in seconds from when the connection was opened.
    struct Time(Instant);

    impl Time {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }

        fn course(&self, http2: bool) -> Course {
            Course::new(BOUNDS, http2, self.0)
        }

        fn seen(&self, under_way: usize, last: u64) -> Seen {
            Seen { under_way, last: Some(self.at(last)) }
        }
    }

    #[test]
    fn a_connection_that_brings_no_request_is_dropped_without_a_word() {
        let time = Time(Instant::now());
        let mut course = time.course(true);
        assert_eq!(course.step(Seen::default(), false, time.at(0)), Step::Serve(time.at(10)));
        assert_eq!(course.step(Seen::default(), false, time.at(10)), Step::Drop);
    }

    #[test]
    fn a_connection_is_closed_when_its_last_answer_is_as_old_as_it_may_be_idle() {
        let time = Time(Instant::now());
        for http2 in [true, false] {
            let mut course = time.course(http2);
            // While a request is under way it is not idle, however long that takes.
            assert_eq!(course.step(time.seen(1, 1), false, time.at(100)), Step::Serve(time.at(175)));
            assert_eq!(course.step(time.seen(0, 101), false, time.at(175)), Step::Serve(time.at(176)));
            assert_eq!(course.step(time.seen(0, 101), false, time.at(176)), Step::Close);
            // The answer has had its time already; the farewell has some.
            assert_eq!(course.step(time.seen(0, 101), false, time.at(176)), Step::Serve(time.at(186)));
            assert_eq!(course.step(time.seen(0, 101), false, time.at(186)), Step::Drop);
        }
    }

    #[test]
    fn http2_ends_at_an_age_and_what_is_under_way_then_is_answered_and_read() {
        let time = Time(Instant::now());
        let age = 8 * 75;
        let mut course = time.course(true);
        assert_eq!(course.step(time.seen(1, age - 5), false, time.at(age - 5)), Step::Serve(time.at(age)));
        assert_eq!(course.step(time.seen(1, age - 5), false, time.at(age)), Step::Close);
        assert!(matches!(course.step(time.seen(1, age - 5), false, time.at(age + 20)), Step::Serve(_)));
        // Answered after 25 s, and then read for a while.
        let answered = time.seen(0, age + 20);
        assert!(matches!(course.step(answered, false, time.at(age + 94)), Step::Serve(_)));
        assert_eq!(course.step(answered, false, time.at(age + 95)), Step::Drop);
        // Of HTTP/1 a request could be lost.
        let mut old = time.course(false);
        assert!(matches!(old.step(time.seen(0, age), false, time.at(age + 1)), Step::Serve(_)));
    }

    #[test]
    fn a_client_that_goes_on_asking_while_its_connection_is_closed_is_dropped() {
        let time = Time(Instant::now());
        let age = 8 * 75;
        let mut course = time.course(true);
        assert_eq!(course.step(time.seen(0, age), false, time.at(age)), Step::Close);
        for second in age..age + 105 {
            assert!(matches!(course.step(time.seen(1, second), false, time.at(second)), Step::Serve(_)));
        }
        assert_eq!(course.step(time.seen(1, age + 104), false, time.at(age + 105)), Step::Drop);
    }

    #[test]
    fn a_drain_closes_at_once_and_waits_for_answers_but_not_long_for_readers() {
        let time = Time(Instant::now());
        let mut course = time.course(true);
        assert_eq!(course.step(time.seen(1, 5), true, time.at(6)), Step::Close);
        assert_eq!(course.step(time.seen(1, 5), true, time.at(6)), Step::Serve(time.at(16)));
        assert_eq!(course.step(time.seen(0, 12), true, time.at(16)), Step::Serve(time.at(22)));
        assert_eq!(course.step(time.seen(0, 12), true, time.at(22)), Step::Drop);
        // One that was being closed at leisure is not any more.
        let mut course = time.course(true);
        assert_eq!(course.step(time.seen(0, 0), false, time.at(75)), Step::Close);
        assert_eq!(course.step(time.seen(0, 74), false, time.at(85)), Step::Serve(time.at(95)));
        assert_eq!(course.step(time.seen(0, 74), true, time.at(85)), Step::Drop);
    }

    #[test]
    fn requests_are_under_way_until_they_are_answered_or_given_up() {
        let requests = Requests::default();
        assert!(requests.seen().last.is_none());
        let (one, two) = (requests.begin(), requests.begin());
        assert_eq!(requests.seen().under_way, 2);
        drop(one);
        drop(two);
        assert_eq!(requests.seen().under_way, 0);
        assert!(requests.seen().last.is_some());
    }
}

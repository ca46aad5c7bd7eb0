//! The filter of the log, which may be changed while the process runs: `GET` and `PUT /logfilter` of the private listener.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_core::callsite::rebuild_interest_cache;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::{Context, Filter};

use super::logs::is_harmless;

/// Bytes that a filter may have.
const LONGEST: usize = 4096;

/// What is logged. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct LogFilter(Arc<RwLock<Wanted>>);

#[derive(Debug)]
struct Wanted {
    text: String,
    targets: Targets,
}

impl LogFilter {
    /// Reads a filter: `level`, or `target=level,…`.
    pub(super) fn new(text: &str) -> Result<Self, ParseError> {
        Ok(Self(Arc::new(RwLock::new(Wanted { text: text.to_owned(), targets: text.parse()? }))))
    }

    /// Puts another filter in force. It is told before and after, so that one of both filters lets it pass.
    fn set(&self, text: &str) -> Result<(), ParseError> {
        let (targets, former) = (text.parse()?, self.text());
        let told = tracing::enabled!(tracing::Level::WARN);
        let tell =
            || tracing::warn!(former, filter = text, "the filter of the log is another until the next start");
        if told {
            tell();
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Wanted { text: text.to_owned(), targets };
        // Which places of the program are heard is remembered; they are asked again.
        rebuild_interest_cache();
        if !told {
            tell();
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    fn lets_pass(&self, metadata: &Metadata<'_>) -> bool {
        let wanted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        is_harmless(*metadata.level(), metadata.target())
            && wanted.targets.would_enable(metadata.target(), metadata.level())
    }

    /// `/logfilter`.
    pub(super) fn routes(&self) -> Router {
        Router::new()
            .route("/logfilter", get(show).put(change))
            .layer(DefaultBodyLimit::max(LONGEST))
            .with_state(self.clone())
    }
}

async fn show(State(filter): State<LogFilter>) -> String {
    filter.text() + "\n"
}

async fn change(State(filter): State<LogFilter>, text: String) -> (StatusCode, String) {
    let text = text.trim();
    match filter.set(text) {
        Ok(()) => (StatusCode::OK, format!("{text}\n")),
        Err(_) => (
            StatusCode::BAD_REQUEST,
            "send a level such as info, or target=level,… such as info,headgate_worker=debug\n".to_owned(),
        ),
    }
}

impl<S: Subscriber> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.lets_pass(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Never `always`: the answer that a library got who asked whether it is heard (`enabled!`), and then said nothing, is
        // kept by the thread, and would be taken for that of the next line which does not ask.
        if self.lets_pass(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let wanted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        wanted.targets.iter().map(|(_, level)| level).chain(wanted.targets.default_level()).max()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, fmt, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_library_that_asks_and_says_nothing_swallows_no_line() {
        let (lines, filter) = (Lines::default(), LogFilter::new("info").unwrap());
        let to = lines.clone();
        let layer = fmt::layer().with_writer(move || to.clone()).with_filter(filter);
        tracing::subscriber::with_default(registry().with(layer), || {
            for _ in 0..2 {
                assert!(!tracing::enabled!(target: "sqlx::query", tracing::Level::DEBUG));
                tracing::info!(target: "headgate_worker", "heard");
            }
        });
        assert_eq!(String::from_utf8(lines.0.lock().unwrap().clone()).unwrap().lines().count(), 2);
    }

    #[test]
    fn who_silences_the_log_is_told_of_before_and_who_lets_it_speak_after() {
        let (lines, filter) = (Lines::default(), LogFilter::new("info").unwrap());
        let to = lines.clone();
        let layer = fmt::layer().with_writer(move || to.clone()).with_filter(filter.clone());
        let told = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap().lines().count();
        tracing::subscriber::with_default(registry().with(layer), || {
            for (filter_text, count) in [("off", 1), ("error", 1), ("warn", 2), ("info", 3)] {
                filter.set(filter_text).unwrap();
                assert_eq!(told(), count, "{filter_text}");
            }
        });
    }

    #[test]
    fn a_changed_filter_is_heeded_at_once_and_never_lets_libraries_speak_freely() {
        let (lines, filter) = (Lines::default(), LogFilter::new("info").unwrap());
        let to = lines.clone();
        let layer = fmt::layer().with_writer(move || to.clone()).with_filter(filter.clone());
        tracing::subscriber::with_default(registry().with(layer), || {
            let speak = |n: u32| {
                tracing::debug!(target: "headgate_worker", "ours-{n}");
                tracing::debug!(target: "aws_sdk_s3", "theirs-{n}");
            };
            speak(1);
            filter.set("info,headgate_worker=debug,aws_sdk_s3=debug").unwrap();
            speak(2);
            assert!(filter.set("=;=").is_err());
            speak(3);
            filter.set("warn").unwrap();
            speak(4);
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let told: Vec<&str> = text.split_whitespace().filter(|word| word.contains("s-")).collect();
        assert_eq!(told, ["ours-2", "ours-3"]);
    }
}

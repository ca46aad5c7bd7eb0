//! What bounds a connection, so that one which died without a word is found out on both sides.
//!
//! A peer that vanishes, with its machine or behind a firewall that forgot the connection, sends nothing at all. The
//! server is told by its own settings of the session when to give such a connection up, and with it what it has locked.
//! On our side the driver waits for ever: whoever must not, asks [`within`] a time.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error as SqlError};

use crate::Result;

/// How the server finds out that we are gone: it asks after 30 s of silence, and gives up what is unanswered for 60 s. A
/// connection on a socket of the machine has neither, and ignores them. And while it works on a statement it looks whether
/// anybody still waits for the answer.
const SERVER: [(&str, &str); 5] = [
    ("client_connection_check_interval", "5s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
];

/// What bounds the connections of a process.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What a statement may take.
    pub statement: Duration,
    /// How long a transaction may wait for its next statement.
    pub idle: Duration,
    /// How soon a connection that is given back must answer; else it is thrown away, and its place is free again. It
    /// costs a round trip more each time. None: its place is taken until the system finds out that it is dead.
    pub returned: Option<Duration>,
}

impl Bounds {
    /// Statements and transactions alike, and nothing more.
    #[must_use]
    pub fn of(statement: Duration) -> Self {
        Self { statement, idle: statement, returned: None }
    }

    /// The options with these bounds, in place of what they had before.
    pub(crate) fn on(&self, options: PgConnectOptions) -> PgConnectOptions {
        let milliseconds = |bound: Duration| format!("{}ms", bound.as_millis());
        options.options(SERVER).options([
            ("statement_timeout", milliseconds(self.statement)),
            ("idle_in_transaction_session_timeout", milliseconds(self.idle)),
        ])
    }
}

/// How connections are opened by this URL.
pub(crate) fn options(url: &str, bounds: Option<Bounds>) -> Result<PgConnectOptions> {
    let options = url.parse::<PgConnectOptions>()?.application_name("headgate");
    Ok(match bounds {
        Some(bounds) => bounds.on(options),
        None => options,
    })
}

/// Whether a connection that is given back answers in time.
pub(crate) async fn answers(
    connection: &mut PgConnection,
    patience: Duration,
) -> std::result::Result<bool, SqlError> {
    match tokio::time::timeout(patience, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(silence()),
    }
}

/// What comes of asking the control database, unless it takes too long: then it is not known whether it was done.
///
/// # Errors
/// Those of `asked`; or one that is transient, when there is no answer in time.
pub async fn within<T>(patience: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(silence().into()),
    }
}

fn silence() -> SqlError {
    SqlError::Io(std::io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use headgate_local::postgres::{Cluster, Options};

    use super::*;
    use crate::Store;

    /// What a session has of a setting.
    async fn setting(store: &Store, name: &str) -> String {
        sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&store.pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_bounded_connection_has_its_bounds_on_the_server_and_one_that_is_silent_ends_on_both_sides() {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let second = Duration::from_secs(1);
        let bounds = Bounds { statement: 90 * second, idle: 60 * second, returned: Some(second) };
        let store = Store::connect_bounded(&cluster.url("postgres"), 1, 5 * second, bounds).await.unwrap();
        assert_eq!(setting(&store, "statement_timeout").await, "90s");
        assert_eq!(setting(&store, "idle_in_transaction_session_timeout").await, "1min");

        // As silent as a dead one: it goes on with what it was asked, though nobody waits for that any more.
        let asleep = async { Ok(sqlx::query("SELECT pg_sleep(60)").execute(&store.pool).await?) };
        let error = within(second / 5, asleep).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        store.ping().await.unwrap();
        // The server notices too that nobody waits, long before the bound of the statement.
        let asleep = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active')";
        let until = Instant::now() + 20 * second;
        while sqlx::query_scalar(asleep).fetch_one(&store.pool).await.unwrap() {
            assert!(Instant::now() < until, "the server goes on with what nobody waits for");
            tokio::time::sleep(second / 5).await;
        }
        store.close().await;
        cluster.stop().await.unwrap();
    }
}

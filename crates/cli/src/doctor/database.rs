//! Whether the control database answers, what it is, and whether it has connections to spare.

use std::time::{Duration, Instant};

use headgate_runtime::Config;
use headgate_store::{Bounds, ServerFacts, Store};
use secrecy::ExposeSecret as _;

use super::Roles;
use super::finding::{Finding, late};
use crate::failure::with_causes;

const CHECK: &str = "control database";

/// Connections that we take for all checks.
const CONNECTIONS: u32 = 2;

/// Connects and looks; the database is there for further checks unless it cannot be reached.
pub async fn check(config: &Config, roles: Roles, patience: Duration) -> (Vec<Finding>, Option<Store>) {
    let url = config.database.url.expose_secret();
    let connecting = Store::connect_bounded(url, CONNECTIONS, patience, Bounds::of(patience));
    let store = match tokio::time::timeout(patience, connecting).await {
        Ok(Ok(store)) => store,
        Ok(Err(error)) => {
            let mend = "see database.url: host, port, name, role and password, and whether the network lets us through";
            return (vec![Finding::failed(CHECK, with_causes(&error), mend)], None);
        }
        Err(_) => return (vec![late(CHECK, patience)], None),
    };
    let begun = Instant::now();
    let answered = store.ping().await;
    let took = begun.elapsed();
    let names = [config.database.api_role.clone(), config.database.worker_role.clone()];
    let facts = match answered {
        Ok(()) => store.server_facts(&names).await,
        Err(error) => Err(error),
    };
    match facts {
        Ok(facts) => (judge(&facts, took, config, roles), Some(store)),
        Err(error) => (vec![Finding::failed(CHECK, with_causes(&error), "see the server's log")], None),
    }
}

fn judge(facts: &ServerFacts, took: Duration, config: &Config, roles: Roles) -> Vec<Finding> {
    vec![
        server(facts, took),
        connections(facts, config.database.max_connections.into()),
        connected_role(facts, config, roles),
    ]
}

fn server(facts: &ServerFacts, took: Duration) -> Finding {
    let encrypted = match (facts.tls, facts.local) {
        (true, _) => "TLS",
        (false, true) => "on this machine",
        (false, false) => "not encrypted",
    };
    let ms = took.as_secs_f64() * 1000.0;
    let found = format!("PostgreSQL {}, {encrypted}, answers in {ms:.1} ms", facts.version);
    if facts.standby {
        let mend = "database.url must lead to the primary";
        return Finding::failed(CHECK, format!("{found}; a standby, where nothing can be written"), mend);
    }
    if !facts.tls && !facts.local {
        return Finding::warning(CHECK, found, "add sslmode=verify-full to database.url");
    }
    if took > Duration::from_millis(50) {
        let mend =
            "each step of an export waits for several answers: bring the processes nearer to the database";
        return Finding::warning(CHECK, found, mend);
    }
    Finding::ok(CHECK, found)
}

/// Whether another process would still get its pool.
fn connections(facts: &ServerFacts, pool: i64) -> Finding {
    const CHECK: &str = "database connections";
    let ServerFacts { connections, ours, max_connections, .. } = facts;
    let found = format!(
        "{connections} of {max_connections} are in use, {ours} by Headgate; a process of this configuration takes up \
         to {pool}, and a worker one more"
    );
    let mend =
        "lower database.max_connections or the number of processes, or raise the server's max_connections";
    if connections >= max_connections {
        return Finding::failed(CHECK, found, mend);
    }
    if connections + pool + 1 > *max_connections {
        return Finding::warning(CHECK, found, mend);
    }
    Finding::ok(CHECK, found)
}

/// Whether we are connected as the role should be.
fn connected_role(facts: &ServerFacts, config: &Config, roles: Roles) -> Finding {
    const CHECK: &str = "connected as";
    let (api, worker) = (&config.database.api_role, &config.database.worker_role);
    let is_fit = roles.api && facts.role == *api || roles.worker && facts.role == *worker;
    if is_fit {
        return Finding::ok(CHECK, facts.role.clone());
    }
    let found = match roles {
        Roles { api: true, worker: true } => format!("{}, which is neither {api} nor {worker}", facts.role),
        Roles { api: true, .. } => format!("{}, which is not {api}", facts.role),
        _ => format!("{}, which is not {worker}", facts.role),
    };
    let mend = "give each process a database.url with the role that is its own: only then does row-level security bind \
                the API";
    match roles {
        // An operator who looks at everything at once is somebody else.
        Roles { api: true, worker: true } => Finding::warning(CHECK, found, mend),
        _ => Finding::failed(CHECK, found, mend),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            role: "headgate_api".to_owned(),
            version: "17.1".to_owned(),
            tls: true,
            local: false,
            standby: false,
            now: chrono::Utc::now(),
            max_connections: 97,
            connections: 40,
            ours: 30,
        }
    }

    #[test]
    fn a_server_that_cannot_do_or_is_not_safe_is_told() {
        let quick = Duration::from_millis(1);
        assert_eq!(server(&facts(), quick).verdict, Verdict::Ok);
        assert_eq!(server(&facts(), Duration::from_millis(80)).verdict, Verdict::Warning);
        assert_eq!(server(&ServerFacts { tls: false, ..facts() }, quick).verdict, Verdict::Warning);
        assert_eq!(server(&ServerFacts { tls: false, local: true, ..facts() }, quick).verdict, Verdict::Ok);
        assert_eq!(server(&ServerFacts { standby: true, ..facts() }, quick).verdict, Verdict::Failed);
    }

    #[test]
    fn connections_must_be_left_for_another_process() {
        assert_eq!(connections(&facts(), 56).verdict, Verdict::Ok);
        assert_eq!(connections(&facts(), 57).verdict, Verdict::Warning);
        assert_eq!(connections(&ServerFacts { connections: 97, ..facts() }, 10).verdict, Verdict::Failed);
    }

    #[test]
    fn a_role_must_be_connected_as_itself() {
        let config = Config::from_parts(None, [], headgate_runtime::Role::Tool).unwrap();
        let verdict = |role: &str, api, worker| {
            let facts = ServerFacts { role: role.to_owned(), ..facts() };
            connected_role(&facts, &config, Roles { api, worker }).verdict
        };
        assert_eq!(verdict("headgate_api", true, false), Verdict::Ok);
        assert_eq!(verdict("headgate_worker", true, true), Verdict::Ok);
        assert_eq!(verdict("headgate_worker", true, false), Verdict::Failed);
        assert_eq!(verdict("postgres", false, true), Verdict::Failed);
        assert_eq!(verdict("postgres", true, true), Verdict::Warning);
    }
}

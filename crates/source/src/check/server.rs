//! The server, the role and the horizon.

use crate::catalog::get;
use crate::statement::{Shape, Statement};
use crate::{Relation, Source, SourceError};

use super::{CheckReport, Verdict, describe};

/// A lag beyond this is worth a look: somebody holds a transaction open.
const LONG_LAG_S: u64 = 900;

/// Connects, and says to what and as whom.
pub(super) async fn connection(source: &Source, report: &mut CheckReport) -> Result<(), SourceError> {
    let mut tx = source.begin_unmarked(&[]).await?;
    let statement = Statement::new(
        "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS replica,
                pg_encoding_to_char(d.encoding)::text AS encoding, u.usesuper AS superuser,
                coalesce((SELECT s.ssl FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()), false) AS tls,
                inet_client_addr() IS NULL AS by_socket
         FROM pg_database d, pg_user u
         WHERE d.datname = current_database() AND u.usename = current_user",
    );
    let row = tx.fetch_one(statement, None).await?;
    tx.finish().await?;
    let version: i32 = get(&row, "version")?;
    let role = if get(&row, "replica")? { "replica" } else { "primary" };
    let verdict = if version < 120_000 { Verdict::Fail } else { Verdict::Ok };
    let advice = if version < 120_000 { "; PostgreSQL 12 or later is needed" } else { "" };
    report.add("connection", verdict, format!("PostgreSQL {}, {role}{advice}", version / 10_000));
    if !get::<bool>(&row, "tls")? && !get::<bool>(&row, "by_socket")? {
        report.add("connection", Verdict::Warn, "not encrypted; add sslmode=verify-full to the DSN");
    }
    if get(&row, "superuser")? {
        report.add("role", Verdict::Warn, "a superuser; make a role that may only SELECT from the schema");
    }
    let encoding: String = get(&row, "encoding")?;
    if encoding == "SQL_ASCII" {
        report.add(
            "encoding",
            Verdict::Warn,
            "SQL_ASCII: every body is checked as if it were untrusted text",
        );
    }
    Ok(())
}

/// Takes a horizon with the role's own privileges.
pub(super) async fn horizon(source: &Source, report: &mut CheckReport) {
    match source.horizon().await {
        Ok(horizon) => {
            let lag = horizon.lag.as_secs();
            let detail = format!("{} s behind the server's clock, limited by {}", lag, horizon.limited_by);
            if lag > LONG_LAG_S {
                let detail = format!("{detail}: somebody holds a transaction open");
                report.add("horizon", Verdict::Warn, detail);
            } else {
                report.add("horizon", Verdict::Ok, detail);
            }
        }
        Err(e) => report.add("horizon", Verdict::Fail, describe(&e)),
    }
}

/// What the planner and the privileges say of one relation.
pub(super) struct RelationFacts {
    /// Rows, as the planner estimates them.
    pub rows: u64,
    /// Whether the role could change the relation outside a read-only transaction.
    pub writable: bool,
}

pub(super) async fn relation(source: &Source, relation: &Relation) -> Result<RelationFacts, SourceError> {
    let shape = Shape::new(source.schema(), relation)?;
    let mut tx = source.begin_unmarked(&[]).await?;
    let explain = Statement::new(format!("EXPLAIN (FORMAT JSON) SELECT r.id FROM {}", shape.from()));
    let plan = tx.fetch_one(explain, Some(&relation.name)).await?;
    let mut statement = Statement::new(
        "SELECT has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writable
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ",
    );
    let schema = statement.bind(source.schema());
    let name = statement.bind(relation.name.as_str());
    statement.push(&format!("{schema} AND c.relname = {name}"));
    let row = tx.fetch_one(statement, Some(&relation.name)).await?;
    tx.finish().await?;
    let rows = super::indexes::plan_of(&plan, &relation.name)?["Plan Rows"].as_u64().unwrap_or_default();
    Ok(RelationFacts { rows, writable: get(&row, "writable")? })
}

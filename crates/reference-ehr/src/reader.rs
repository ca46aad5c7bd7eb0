//! The role with which the engine reads the tables: it may read, and see when other transactions began.

use sqlx::Connection;

use crate::database::{DatabaseError, connect, execute, literal, quoted};

/// Makes `role` a login role that can read everything in `schema`, now and for tables that the calling
/// user adds later, and nothing else. Repeating it changes nothing.
///
/// The role becomes a member of `pg_read_all_stats`, because a safe `transactionTime` is derived from
/// `pg_stat_activity`, which hides the `xact_start` of other users from everybody else (PostgreSQL,
/// "Predefined Roles"). It has no password: give it one (`ALTER ROLE … PASSWORD`) where the server does
/// not trust the connection.
///
/// # Errors
/// When the database at `dsn` cannot be reached, or its user may not create roles or grant these rights.
pub async fn grant_reader(dsn: &str, schema: &str, role: &str) -> Result<(), DatabaseError> {
    let mut connection = connect(dsn).await?;
    let mut tx = connection.begin().await?;
    // Roles belong to the whole cluster, so two databases may be set up with the same one at the same
    // time: the loser of that race waits for the winner's commit, and then has nothing left to do.
    execute(
        &mut tx,
        format!(
            "DO $$ BEGIN
               CREATE ROLE {role} LOGIN;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$",
            role = quoted(role),
        ),
    )
    .await?;
    execute(
        &mut tx,
        format!(
            "DO $$ BEGIN
               IF NOT pg_has_role({name}, 'pg_read_all_stats', 'MEMBER') THEN
                 GRANT pg_read_all_stats TO {role};
               END IF;
             END $$",
            name = literal(role),
            role = quoted(role),
        ),
    )
    .await?;
    execute(
        &mut tx,
        format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}",
            schema = quoted(schema),
            role = quoted(role),
        ),
    )
    .await?;
    Ok(tx.commit().await?)
}

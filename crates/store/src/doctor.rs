//! What `headgate doctor` asks the control database. It reads; nothing is written.

use chrono::{DateTime, Utc};

use crate::{Result, Store};

/// The server, as this connection sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// The database role that we are connected as.
    pub role: String,
    /// PostgreSQL's version, such as `15.13`.
    pub version: String,
    /// Whether this connection is encrypted.
    pub tls: bool,
    /// Whether this connection does not leave the machine.
    pub local: bool,
    /// Whether the server is a standby, where nothing can be written.
    pub standby: bool,
    /// The server's clock.
    pub now: DateTime<Utc>,
    /// Connections that the server lets roles have that are no superusers.
    pub max_connections: i64,
    /// Connections that there are.
    pub connections: i64,
    /// Those of them that are Headgate's.
    pub ours: i64,
}

/// What one of the two roles may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFacts {
    /// Its name.
    pub name: String,
    /// Whether it may connect.
    pub can_log_in: bool,
    /// Whether row-level security binds it: it is no superuser, may not go past it, and does not own the tables.
    pub is_bound: bool,
    /// Whether it may read exports.
    pub reads_exports: bool,
    /// Whether it may read the keys of access tokens.
    pub reads_signing_keys: bool,
    /// Whether it may change or remove audit events.
    pub changes_audit: bool,
    /// Whether a policy lets it see exports.
    pub has_policy: bool,
}

/// The tables beside those of exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFacts {
    /// Whether the queue's table of messages is there.
    pub exists: bool,
    /// Whether we may send a message.
    pub may_send: bool,
}

/// A housekeeping task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFacts {
    /// Its name.
    pub task: String,
    /// Seconds between two runs.
    pub every_s: i64,
    /// Seconds since it has been due; negative: until it is.
    pub overdue_s: i64,
    /// Seconds since it ran; none: it never did.
    pub ran_s_ago: Option<i64>,
    /// How that run went; `ok`, or why not.
    pub last_result: Option<String>,
}

impl Store {
    /// The server, its clock and its connections.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn server_facts(&self, roles: &[String]) -> Result<ServerFacts> {
        Ok(sqlx::query_as!(
            ServerFacts,
            r#"/* server_facts */
            SELECT current_user::text AS "role!", current_setting('server_version') AS "version!",
                   coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS "tls!",
                   coalesce(inet_client_addr() <<= ANY (ARRAY['127.0.0.0/8'::inet, '::1'::inet]), true) AS "local!", pg_is_in_recovery() AS "standby!",
                   clock_timestamp() AS "now!",
                   current_setting('max_connections')::bigint
                       - current_setting('superuser_reserved_connections')::bigint AS "max_connections!",
                   (SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL)
                       AS "connections!",
                   (SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND (application_name = 'headgate' OR usename = ANY($1)))
                       AS "ours!""#,
            roles,
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// What the roles may do; those that do not exist are left out.
    ///
    /// # Errors
    /// When the database fails, or the schema may not be looked at.
    pub async fn role_facts(&self, roles: &[String]) -> Result<Vec<RoleFacts>> {
        Ok(sqlx::query_as!(
            RoleFacts,
            r#"/* role_facts */
            SELECT r.rolname::text AS "name!", r.rolcanlogin AS "can_log_in!",
                   c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
                       AND NOT pg_has_role(r.oid, c.relowner, 'USAGE') AS "is_bound!",
                   has_schema_privilege(r.oid, c.relnamespace, 'USAGE')
                       AND has_table_privilege(r.oid, c.oid, 'SELECT') AS "reads_exports!",
                   has_table_privilege(r.oid, 'headgate.signing_key', 'SELECT') AS "reads_signing_keys!",
                   has_table_privilege(r.oid, 'headgate.audit_event', 'UPDATE, DELETE, TRUNCATE')
                       AS "changes_audit!",
                   EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND r.oid = ANY(p.polroles))
                       AS "has_policy!"
              FROM pg_roles r, pg_class c
             WHERE r.rolname = ANY($1) AND c.oid = 'headgate.export'::regclass
             ORDER BY r.rolname"#,
            roles,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Whether the queue is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_facts(&self) -> Result<QueueFacts> {
        Ok(sqlx::query_as!(
            QueueFacts,
            r#"/* queue_facts */
            SELECT count(c.oid) > 0 AS "exists!",
                   coalesce(bool_and(has_table_privilege(c.oid, 'INSERT')), false) AS "may_send!"
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'apalis' AND c.relname = 'jobs'"#,
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// The housekeeping tasks, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn task_facts(&self) -> Result<Vec<TaskFacts>> {
        Ok(sqlx::query_as!(
            TaskFacts,
            r#"/* task_facts */
            SELECT task, every_s::bigint AS "every_s!",
                   floor(extract(epoch FROM clock_timestamp() - due_at))::bigint AS "overdue_s!",
                   floor(extract(epoch FROM clock_timestamp() - last_run_at))::bigint AS ran_s_ago, last_result
              FROM headgate.maintenance ORDER BY task"#,
        )
        .fetch_all(&self.pool)
        .await?)
    }
}

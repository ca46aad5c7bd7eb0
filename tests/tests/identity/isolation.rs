//! What holds even where a statement forgets its WHERE: the roles of the control database, and the places of objects.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection, Row as _};
use headgate_testkit::{API_ROLE, Level, Practice, TestApp, WORKER_ROLE};
use tokio::sync::OnceCell;

use crate::stage::{self, play, practice};

/// SQLSTATE of a statement that the role may not run.
const FORBIDDEN: &str = "42501";

/// The tables that are of one practice each, whose rows the API sees only as that practice.
const OWNED: [&str; 14] = [
    "audit_event",
    "consent",
    "export",
    "export_member",
    "export_patient",
    "export_reference",
    "export_stream",
    "file",
    "patient_group",
    "patient_group_member",
    "problem",
    "shard",
    "source_catalog",
    "source_group",
];

/// The tables of [`OWNED`] that the API has no business with at all.
const NOT_FOR_API: [&str; 1] = ["export_reference"];

/// Two practices with an export of a group each.
struct Two {
    here: Practice,
    there: Practice,
}

static TWO: OnceCell<Result<Two, String>> = OnceCell::const_new();

async fn two(app: &'static TestApp) -> Result<&'static Two> {
    let build = async || build(app).await.map_err(|error| format!("{error:#}"));
    TWO.get_or_init(build).await.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

async fn build(app: &TestApp) -> Result<Two> {
    let (here, there) = (practice(app).await?, practice(app).await?);
    for practice in [&here, &there] {
        practice.insert_many("Patient", "p", 3, None, 0).await?;
        practice.insert_body("Condition", "broken", Some("p-1"), "{").await?;
        app.group(practice, "g", &["p-1", "p-2"]).await?;
        let (_, client) = stage::client(app, practice).await?;
        let export = client.start(&Level::Group("g".to_owned()), &[]).await?;
        client.wait_complete(&export).await?;
    }
    Ok(Two { here, there })
}

async fn connect(app: &TestApp, role: &str) -> Result<PgConnection> {
    Ok(PgConnection::connect(&app.control_url_as(role)).await?)
}

/// The practices whose rows of a table a connection sees; `None` when it may not look.
async fn seen(connection: &mut PgConnection, table: &str) -> Result<Option<BTreeSet<i64>>> {
    let select =
        format!("SELECT DISTINCT practice_number FROM headgate.{table} WHERE practice_number IS NOT NULL");
    match sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(connection).await {
        Ok(numbers) => Ok(Some(numbers.into_iter().collect())),
        Err(error) => forbidden(&error).then_some(None).with_context(|| format!("{table}: {error}")),
    }
}

fn forbidden(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == FORBIDDEN)
}

async fn act_for(connection: &mut PgConnection, practice: &Practice) -> Result<()> {
    sqlx::query("SELECT set_config('headgate.practice', $1, false)")
        .bind(practice.number.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

#[test]
fn the_processes_connect_as_roles_that_are_neither_superusers_nor_owners() -> Result<()> {
    play(async |app| {
        let connected: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT usename::text FROM pg_stat_activity
              WHERE datname = current_database() AND usename IN ('headgate_api', 'headgate_worker')",
        )
        .fetch_all(app.control())
        .await?;
        ensure!(connected.len() == 2, "connected: {connected:?}");
        let mighty: i64 = app
            .control_scalar(
                "SELECT count(*) FROM pg_roles WHERE rolname IN ('headgate_api', 'headgate_worker')
                    AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
            )
            .await?;
        let owned: i64 = app
            .control_scalar(
                "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
                  WHERE r.rolname IN ('headgate_api', 'headgate_worker')",
            )
            .await?;
        let members: i64 = app
            .control_scalar(
                "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
                  WHERE r.rolname IN ('headgate_api', 'headgate_worker')",
            )
            .await?;
        ensure!(
            (mighty, owned, members) == (0, 0, 0),
            "{mighty} mighty, {owned} owned, {members} memberships"
        );
        Ok(())
    })
}

#[test]
fn every_table_of_a_practice_is_under_row_level_security() -> Result<()> {
    play(async |app| {
        let rows = sqlx::query(
            "SELECT c.relname::text, c.relrowsecurity FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
              WHERE c.relnamespace = 'headgate'::regnamespace AND c.relkind = 'r' AND a.attname = 'practice_number'
                AND NOT a.attisdropped ORDER BY 1",
        )
        .fetch_all(app.control())
        .await?;
        let tables: BTreeMap<String, bool> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        // The directory of practices itself is what requests are routed by.
        let secured: Vec<&str> =
            tables.iter().filter(|(name, _)| *name != "practice").map(|(name, _)| name.as_str()).collect();
        ensure!(secured == OWNED, "tables with a practice_number: {secured:?}");
        let open: Vec<&String> =
            tables.iter().filter(|(name, on)| *name != "practice" && !**on).map(|(name, _)| name).collect();
        ensure!(open.is_empty(), "without row-level security: {open:?}");
        Ok(())
    })
}

#[test]
fn a_connection_of_the_api_sees_the_practice_that_it_acts_for_and_no_other() -> Result<()> {
    play(async |app| {
        let two = two(app).await?;
        let mut api = connect(app, API_ROLE).await?;
        let mut all = connect(app, "postgres").await?;
        let both = [two.here.number, two.there.number];
        for table in OWNED {
            // What is never there proves nothing.
            let there = seen(&mut all, table).await?.unwrap_or_default();
            let may_be_empty = matches!(table, "export_patient" | "export_reference" | "source_group");
            ensure!(may_be_empty || both.iter().all(|n| there.contains(n)), "{table}: {there:?}");
            let found = seen(&mut api, table).await?;
            let expected = (!NOT_FOR_API.contains(&table)).then(BTreeSet::new);
            ensure!(found == expected, "{table}, for nobody: {found:?}");
        }
        act_for(&mut api, &two.here).await?;
        for table in OWNED.into_iter().filter(|table| !NOT_FOR_API.contains(table)) {
            let found = seen(&mut api, table).await?.with_context(|| format!("{table} cannot be read"))?;
            ensure!(found.iter().all(|n| *n == two.here.number), "{table}: {found:?}");
            let expected = seen(&mut all, table).await?.unwrap_or_default().contains(&two.here.number);
            ensure!(found.is_empty() != expected, "{table}: its own rows are hidden");
        }
        Ok(())
    })
}

#[test]
fn a_connection_of_the_api_can_change_nothing_of_another_practice() -> Result<()> {
    play(async |app| {
        let two = two(app).await?;
        let mut api = connect(app, API_ROLE).await?;
        act_for(&mut api, &two.here).await?;
        let (here, there) = (two.here.number, two.there.number);
        for (table, column) in [
            ("consent", "revision"),
            ("export", "links_times"),
            ("patient_group", "revision"),
            ("patient_group_member", "member_since"),
            ("shard", "attempts"),
            ("file", "published_at"),
            ("source_catalog", "attempts"),
        ] {
            let update =
                format!("UPDATE headgate.{table} SET {column} = {column} WHERE practice_number = $1");
            let touched = sqlx::query(AssertSqlSafe(update.clone())).bind(there).execute(&mut api).await?;
            ensure!(touched.rows_affected() == 0, "{table}: another practice's rows were changed");
            let touched = sqlx::query(AssertSqlSafe(update)).bind(here).execute(&mut api).await?;
            ensure!(touched.rows_affected() > 0, "{table}: its own rows were not");
        }
        // Nor add anything there, or give something away.
        for statement in [
            format!(
                "INSERT INTO headgate.patient_group (practice_number, group_id, name) VALUES ({there}, 'x', 'x')"
            ),
            format!(
                "UPDATE headgate.patient_group SET practice_number = {there} WHERE practice_number = {here}"
            ),
            format!(
                "INSERT INTO headgate.export SELECT (e.x).* FROM (
                     SELECT jsonb_populate_record(e, '{{\"practice_number\": {there}}}') AS x
                       FROM headgate.export e LIMIT 1) e"
            ),
        ] {
            let refused = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut api).await;
            let error = refused.err().with_context(|| format!("it went through: {statement}"))?;
            ensure!(forbidden(&error), "{statement}: {error}");
        }
        Ok(())
    })
}

#[test]
fn nobody_but_the_owner_can_change_or_remove_an_audit_event() -> Result<()> {
    play(async |app| {
        for role in [API_ROLE, WORKER_ROLE] {
            let mut connection = connect(app, role).await?;
            for statement in [
                "UPDATE headgate.audit_event SET actor = 'x'",
                "DELETE FROM headgate.audit_event",
                "TRUNCATE headgate.audit_event",
                "ALTER TABLE headgate.audit_event DISABLE ROW LEVEL SECURITY",
                "UPDATE headgate.audit_seal SET mac = mac",
                "DELETE FROM headgate.audit_seal",
            ] {
                let error = sqlx::query(statement).execute(&mut connection).await.err();
                let error = error.with_context(|| format!("{role}: it went through: {statement}"))?;
                ensure!(forbidden(&error), "{role}: {statement}: {error}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_worker_cannot_read_who_may_log_in_and_with_what() -> Result<()> {
    play(async |app| {
        let mut worker = connect(app, WORKER_ROLE).await?;
        for statement in [
            "SELECT sealed FROM headgate.signing_key",
            "SELECT jwk FROM headgate.app_key",
            "SELECT kid FROM headgate.app_key",
            "SELECT body FROM headgate.idempotency",
            "SELECT address FROM headgate.assertion_refusal",
            "SELECT client_id FROM headgate.revoked_token",
            "SELECT mac FROM headgate.audit_seal",
            "INSERT INTO headgate.assertion_replay (client_id, jti, expires_at) VALUES ('x', 'x', now())",
            "UPDATE headgate.consent SET revoked_at = NULL",
            "UPDATE headgate.app SET suspended_at = NULL",
            "UPDATE headgate.practice SET suspended_at = NULL",
        ] {
            let error = sqlx::query(statement).execute(&mut worker).await.err();
            let error = error.with_context(|| format!("it went through: {statement}"))?;
            ensure!(forbidden(&error), "{statement}: {error}");
        }
        // It knows the exports of all.
        let two = two(app).await?;
        let known = seen(&mut worker, "export").await?.unwrap_or_default();
        ensure!(known.contains(&two.here.number) && known.contains(&two.there.number));
        Ok(())
    })
}

#[test]
fn every_object_lies_below_the_prefix_of_its_practice_and_export() -> Result<()> {
    play(async |app| {
        two(app).await?;
        // Exports of other tests begin meanwhile; none has an object before it is known.
        let keys = app.s3_keys("")?;
        ensure!(!keys.is_empty());
        let rows = sqlx::query(
            "SELECT p.s3_prefix, e.export_id FROM headgate.export e JOIN headgate.practice p USING (practice_number)",
        )
        .fetch_all(app.control())
        .await?;
        let place = |row: &sqlx::postgres::PgRow| {
            format!("{}/{}/", row.get::<&str, _>("s3_prefix"), row.get::<&str, _>("export_id"))
        };
        let known: Vec<String> = rows.iter().map(place).collect();
        for key in &keys {
            ensure!(known.iter().any(|place| key.starts_with(place)), "{key}");
        }
        let prefixes: Vec<String> =
            sqlx::query_scalar("SELECT s3_prefix FROM headgate.practice").fetch_all(app.control()).await?;
        for one in &prefixes {
            let within = prefixes.iter().filter(|other| other.starts_with(&format!("{one}/"))).count();
            ensure!(within == 0, "a practice lies within the prefix of another: {one}");
        }
        Ok(())
    })
}

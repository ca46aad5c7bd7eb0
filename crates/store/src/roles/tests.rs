use std::time::Duration;

use headgate_domain::PracticeNumber;
use headgate_local::postgres::{Cluster, Options};
use uuid::Uuid;

use super::*;
use crate::{Audit, AuditFilter, NewVendor, Page};

fn roles() -> Roles {
    let [api, worker, observer] =
        ["headgate_api", "headgate_worker", "headgate_observer"].map(|name| name.to_owned());
    Roles { api, worker, observer }
}

async fn connect(cluster: &Cluster, user: &str) -> Store {
    let url = cluster.url("postgres").replace("postgres@", &format!("{user}@"));
    Store::connect(&url, 4, Duration::from_secs(10)).await.unwrap()
}

/// What is wrong with a statement, as its SQLSTATE; `None` when it worked.
async fn refused(store: &Store, practice: i64, statement: &'static str) -> Option<String> {
    let mut tx = store.at(PracticeNumber::new(practice).unwrap()).await.unwrap();
    let error = sqlx::query(statement).execute(&mut *tx).await.err()?;
    Some(error.as_database_error().unwrap().code().unwrap().into_owned())
}

async fn count(store: &Store, practice: Option<i64>, table: &str) -> i64 {
    let mut tx = match practice {
        Some(practice) => store.at(PracticeNumber::new(practice).unwrap()).await.unwrap(),
        None => store.begin().await.unwrap(),
    };
    let statement = format!("SELECT count(*) FROM headgate.{table}");
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut *tx).await.unwrap()
}

/// Two practices with a group and an audit event each.
async fn insert_practices(owner: &Store) {
    for practice in [1, 2] {
        sqlx::query(
            "INSERT INTO headgate.practice (practice_number, slug, name, base_url, source_dsn_ref, s3_prefix)
             VALUES ($1, 'p' || $1, 'P', 'https://fhir.example/' || $1, 'env:X', 'p/' || $1)",
        )
        .bind(practice)
        .execute(&owner.pool)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO headgate.patient_group (practice_number, group_id, name) VALUES ($1, 'g', 'G')",
        )
        .bind(practice)
        .execute(&owner.pool)
        .await
        .unwrap();
        let number = PracticeNumber::new(i64::from(practice)).unwrap();
        owner.record(&Audit::new("operator", "practice.created").at(number)).await.unwrap();
    }
}

#[tokio::test]
async fn the_api_sees_one_practice_at_a_time_and_nobody_but_the_owner_edits_the_audit_trail() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let owner = Store::connect(&cluster.url("postgres"), 4, Duration::from_secs(10)).await.unwrap();
    owner.migrate().await.unwrap();
    let to = |engine, observer| Granted { engine, observer };
    assert_eq!(owner.grant_roles(&roles(), false).await.unwrap(), to(false, false), "there are no roles yet");
    assert_eq!(owner.grant_roles(&roles(), true).await.unwrap(), to(true, true));
    assert_eq!(owner.grant_roles(&roles(), false).await.unwrap(), to(true, true), "again does no harm");
    insert_practices(&owner).await;

    let api = connect(&cluster, "headgate_api").await;
    assert!(api.is_bound_by_policies().await.unwrap() && !owner.is_bound_by_policies().await.unwrap());
    // A statement without any condition, on purpose.
    for table in ["patient_group", "audit_event"] {
        assert_eq!(count(&api, Some(1), table).await, 1, "{table}");
        assert_eq!(count(&api, Some(3), table).await, 0, "{table}");
        assert_eq!(count(&api, None, table).await, 0, "{table}: a transaction for nobody");
    }
    assert_eq!(api.audit_events(&AuditFilter::default(), &Page::first(10)).await.unwrap().items.len(), 2);
    let insufficient = Some("42501".to_owned());
    assert_eq!(
        refused(
            &api,
            1,
            "INSERT INTO headgate.patient_group (practice_number, group_id, name) VALUES (2, 'h', 'H')"
        )
        .await,
        insufficient
    );
    assert_eq!(
        refused(&api, 1, "UPDATE headgate.patient_group SET name = 'taken' WHERE practice_number = 2").await,
        None
    );
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM headgate.patient_group").fetch_all(&owner.pool).await.unwrap();
    assert_eq!(names, ["G", "G"], "rows of another practice are not there to be updated");
    let vendor = NewVendor {
        vendor_id: Uuid::new_v4(),
        name: "V".to_owned(),
        contact_email: "v@v.example".to_owned(),
    };
    api.create_vendor(&vendor, &Audit::new("operator", "vendor.created")).await.unwrap();

    let worker = connect(&cluster, "headgate_worker").await;
    assert_eq!(count(&worker, None, "patient_group").await, 2);
    for statement in [
        "SELECT * FROM headgate.signing_key",
        "SELECT * FROM headgate.app_key",
        "SELECT fingerprint FROM headgate.idempotency",
        "UPDATE headgate.consent SET scopes = 'system/*.rs'",
    ] {
        assert_eq!(refused(&worker, 1, statement).await, insufficient, "{statement}");
    }
    for store in [&api, &worker] {
        for statement in [
            "UPDATE headgate.audit_event SET actor = 'nobody'",
            "DELETE FROM headgate.audit_event",
            "TRUNCATE headgate.audit_event",
            "DELETE FROM headgate.audit_seal",
            "CREATE TABLE headgate.mine ()",
        ] {
            assert_eq!(refused(store, 1, statement).await, insufficient, "{statement}");
        }
    }

    for store in [owner, api, worker] {
        store.close().await;
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_observer_may_ask_how_much_is_runnable_and_read_nothing() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let owner = Store::connect(&cluster.url("postgres"), 4, Duration::from_secs(10)).await.unwrap();
    owner.migrate().await.unwrap();
    // An installation of before has two roles and no observer: they get what is new all the same.
    sqlx::raw_sql("CREATE ROLE headgate_api LOGIN; CREATE ROLE headgate_worker LOGIN")
        .execute(&owner.pool)
        .await
        .unwrap();
    let granted = owner.grant_roles(&roles(), false).await.unwrap();
    assert_eq!(granted, Granted { engine: true, observer: false });
    assert!(owner.grant_roles(&roles(), true).await.unwrap().observer);
    insert_practices(&owner).await;
    sqlx::query("INSERT INTO headgate.source_catalog (practice_number) VALUES (1)")
        .execute(&owner.pool)
        .await
        .unwrap();

    let observer = connect(&cluster, "headgate_observer").await;
    let waiting: Vec<(String, i64)> =
        sqlx::query_as("SELECT step, waiting FROM headgate.runnable() ORDER BY step")
            .fetch_all(&observer.pool)
            .await
            .unwrap();
    let steps: Vec<(&str, i64)> = waiting.iter().map(|(step, waiting)| (step.as_str(), *waiting)).collect();
    assert_eq!(steps, [("finish", 0), ("plan", 0), ("purge", 0), ("refresh", 1), ("shard", 0)]);
    let relations: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('headgate', 'apalis') AND c.relkind IN ('r', 'v')",
    )
    .fetch_all(&owner.pool)
    .await
    .unwrap();
    assert!(relations.len() > 25, "{relations:?}");
    for relation in relations {
        let may: bool = sqlx::query_scalar(
            "SELECT has_any_column_privilege('headgate_observer', $1, 'SELECT')
                 OR has_table_privilege('headgate_observer', $1, 'INSERT, UPDATE, DELETE, TRUNCATE')",
        )
        .bind(&relation)
        .fetch_one(&owner.pool)
        .await
        .unwrap();
        assert!(!may, "{relation}");
    }
    let insufficient = Some("42501".to_owned());
    for statement in ["SELECT count(*) FROM headgate.pause", "CREATE TABLE headgate.mine ()"] {
        assert_eq!(refused(&observer, 1, statement).await, insufficient, "{statement}");
    }
    // Nobody else without a role of ours may ask.
    sqlx::raw_sql("CREATE ROLE stranger LOGIN").execute(&owner.pool).await.unwrap();
    let stranger = connect(&cluster, "stranger").await;
    for statement in ["SELECT * FROM headgate.runnable()", "SELECT headgate.demand(4, 4)"] {
        assert_eq!(refused(&stranger, 1, statement).await, insufficient, "{statement}");
    }

    for store in [owner, observer, stranger] {
        store.close().await;
    }
    cluster.stop().await.unwrap();
}

/// The query of the manifest that scales the workers, word for word.
fn scaling_query() -> &'static str {
    let manifest = include_str!("../../../../deploy/kubernetes/components/worker-keda/scaling.yaml");
    let line = manifest.lines().find_map(|line| line.trim().strip_prefix("query: ")).unwrap();
    line.trim_matches('"')
}

/// Apps and practices by number; app A at practice P has an export of these shards: under a lease, ready.
async fn insert_shards(owner: &Store, at: &[(i32, i32, i32, i32)]) {
    sqlx::raw_sql(
        "INSERT INTO headgate.practice (practice_number, slug, name, base_url, source_dsn_ref, s3_prefix)
             SELECT n, 'p' || n, 'P', 'https://fhir.example/' || n, 'env:X', 'p/' || n FROM generate_series(1, 9) n;
         INSERT INTO headgate.vendor (vendor_id, name, contact_email) VALUES (gen_random_uuid(), 'V', 'v@v.example');
         INSERT INTO headgate.app (client_id, vendor_id, name, scopes, security_contact)
             SELECT 'fhir' || lpad(n::text, 50, '0'), vendor_id, 'A', 'system/*.rs', 's@v.example'
               FROM headgate.vendor, generate_series(1, 9) n",
    )
    .execute(&owner.pool)
    .await
    .unwrap();
    for (practice, app, leased, ready) in at {
        sqlx::query(
            "WITH consent AS (
                 INSERT INTO headgate.consent (practice_number, consent_id, client_id, scopes, granted_by)
                 SELECT $1, gen_random_uuid(), 'fhir' || lpad($2::text, 50, '0'), 'system/*.rs', 'me' RETURNING *),
             export AS (
                 INSERT INTO headgate.export (practice_number, export_id, client_id, consent_id, level, request_url, types,
                                              state, transaction_time, accepted_under)
                 SELECT practice_number, md5($1 || ' ' || $2), client_id, consent_id, 'system', 'https://fhir.example',
                        '{Patient}', 'running', now(), consent_id FROM consent RETURNING *),
             stream AS (
                 INSERT INTO headgate.export_stream (practice_number, export_id, stream, resource_type, relation, access_path)
                 SELECT practice_number, export_id, 1, 'Patient', '{}', 'all' FROM export RETURNING *)
             INSERT INTO headgate.shard (practice_number, export_id, stream, shard, slice, planned_rows, first_number,
                                         number_count, state, lease_token, lease_expires_at)
             SELECT practice_number, export_id, 1, n, '{}', 1, n, 1, CASE WHEN n > $3 THEN 'ready' ELSE 'leased' END,
                    CASE WHEN n <= $3 THEN gen_random_uuid() END, CASE WHEN n <= $3 THEN now() + interval '1 h' END
               FROM stream, generate_series(1, $3 + $4) n",
        )
        .bind(practice)
        .bind(app)
        .bind(leased)
        .bind(ready)
        .execute(&owner.pool)
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn the_query_that_scales_the_workers_counts_what_runs_and_what_could_within_the_caps() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let owner = Store::connect(&cluster.url("postgres"), 4, Duration::from_secs(10)).await.unwrap();
    owner.migrate().await.unwrap();
    assert!(owner.grant_roles(&roles(), true).await.unwrap().observer);
    let observer = connect(&cluster, "headgate_observer").await;
    let asked = async |query: &str| {
        let query = AssertSqlSafe(query.to_owned());
        sqlx::query_scalar::<_, i64>(query).fetch_one(&observer.pool).await.unwrap()
    };
    assert_eq!(asked(scaling_query()).await, 0);

    insert_shards(&owner, &[(1, 1, 1, 9), (2, 1, 2, 0), (3, 1, 3, 1), (1, 2, 0, 9), (4, 3, 5, 0)]).await;
    assert_eq!(asked(scaling_query()).await, 8 + 2 + 4 + 5, "practice 1 may have eight of its nineteen");
    for (caps, demand, why) in [
        ("100, 100", 30, "all that run or wait"),
        ("4, 100", 4 + 2 + 4 + 5, "the five that run at practice 4 run, whatever the cap"),
        ("100, 10", 10 + 9 + 5, "the first app may have ten"),
        ("1, 1", 1 + 2 + 3 + 5, "nothing more, and nobody has to go"),
        ("100, 6", 6 + 6 + 5, "the first app runs six already"),
    ] {
        assert_eq!(asked(&format!("SELECT headgate.demand({caps})")).await, demand, "{caps}: {why}");
    }

    // What waits at a paused practice, or not yet again, waits for no worker; what runs there has one.
    let set = async |statement: &'static str| sqlx::raw_sql(statement).execute(&owner.pool).await.unwrap();
    set("UPDATE headgate.practice SET paused_at = now() WHERE practice_number = 1").await;
    assert_eq!(asked(scaling_query()).await, 1 + 2 + 4 + 5);
    set("UPDATE headgate.practice SET suspended_at = now() WHERE practice_number = 3").await;
    assert_eq!(asked(scaling_query()).await, 1 + 2 + 3 + 5);
    set("UPDATE headgate.shard SET lease_expires_at = now() WHERE practice_number = 4 AND shard = 1;
         UPDATE headgate.shard SET lease_expires_at = now(), retry_at = now() + interval '1 h'
          WHERE practice_number = 4 AND shard = 2")
    .await;
    assert_eq!(asked(scaling_query()).await, 1 + 2 + 3 + 4, "of an expired lease it waits, unless it rests");

    for store in [owner, observer] {
        store.close().await;
    }
    cluster.stop().await.unwrap();
}

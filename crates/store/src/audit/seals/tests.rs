use std::time::Duration;

use headgate_local::postgres::{Cluster, Options};

use super::*;
use crate::{Audit, AuditFilter};

fn mac(hash: &[u8]) -> (String, Vec<u8>) {
    ("k1".to_owned(), hash.iter().rev().copied().collect())
}

fn check(key_id: &str, hash: &[u8], given: &[u8]) -> MacState {
    match key_id {
        "k1" if mac(hash).1 == given => MacState::Good,
        "k1" => MacState::Bad,
        _ => MacState::UnknownKey,
    }
}

async fn write(store: &Store, events: u32) {
    for n in 0..events {
        let audit = Audit::new("operator test", "test.done").with(serde_json::json!({ "n": n }));
        store.record(&audit).await.unwrap();
    }
}

/// Seals until everything that is there is sealed.
async fn seal_all(store: &Store) -> i64 {
    let mut sealed = store.seal_audit(mac, |_, _| {}).await.unwrap();
    tokio::time::sleep(SETTLES_AFTER + Duration::from_millis(200)).await;
    sealed.extend(store.seal_audit(mac, |_, _| {}).await.unwrap());
    sealed.iter().map(|seal| seal.events).sum()
}

async fn problems(store: &Store) -> Vec<String> {
    let found = store.verify_seals(1, 100, check).await.unwrap();
    found.problems.into_iter().map(|p| format!("{}: {}", p.seal, p.problem)).collect()
}

async fn execute(store: &Store, statement: &'static str) -> u64 {
    sqlx::query(statement).execute(&store.pool).await.unwrap().rows_affected()
}

/// Does something to the tables, looks, and undoes it.
async fn found_after(store: &Store, statement: &'static str) -> Vec<String> {
    execute(store, "DROP TABLE IF EXISTS saved_event, saved_seal").await;
    execute(store, "CREATE TABLE saved_event AS SELECT * FROM headgate.audit_event").await;
    execute(store, "CREATE TABLE saved_seal AS SELECT * FROM headgate.audit_seal").await;
    assert!(execute(store, statement).await > 0, "{statement}");
    let found = problems(store).await;
    execute(store, "TRUNCATE headgate.audit_event, headgate.audit_seal").await;
    execute(store, "INSERT INTO headgate.audit_event OVERRIDING SYSTEM VALUE SELECT * FROM saved_event")
        .await;
    execute(store, "INSERT INTO headgate.audit_seal SELECT * FROM saved_seal").await;
    assert_eq!(problems(store).await, Vec::<String>::new(), "undone");
    found
}

#[tokio::test]
async fn an_event_that_is_edited_removed_or_added_breaks_the_chain() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let store = Store::connect(&cluster.url("postgres"), 4, Duration::from_secs(10)).await.unwrap();
    store.migrate().await.unwrap();

    // A transaction that is open holds the seal back: it may still add an event below the mark.
    let mut open = store.begin().await.unwrap();
    crate::audit::record(&mut open, &Audit::new("operator slow", "test.slow")).await.unwrap();
    write(&store, 3).await;
    assert_eq!(seal_all(&store).await, 0);
    open.commit().await.unwrap();
    assert_eq!(seal_all(&store).await, 4);
    write(&store, 5).await;
    assert_eq!(seal_all(&store).await, 5);
    // What the last look did not see is told apart.
    write(&store, 2).await;
    let whole = store.verify_seals(1, 100, check).await.unwrap();
    assert_eq!((whole.checked_seals, whole.checked_events, whole.unsealed_events), (2, 9, 2));
    assert_eq!((whole.problems, whole.next), (Vec::new(), None));
    assert_eq!(
        store.audit_events(&AuditFilter::default(), &crate::Page::first(100)).await.unwrap().items.len(),
        11
    );

    // A look goes on where the one before ended.
    let first = store.verify_seals(1, 1, check).await.unwrap();
    assert_eq!((first.checked_seals, first.next), (1, Some(2)));
    let second = store.verify_seals(2, 1, check).await.unwrap();
    assert_eq!((second.checked_seals, second.problems.len()), (1, 0));

    for (statement, problem) in [
        (
            "UPDATE headgate.audit_event SET actor = 'nobody' WHERE audit_id = 2",
            "1: events between the numbers 1 and 4 were edited",
        ),
        (
            "UPDATE headgate.audit_event SET at = at + interval '1 microsecond' WHERE audit_id = 7",
            "2: events between the numbers 5 and 9 were edited",
        ),
        (
            "UPDATE headgate.audit_event SET detail = '{\"n\": 9}' WHERE audit_id = 6",
            "2: events between the numbers 5 and 9 were edited",
        ),
        (
            "DELETE FROM headgate.audit_event WHERE audit_id = 3",
            "1: of its 4 events, numbers 1 to 4, 1 were removed",
        ),
        (
            "UPDATE headgate.audit_seal SET events = 3 WHERE seal_number = 1",
            "1: 1 events were added between the numbers 1 and 4",
        ),
        (
            "UPDATE headgate.audit_seal SET key_id = 'k0' WHERE seal_number = 2",
            "2: its key k0 is not at hand: configure it as the previous key",
        ),
        ("DELETE FROM headgate.audit_seal WHERE seal_number = 1", "2: seals 1 to 1 were removed"),
        ("DELETE FROM headgate.audit_seal WHERE seal_number = 2", "2: seals 2 to 2 were removed"),
    ] {
        let found = found_after(&store, statement).await;
        assert_eq!(found.first().map(String::as_str), Some(problem), "{statement}: {found:?}");
    }

    // Whoever computes everything anew, as far as the database can, fails at the MAC.
    let forged = found_after(
        &store,
        "WITH edited AS (UPDATE headgate.audit_event SET actor = 'nobody' WHERE audit_id = 8 RETURNING 1)
         UPDATE headgate.audit_seal SET hash = sha256('forged'::bytea) WHERE seal_number = 2",
    )
    .await;
    assert!(
        forged.contains(&"2: its MAC was not made with the key of this installation".to_owned()),
        "{forged:?}"
    );

    store.close().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_sealed_is_told_once_and_without_what_people_typed() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let store = Store::connect(&cluster.url("postgres"), 4, Duration::from_secs(10)).await.unwrap();
    store.migrate().await.unwrap();
    let (vendor, token) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    let practice = headgate_domain::PracticeNumber::new(7).unwrap();
    let suspended = Audit::new("operator ann", "vendor.suspended")
        .with(serde_json::json!({ "vendor": vendor, "reason": "free text" }));
    let revoked = Audit::new("client x", "token.revoked")
        .at(practice)
        .with(serde_json::json!({ "jti": token, "vendor": "no id" }));
    for audit in [&suspended, &revoked] {
        store.record(audit).await.unwrap();
    }
    let told = std::sync::Mutex::new(Vec::new());
    for _ in 0..3 {
        let tell = |seal: i64, event: &SealedEvent| told.lock().unwrap().push((seal, event.clone()));
        store.seal_audit(mac, tell).await.unwrap();
        tokio::time::sleep(SETTLES_AFTER + Duration::from_millis(200)).await;
    }
    let told = told.into_inner().unwrap();
    let facts: Vec<_> = told
        .iter()
        .map(|(seal, event)| {
            (*seal, event.id, event.action.as_str(), event.practice, event.vendor, event.token)
        })
        .collect();
    assert_eq!(
        facts,
        [
            (1, 1, "vendor.suspended", None, Some(vendor), None),
            (1, 2, "token.revoked", Some(7), None, Some(token))
        ]
    );
    assert!(!format!("{told:?}").contains("text"), "{told:?}");
    store.close().await;
    cluster.stop().await.unwrap();
}

//! Against a real server on a port of its own.

mod names;
mod server;

use std::io::Write as _;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolving};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::Algorithm;
use crate::fixtures::{EC, EC_PRIVATE, RSA, json, with};
use crate::jwks::SelectError;
use server::{Reply, Server};

/// Long enough that a busy machine does not miss it.
const SHORT: Duration = Duration::from_millis(400);

/// For a server on the loopback.
fn options() -> KeySetOptions {
    KeySetOptions { allow_insecure: true, ..KeySetOptions::default() }
}

fn key_sets(options: KeySetOptions) -> KeySets {
    KeySets::new(options).unwrap()
}

/// A set with these key ids, all of them the same key.
fn set(kids: &[&str]) -> String {
    let keys: Vec<Value> =
        kids.iter().map(|kid| with(EC.public_jwk().to_json(), "kid", json!(kid))).collect();
    json!({ "keys": keys }).to_string()
}

fn kids(set: &Jwks) -> Vec<&str> {
    set.keys().iter().map(|key| key.kid()).collect()
}

async fn error_of(reply: Reply) -> KeySetError {
    let server = Server::start(move |_| reply.clone()).await;
    let error = key_sets(options()).client_keys(&server.url, "a").await.unwrap_err();
    // Not for the developer: where the host is, and what it said.
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("127.0.0.1") && !shown.contains("s3cr3t"), "{shown}");
    error
}

fn zipped(content: &[u8]) -> Reply {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    Reply::of(200, "content-encoding: gzip", encoder.finish().unwrap())
}

#[tokio::test]
async fn a_set_is_fetched_once_and_serves_while_it_is_fresh() {
    let server = Server::start(|_| Reply::json("cache-control: max-age=60", &set(&["a"]))).await;
    let sets = key_sets(options());
    for _ in 0..3 {
        assert_eq!(kids(&sets.clone().client_keys(&server.url, "a").await.unwrap()), ["a"]);
    }
    assert_eq!(server.hits(), 1);
    let request = server.last_request().to_ascii_lowercase();
    assert!(request.starts_with("get /jwks.json http/1.1"), "{request}");
    assert!(request.contains("accept: application/json"), "{request}");
    assert_eq!(format!("{sets:?}"), "KeySets { .. }");
}

#[tokio::test]
async fn issuer_keys_come_from_the_same_kind_of_document() {
    let mut rs256 = RSA.public_jwk().to_json();
    rs256["alg"] = json!("RS256");
    let document = json!({ "keys": [rs256] }).to_string();
    let server = Server::start(move |_| Reply::json("", &document)).await;
    let sets = key_sets(options());
    assert!(sets.issuer_keys(&server.url, "vendor-rsa").await.unwrap().has("vendor-rsa"));
    // As client keys they are unusable: RS256 is not an algorithm of assertions.
    let error = sets.client_keys(&server.url, "vendor-rsa").await.unwrap_err();
    assert_eq!(error, KeySetError::Unusable(JwksError::WrongAlgorithm { at: 0 }));
}

#[tokio::test]
async fn a_hundred_callers_share_one_fetch() {
    for cache_control in ["cache-control: max-age=60", "cache-control: no-store"] {
        let slow = move |_| Reply::json(cache_control, &set(&["a"])).after(SHORT);
        let server = Server::start(slow).await;
        let sets = key_sets(options());
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let (sets, url) = (sets.clone(), server.url.clone());
            callers.spawn(async move { sets.client_keys(&url, "a").await.map(|set| set.keys().len()) });
        }
        assert!(callers.join_all().await.iter().all(|found| *found == Ok(1)));
        assert_eq!(server.hits(), 1, "{cache_control}");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_end_the_fetch_for_the_others() {
    let server = Server::start(|_| Reply::json("", &set(&["a"])).after(SHORT)).await;
    let sets = key_sets(options());
    let first = tokio::spawn({
        let (sets, url) = (sets.clone(), server.url.clone());
        async move { sets.client_keys(&url, "a").await.map(|_| ()) }
    });
    sleep(SHORT / 3).await;
    first.abort();
    assert!(sets.client_keys(&server.url, "a").await.is_ok());
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn a_set_that_may_not_be_kept_is_fetched_for_each_use() {
    for header in ["cache-control: no-store", "cache-control: no-cache", "cache-control: max-age=0"] {
        let server = Server::start(move |_| Reply::json(header, &set(&["a"]))).await;
        let sets = key_sets(options());
        for uses in 1..=3 {
            assert!(sets.client_keys(&server.url, "a").await.is_ok());
            assert_eq!(server.hits(), uses, "{header}");
        }
    }
}

#[tokio::test]
async fn a_withdrawn_key_is_dead_when_the_time_of_its_set_is_over() {
    // The server allows an hour, the cap does not.
    for (header, capped) in [("cache-control: max-age=3600", true), ("", false)] {
        let reply =
            move |hit| Reply::json(header, &if hit == 1 { set(&["old", "a"]) } else { set(&["new", "a"]) });
        let server = Server::start(reply).await;
        let capped = if capped { SHORT } else { Duration::from_secs(300) };
        let sets = key_sets(KeySetOptions { max_age: capped, default_age: SHORT, ..options() });
        assert_eq!(kids(&sets.client_keys(&server.url, "old").await.unwrap()), ["old", "a"]);
        sleep(SHORT + SHORT / 3).await;
        assert_eq!(kids(&sets.client_keys(&server.url, "a").await.unwrap()), ["new", "a"]);
        assert_eq!(server.hits(), 2);
    }
}

#[tokio::test]
async fn an_unknown_kid_asks_again_at_most_once_in_a_cool_down() {
    let reply = |hit| Reply::json("cache-control: max-age=60", &set(&["a", &format!("rotated-{hit}")]));
    let server = Server::start(reply).await;
    let sets = key_sets(KeySetOptions { cool_down: SHORT * 2, ..options() });
    let found = async |kid: &str| {
        sets.client_keys(&server.url, kid).await.unwrap().select(kid, Algorithm::Es384).is_ok()
    };
    assert!(found("rotated-1").await);
    assert!(found("rotated-2").await, "a new key works after one fetch");
    assert_eq!(server.hits(), 2);
    for kid in 0..50 {
        assert!(!found(&format!("guess-{kid}")).await);
    }
    assert!(!found("rotated-3").await && found("a").await);
    assert_eq!(server.hits(), 2);
    sleep(SHORT * 2 + SHORT / 3).await;
    assert!(found("a").await);
    assert_eq!(server.hits(), 2, "a known key asks for nothing");
    assert!(found("rotated-3").await);
    assert_eq!(server.hits(), 3);
}

#[tokio::test]
async fn known_keys_do_not_wait_for_the_search_of_an_unknown_one() {
    let reply = |hit| Reply::json("", &set(&["a"])).after(if hit == 1 { Duration::ZERO } else { SHORT * 3 });
    let server = Server::start(reply).await;
    let sets = key_sets(options());
    sets.client_keys(&server.url, "a").await.unwrap();
    let search = tokio::spawn({
        let (sets, url) = (sets.clone(), server.url.clone());
        async move { sets.client_keys(&url, "unknown").await.map(|set| set.keys().len()) }
    });
    sleep(SHORT / 3).await;
    let started = Instant::now();
    assert!(sets.client_keys(&server.url, "a").await.is_ok());
    assert!(started.elapsed() < SHORT * 2, "{:?}", started.elapsed());
    assert_eq!(search.await.unwrap(), Ok(1));
}

#[tokio::test]
async fn a_host_that_fails_is_covered_by_its_set_until_that_ends() {
    let reply = |hit| match hit {
        1 => Reply::json("cache-control: max-age=3600", &set(&["a"])),
        2..=4 => Reply::of(500, "", "s3cr3t"),
        _ => Reply::json("", &set(&["b"])),
    };
    let server = Server::start(reply).await;
    let sets = key_sets(KeySetOptions { max_age: SHORT * 2, cool_down: SHORT * 2, ..options() });
    let ask = async |kid: &str| sets.client_keys(&server.url, kid).await.map(|set| kids(&set).join(" "));
    assert_eq!(ask("a").await, Ok("a".to_owned()));
    // Hit 2, for a key id that is not there, fails; the set at hand still serves.
    assert_eq!(ask("b").await, Ok("a".to_owned()));
    assert_eq!((ask("a").await, server.hits()), (Ok("a".to_owned()), 2));
    sleep(SHORT * 2).await;
    // Now there is no set any more, and the failure is remembered.
    for _ in 0..20 {
        assert_eq!(ask("a").await, Err(KeySetError::Status(500)));
    }
    assert_eq!(server.hits(), 3);
    sleep(SHORT * 2 + SHORT / 3).await;
    assert_eq!((ask("a").await, server.hits()), (Err(KeySetError::Status(500)), 4));
    sleep(SHORT * 2 + SHORT / 3).await;
    assert_eq!((ask("b").await, server.hits()), (Ok("b".to_owned()), 5));
}

#[tokio::test]
async fn a_dead_or_slow_host_fails_in_time_and_disturbs_no_other() {
    let hanging = Server::start(|_| Reply::json("", &set(&["a"])).after(Duration::from_secs(60))).await;
    let trickling = Server::start(|_| Reply::json("", &set(&["a"])).stuck_after(40)).await;
    let good = Server::start(|_| Reply::json("cache-control: no-store", &set(&["a"]))).await;
    let dead = Server::dead().await;
    let sets = key_sets(KeySetOptions { timeout: SHORT * 4, ..options() });
    let mut callers = JoinSet::new();
    let expected = [
        (&hanging.url, KeySetError::Timeout),
        (&trickling.url, KeySetError::Timeout),
        (&dead, KeySetError::Unreachable),
    ];
    for (url, error) in expected {
        for _ in 0..20 {
            let (sets, url, error) = (sets.clone(), url.clone(), error.clone());
            callers.spawn(async move {
                let started = Instant::now();
                assert_eq!(sets.client_keys(&url, "a").await.unwrap_err(), error);
                assert!(started.elapsed() < SHORT * 7, "{:?}", started.elapsed());
            });
        }
    }
    for _ in 0..3 {
        let started = Instant::now();
        assert!(sets.client_keys(&good.url, "a").await.is_ok());
        assert!(started.elapsed() < SHORT * 2, "{:?}", started.elapsed());
        sleep(SHORT / 3).await;
    }
    callers.join_all().await;
    assert_eq!((hanging.hits(), trickling.hits()), (1, 1));
}

#[tokio::test]
async fn at_most_32_fetches_are_made_at_once() {
    let server = Server::start(|_| Reply::json("", &set(&["a"])).after(SHORT * 5)).await;
    // Time for those that wait for others.
    let sets = key_sets(KeySetOptions { timeout: SHORT * 50, ..options() });
    let mut callers = JoinSet::new();
    for path in 0..40 {
        let (sets, url) = (sets.clone(), server.url.join(&format!("/{path}")).unwrap());
        callers.spawn(async move { sets.client_keys(&url, "a").await.map(|_| ()) });
    }
    while server.connections() < 32 {
        sleep(SHORT / 20).await;
    }
    sleep(SHORT).await;
    assert_eq!(server.connections(), 32);
    assert!(callers.try_join_next().is_none(), "one was answered, so these 32 were not at once");
    assert!(callers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(server.hits(), 40);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_read_to_its_end() {
    let limit = 64 * 1024;
    let padded = |length: usize| {
        let set = set(&["a"]);
        let padding = " ".repeat(length - set.len());
        set + &padding
    };
    let server = Server::start(move |_| Reply::json("", &padded(limit))).await;
    assert!(key_sets(options()).client_keys(&server.url, "a").await.is_ok());
    assert_eq!(error_of(Reply::json("", &padded(limit + 1))).await, KeySetError::TooLarge { limit });
    // 32 MiB in about 32 KiB.
    let bomb = zipped(&vec![b' '; 32 << 20]);
    assert!(bomb.body.len() < limit);
    assert_eq!(error_of(bomb).await, KeySetError::TooLarge { limit });
    let honest = zipped(set(&["a"]).as_bytes());
    let server = Server::start(move |_| honest.clone()).await;
    assert!(key_sets(options()).client_keys(&server.url, "a").await.is_ok());
}

#[tokio::test]
async fn ten_thousand_keys_are_refused_even_where_the_bytes_are_not() {
    let many = json!({ "keys": vec![EC.public_jwk().to_json(); 10_000] }).to_string();
    let server = Server::start(move |_| Reply::json("", &many)).await;
    let sets = key_sets(KeySetOptions { max_bytes: 16 << 20, ..options() });
    let error = sets.client_keys(&server.url, "vendor-ec").await.unwrap_err();
    assert_eq!(error, KeySetError::Unusable(JwksError::TooManyKeys(10_000)));
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_is_an_error_with_its_cause() {
    let json = |text: &str| Reply::json("", text);
    let oct = r#"{"keys":[{"kty":"oct","kid":"a","k":"s3cr3t"}]}"#;
    let private = format!(r#"{{"keys":[{EC_PRIVATE}]}}"#);
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let cases = [
        (Reply::of(404, "", "s3cr3t"), KeySetError::Status(404)),
        (Reply::of(500, "", ""), KeySetError::Status(500)),
        (Reply::of(204, "", ""), KeySetError::Status(204)),
        (Reply::of(206, "", set(&["a"])), KeySetError::Status(206)),
        (json("<html>s3cr3t"), KeySetError::NotJson { line: 1, column: 1 }),
        (json(""), KeySetError::NotJson { line: 1, column: 0 }),
        (json(&deep), KeySetError::NotJson { line: 1, column: 128 }),
        (json("[]"), KeySetError::Unusable(JwksError::NotASet)),
        (json(r#"{"keys":[]}"#), KeySetError::Unusable(JwksError::Empty)),
        (json(oct), KeySetError::Unusable(JwksError::SymmetricKey { at: 0 })),
        (json(&private), KeySetError::Unusable(JwksError::PrivateKey { at: 0, member: "d" })),
        (Reply::of(200, "content-encoding: gzip", "s3cr3t"), KeySetError::BrokenAnswer),
        (Reply::json("", &set(&["a"])).cut_off_after(40), KeySetError::BrokenAnswer),
        (Reply::raw("s3cr3t is not HTTP\r\n\r\n"), KeySetError::Unreachable),
    ];
    for (reply, error) in cases {
        assert_eq!(error_of(reply).await, error);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::start(|_| Reply::json("", &set(&["a"]))).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}", target.url);
        let error = error_of(Reply::of(status, &location, "")).await;
        assert_eq!(error, KeySetError::Redirect, "{status}");
    }
    assert_eq!(target.hits(), 0);
}

#[tokio::test]
async fn unusable_keys_are_dropped_and_two_of_one_kid_select_none() {
    let keys = json!({ "keys": [
        { "kty": "oct", "kid": "a", "k": "c2VjcmV0" },
        json(EC_PRIVATE),
        with(EC.public_jwk().to_json(), "use", json!("enc")),
        with(EC.public_jwk().to_json(), "kid", json!("twin")),
        with(EC.public_jwk().to_json(), "kid", json!("twin")),
        RSA.public_jwk().to_json(),
    ] });
    let document = keys.to_string();
    let server = Server::start(move |_| Reply::json("", &document)).await;
    let set = key_sets(options()).client_keys(&server.url, "vendor-rsa").await.unwrap();
    assert_eq!(kids(&set), ["twin", "twin", "vendor-rsa"]);
    assert!(set.select("vendor-rsa", Algorithm::Rs384).is_ok());
    assert_eq!(set.select("twin", Algorithm::Es384), Err(SelectError::AmbiguousKid));
}

#[tokio::test]
async fn the_url_that_was_not_used_for_the_longest_time_is_forgotten_first() {
    let server = Server::start(|_| Reply::json("cache-control: max-age=60", &set(&["a"]))).await;
    let url = |path: &str| server.url.join(path).unwrap();
    let sets = key_sets(KeySetOptions { max_sets: 2, ..options() });
    let mut hits = Vec::new();
    for path in ["/1", "/2", "/1", "/3", "/1", "/2"] {
        sets.client_keys(&url(path), "a").await.unwrap();
        hits.push(server.hits());
    }
    assert_eq!(hits, [1, 2, 2, 3, 3, 4]);
}

/// Says of every name that it is the loopback.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _name: Name) -> Resolving {
        Box::pin(async { Ok(Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0)))) as Addrs) })
    }
}

#[tokio::test]
async fn a_public_name_with_a_private_address_is_not_connected_to() {
    let server = Server::start(|_| Reply::json("", &set(&["a"]))).await;
    let port = server.url.port().unwrap();
    let named = format!("https://jwks.vendor.example:{port}/jwks.json").parse().unwrap();
    let strict = KeySets::resolving_with(Arc::new(Loopback), KeySetOptions::default()).unwrap();
    assert_eq!(strict.client_keys(&named, "a").await.unwrap_err(), KeySetError::NoPublicAddress);
    assert_eq!(server.connections(), 0);
    // The resolver is what decides: with the guard open the same name reaches the server.
    let open = KeySets::resolving_with(Arc::new(Loopback), options()).unwrap();
    assert_eq!(open.client_keys(&named, "a").await.unwrap_err(), KeySetError::Unreachable, "no TLS here");
    assert_eq!(server.connections(), 1);
    let plain = format!("http://jwks.vendor.example:{port}/jwks.json").parse().unwrap();
    assert!(open.client_keys(&plain, "a").await.is_ok());
}

#[tokio::test]
async fn names_are_resolved_by_the_operating_system() {
    let server = Server::start(|_| Reply::json("", &set(&["a"]))).await;
    let port = server.url.port().unwrap();
    let named = format!("http://localhost:{port}/jwks.json").parse().unwrap();
    assert!(key_sets(options()).client_keys(&named, "a").await.is_ok());
}

#[tokio::test]
async fn an_url_that_would_not_be_registered_is_not_fetched_either() {
    let server = Server::start(|_| Reply::json("", &set(&["a"]))).await;
    let port = server.url.port().unwrap();
    let strict = key_sets(KeySetOptions::default());
    let cases = [
        (server.url.to_string(), KeySetError::NotHttps),
        (format!("https://127.0.0.1:{port}/"), KeySetError::NotPublicName),
        (format!("https://localhost:{port}/"), KeySetError::NotPublicName),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), KeySetError::NotPublicName),
        ("https://169.254.169.254/latest/meta-data/".to_owned(), KeySetError::NotPublicName),
    ];
    for (url, error) in cases {
        assert_eq!(strict.client_keys(&url.parse().unwrap(), "a").await.unwrap_err(), error, "{url}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn certificates_that_cannot_be_read_are_an_error() {
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let options = KeySetOptions { ca_pem: Some(pem.as_bytes().to_vec()), ..options() };
        assert_eq!(KeySets::new(options).unwrap_err(), KeySetError::Certificates, "{pem}");
    }
}

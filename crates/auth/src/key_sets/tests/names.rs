//! Names whose server is dead.

use super::*;

/// Never answers of names that begin with `dead`; says of all others that they are the loopback.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        if name.as_str().starts_with("dead") {
            return Box::pin(std::future::pending());
        }
        Loopback.resolve(name)
    }
}

#[tokio::test]
async fn names_that_nobody_answers_for_leave_issuers_alone_and_other_apps_may_try_again() {
    let server = Server::start(|_| Reply::json("", &set(&["a"]))).await;
    let port = server.url.port().unwrap();
    let url = |host: &str| format!("http://{host}.example:{port}/jwks.json").parse::<Url>().unwrap();
    let options = KeySetOptions { timeout: SHORT * 5, ..options() };
    let sets = KeySets::resolving_with(Arc::new(Names), options).unwrap();
    // As many at once as are fetched at once; each leaves a lookup behind, and there may be 64.
    for round in 0..3 {
        let mut callers = JoinSet::new();
        for n in 0..32 {
            let (sets, url) = (sets.clone(), url(&format!("dead-{round}-{n}")));
            callers.spawn(async move { sets.client_keys(&url, "a").await.is_err() });
        }
        assert!(callers.join_all().await.iter().all(|failed| *failed));
    }
    for _ in 0..2 {
        let started = Instant::now();
        let refused = sets.client_keys(&url("good"), "a").await.map(|_| ());
        assert_eq!(refused, Err(KeySetError::Busy));
        assert!(started.elapsed() >= SHORT, "it is remembered: {:?}", started.elapsed());
    }
    assert_eq!(server.connections(), 0);
    assert!(sets.issuer_keys(&url("good"), "a").await.is_ok());
}

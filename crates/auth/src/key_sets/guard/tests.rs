use std::sync::Mutex;

use super::*;
use crate::key_sets::check_jwks_url;

#[test]
fn global_unicast_addresses_are_public() {
    let public = [
        "8.8.8.8",
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "169.253.255.255",
        "192.0.1.1",
        "198.17.255.255",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "2001:200::1",
        "2001:4860:4860::8888",
    ];
    for address in public {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn all_other_addresses_are_not() {
    let not_public = [
        // IPv4: this network, private, shared, loopback, link-local, assignments, documentation,
        // benchmarks, multicast, reserved, broadcast.
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        // IPv6: unspecified, loopback, unique local, link-local, site-local, multicast.
        "::",
        "::1",
        "fc00::1",
        "fd00::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        // With an IPv4 address inside: mapped, compatible, translated, NAT64, 6to4, Teredo.
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        // Benchmarks, ORCHID, documentation, discard, segment routing.
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "5f00::1",
        "4000::1",
    ];
    for address in not_public {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn a_jwks_url_is_https_with_a_public_name() {
    let long = format!("https://vendor.example/{}", "x".repeat(477));
    for accepted in [
        "https://vendor.example/jwks.json",
        "https://keys.vendor.example:8443/a/b?tenant=7",
        "https://vendor.example",
        "https://VENDOR.example/jwks",
        "https://bücher.example/jwks",
        "https://internal.example/jwks",
        "https://svc.example/jwks",
        long.as_str(),
    ] {
        assert!(check_jwks_url(accepted, false).is_ok(), "{accepted}");
    }
    use KeySetError::*;
    let too_long = format!("{long}x");
    let cases = [
        ("http://vendor.example/jwks.json", NotHttps),
        ("ftp://vendor.example/jwks.json", NotHttps),
        ("file:///etc/passwd", NotHttps),
        ("data:application/json,{}", NotHttps),
        ("gopher://vendor.example/", NotHttps),
        ("vendor.example/jwks.json", NotAUrl),
        ("", NotAUrl),
        ("https://", NotAUrl),
        (" https://vendor.example/", NotAUrl),
        ("https://vendor.example/a\nb", NotAUrl),
        ("https://vendor.exa\tmple/", NotAUrl),
        ("https://user@vendor.example/", HasCredentials),
        ("https://user:password@vendor.example/", HasCredentials),
        ("https://:password@vendor.example/", HasCredentials),
        ("https://vendor.example/#keys", HasFragment),
        ("https://vendor.example/#", HasFragment),
        (too_long.as_str(), UrlTooLong),
        ("https://localhost/", NotPublicName),
        ("https://LOCALHOST/", NotPublicName),
        ("https://localhost./", NotPublicName),
        ("https://keycloak/jwks", NotPublicName),
        ("https://keycloak.localhost/jwks", NotPublicName),
        ("https://localhost.localdomain/", NotPublicName),
        ("https://printer.local/", NotPublicName),
        ("https://metadata.google.internal/", NotPublicName),
        ("https://metadata.google.internal./", NotPublicName),
        ("https://headgate-admin.headgate.svc/", NotPublicName),
        ("https://kubernetes.default.svc.cluster.local/", NotPublicName),
        ("https://kubernetes.default.svc.cluster.local../", NotPublicName),
        ("https://router.home.arpa/", NotPublicName),
        ("https://127.0.0.1/", NotPublicName),
        ("https://8.8.8.8/", NotPublicName),
        ("https://2130706433/", NotPublicName),
        ("https://0x7f.1/", NotPublicName),
        ("https://0177.0.0.1/", NotPublicName),
        ("https://127.1/", NotPublicName),
        ("https://127。0。0。1/", NotPublicName),
        ("https://[::1]/", NotPublicName),
        ("https://[::ffff:127.0.0.1]/", NotPublicName),
        ("https://[2606:4700:4700::1111]/", NotPublicName),
    ];
    for (url, error) in cases {
        assert_eq!(check_jwks_url(url, false), Err(error), "{url}");
    }
}

#[test]
fn development_also_allows_http_and_private_hosts_and_nothing_else() {
    for accepted in ["http://localhost:9/jwks", "http://127.0.0.1:9/", "https://[::1]/", "http://keycloak/"] {
        assert!(check_jwks_url(accepted, true).is_ok(), "{accepted}");
    }
    assert_eq!(check_jwks_url("file:///etc/passwd", true), Err(KeySetError::NotHttps));
    assert_eq!(check_jwks_url("http://user@localhost/", true), Err(KeySetError::HasCredentials));
    assert_eq!(check_jwks_url("http://localhost/#a", true), Err(KeySetError::HasFragment));
}

/// Gives these answers, one after the other.
struct Answers(Mutex<Vec<Vec<&'static str>>>);

impl Resolve for Answers {
    fn resolve(&self, _name: Name) -> Resolving {
        let answer = self.0.lock().unwrap().remove(0);
        let addresses: Vec<SocketAddr> =
            answer.into_iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
        Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
    }
}

async fn resolved(answers: &[&[&'static str]], allow_insecure: bool) -> Vec<Option<Vec<String>>> {
    let answers: Vec<Vec<&'static str>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let count = answers.len();
    let guarded = Guarded { resolver: Arc::new(Answers(Mutex::new(answers))), allow_insecure };
    let mut all = Vec::new();
    for _ in 0..count {
        let passed = guarded.resolve("vendor.example".parse().unwrap()).await;
        all.push(passed.ok().map(|passed| passed.map(|address| address.ip().to_string()).collect()));
    }
    all
}

#[tokio::test]
async fn a_name_that_turns_from_public_to_private_is_refused_at_that_moment() {
    let answers: [&[&'static str]; 5] = [
        &["8.8.8.8"],
        &["127.0.0.1"],
        &["169.254.169.254", "8.8.4.4", "::ffff:10.0.0.1"],
        &["10.0.0.1", "fd00::1"],
        &[],
    ];
    let passed = resolved(&answers, false).await;
    let only = |address: &str| Some(vec![address.to_owned()]);
    assert_eq!(passed, [only("8.8.8.8"), None, only("8.8.4.4"), None, None]);
    assert_eq!(resolved(&[&["127.0.0.1"]], true).await, [only("127.0.0.1")]);
}

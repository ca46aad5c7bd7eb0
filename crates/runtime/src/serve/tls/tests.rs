use std::fs;
use std::time::Instant;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::super::tests::{BOUNDS, exchange, start_with};
use super::*;

/// A certificate for `localhost` that is its own authority.
struct Certificate {
    pem: String,
    key: String,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { pem: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// As renewals do it: new files in place of the old ones. Where the file system's clock is coarse, nothing but the
    /// inode may tell a file from the one that was written just before.
    fn write(&self, folder: &TempDir) {
        for (name, text) in [("cert", &self.pem), ("key", &self.key)] {
            let new = folder.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, folder.path().join(name)).unwrap();
        }
    }

    fn trusting(&self) -> reqwest::ClientBuilder {
        let authority = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([authority])
    }

    async fn handshake(
        &self,
        address: std::net::SocketAddr,
        protocol: &[u8],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

fn open(folder: &TempDir) -> Result<Tls, TlsError> {
    Tls::open(&folder.path().join("cert"), &folder.path().join("key"))
}

fn pair() -> (TempDir, Certificate, Tls) {
    let (folder, certificate) = (tempfile::tempdir().unwrap(), Certificate::new());
    certificate.write(&folder);
    let tls = open(&folder).unwrap();
    (folder, certificate, tls)
}

#[tokio::test]
async fn the_handshake_decides_on_the_protocol_and_the_handler_learns_the_clients_address() {
    let (_folder, certificate, tls) = pair();
    let server = start_with(Some(tls)).await;
    let url = format!("https://localhost:{}/who", server.address.port());
    for (client, version) in [
        (certificate.trusting(), reqwest::Version::HTTP_2),
        (certificate.trusting().http1_only(), reqwest::Version::HTTP_11),
        (certificate.trusting().tls_version_max(reqwest::tls::Version::TLS_1_2), reqwest::Version::HTTP_2),
    ] {
        let answer = client.build().unwrap().get(&url).send().await.unwrap();
        assert_eq!(answer.version(), version);
        assert!(answer.text().await.unwrap().starts_with("127.0.0.1:"));
    }
    let plain = reqwest::get(format!("http://{}/who", server.address)).await;
    assert!(plain.is_err(), "a port with TLS answers nothing else");
}

#[tokio::test]
async fn a_client_that_does_not_get_on_with_the_handshake_is_cut() {
    let (_folder, _certificate, tls) = pair();
    let server = start_with(Some(tls)).await;
    // Nothing; and the head of a record that never comes.
    for sent in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let begun = Instant::now();
        exchange(server.address, sent).await;
        let took = begun.elapsed();
        assert!((BOUNDS.header_timeout * 3 / 4..Duration::from_secs(20)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn a_client_that_sends_no_request_after_the_handshake_is_cut() {
    let (_folder, certificate, tls) = pair();
    let server = start_with(Some(tls)).await;
    // A preface and empty settings, by which a client is a perfect HTTP/2 client, but one that asks nothing.
    let settings = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for (protocol, sent) in [
        (HTTP2, &b""[..]),
        (HTTP2, &b"PRI * HT"[..]),
        (HTTP2, &settings),
        (b"http/1.1", b""),
        (b"http/1.1", b"GET /who HTTP/1.1\r\n"),
    ] {
        let begun = Instant::now();
        let mut stream = certificate.handshake(server.address, protocol).await;
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        // A connection that ends without TLS's own farewell is an end too.
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _end = read.await.expect("it is cut");
        assert!(begun.elapsed() >= BOUNDS.header_timeout * 3 / 4, "{sent:?}");
    }
}

#[tokio::test]
async fn handshakes_under_way_count_as_connections() {
    let (_folder, certificate, tls) = pair();
    let server = start_with(Some(tls)).await;
    // Before the idle ones come: they keep their places for the whole time from then, however late the third one is.
    let begun = Instant::now();
    let _idle = [
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.address).await.unwrap(),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    certificate.handshake(server.address, HTTP2).await;
    assert!(begun.elapsed() >= BOUNDS.header_timeout * 3 / 4, "it was served beside the two idle ones");
}

#[tokio::test]
async fn a_drain_answers_what_is_under_way_and_does_not_wait_for_handshakes() {
    let (_folder, certificate, tls) = pair();
    let server = start_with(Some(tls)).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let url = format!("https://localhost:{}/short", server.address.port());
    let client = certificate.trusting().build().unwrap();
    let under_way = tokio::spawn(async move { client.get(url).send().await });
    server.arrived.notified().await;
    server.soft.cancel();
    assert_eq!(under_way.await.unwrap().unwrap().text().await.unwrap(), "done");
    server.done.await.unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let (folder, old, tls) = pair();
    let server = start_with(Some(tls.clone())).await;
    let url = format!("https://localhost:{}/who", server.address.port());
    let reaches = async |certificate: &Certificate| {
        let client = certificate.trusting().build().unwrap();
        client.get(&url).send().await.is_ok()
    };
    let new = Certificate::new();
    // One of the two files alone: a pair that does not fit.
    fs::write(folder.path().join("cert"), &new.pem).unwrap();
    tls.look();
    assert!(reaches(&old).await && !reaches(&new).await);
    fs::write(folder.path().join("key"), &new.key).unwrap();
    tls.look();
    assert!(reaches(&new).await && !reaches(&old).await);
    fs::remove_file(folder.path().join("cert")).unwrap();
    tls.look();
    assert!(reaches(&new).await);
}

#[test]
fn files_that_could_not_be_read_are_tried_again_though_nothing_of_them_has_changed() {
    let (folder, old, tls) = pair();
    let unread = || tls.0.in_force.read().unwrap().unread;
    let config = || Arc::clone(&tls.0.in_force.read().unwrap().config);
    let first = config();
    // A folder cannot be read as a file, by nobody.
    fs::remove_file(folder.path().join("cert")).unwrap();
    fs::create_dir(folder.path().join("cert")).unwrap();
    tls.look();
    assert!(unread() && Arc::ptr_eq(&config(), &first));
    fs::remove_dir(folder.path().join("cert")).unwrap();
    old.write(&folder);
    // As after a failure that leaves no trace in the file, such as too many open ones.
    let now = stamps(&tls.0.cert_file, &tls.0.key_file);
    tls.0.in_force.write().unwrap().read = now;
    tls.look();
    assert!(!unread() && !Arc::ptr_eq(&config(), &first));
    // And then no more.
    let second = config();
    tls.look();
    assert!(Arc::ptr_eq(&config(), &second));
}

#[test]
fn a_file_that_was_only_given_other_rights_is_another() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, _certificate, tls) = pair();
    let before = stamps(&tls.0.cert_file, &tls.0.key_file);
    // The file system's clock may be coarse.
    std::thread::sleep(Duration::from_millis(50));
    fs::set_permissions(folder.path().join("cert"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_ne!(stamps(&tls.0.cert_file, &tls.0.key_file), before);
}

#[test]
fn the_time_that_is_left_is_that_of_the_certificate_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let write = |ends: SystemTime| {
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = ends.into();
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Certificate { pem, key: key.serialize_pem() }.write(&folder);
    };
    let now = SystemTime::now();
    write(now + days(20));
    let tls = open(&folder).unwrap();
    let remaining = tls.remaining().unwrap();
    assert!((days(20) - Duration::from_secs(60)..=days(20)).contains(&remaining), "{remaining:?}");
    assert!(tls.warn_of_its_end());
    write(now + days(90));
    tls.look();
    assert!(tls.remaining().unwrap() > days(89) && !tls.warn_of_its_end());
    write(now - days(1));
    tls.look();
    assert_eq!(tls.remaining(), Some(Duration::ZERO));
    assert!(tls.warn_of_its_end());
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Certificate::new(), Certificate::new());
    let refused = |cert: &str, key: &str| {
        fs::write(folder.path().join("cert"), cert).unwrap();
        fs::write(folder.path().join("key"), key).unwrap();
        open(&folder).unwrap_err().to_string()
    };
    for (cert, key, option) in [
        ("", one.key.as_str(), "server.tls.cert_file: "),
        (&one.key, &one.key, "server.tls.cert_file: "),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", &one.key, "server.tls.cert_file: "),
        (&one.pem, "", "server.tls.key_file: "),
        (&one.pem, &one.pem, "server.tls.key_file: "),
        (&one.pem, &two.key, "server.tls.key_file: "),
    ] {
        let error = refused(cert, key);
        assert!(error.starts_with(option), "{option} in {error}");
        assert!(!error.contains("PRIVATE KEY"), "{error}");
    }
    let absent = Tls::open(Path::new("/does/not/exist"), Path::new("/neither")).unwrap_err().to_string();
    assert!(absent.starts_with("server.tls.cert_file: /does/not/exist cannot be read"), "{absent}");
}

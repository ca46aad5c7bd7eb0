use std::io::Write as _;

use secrecy::ExposeSecret;

use super::*;

/// A configuration of the defaults and these variables, for no role in particular.
pub(super) fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_as(Role::Tool, variables)
}

fn load_as(role: Role, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_parts(None, variables, role)
}

pub(super) fn with_file(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::from_parts(Some(file.path()), [], Role::Tool)
}

#[test]
fn the_defaults_hold_every_option_and_no_other() {
    // No field has a serde default, and every section denies unknown ones: so this parses only if the keys
    // of the file and of the types are the same.
    let config = load(&[]).unwrap();
    assert_eq!(config.token.lifetime_s, 1800);
    assert_eq!(config.export.retention_s, 72 * 3600);
}

#[test]
fn every_option_of_the_defaults_is_explained() {
    let mut explained = false;
    for line in DEFAULT_TOML.lines() {
        match line.split_once('=') {
            _ if line.starts_with('#') => explained = true,
            // A `_file` is explained with the option before it.
            Some((key, _)) => assert!(explained, "{key} is not explained"),
            None => explained = false,
        }
        if line.contains(" = ") && !line.starts_with('#') {
            explained =
                ["url", "access_key_id", "secret_access_key", "encryption_key", "previous_encryption_key"]
                    .iter()
                    .any(|key| line.starts_with(&format!("{key} =")));
        }
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[token]\nlifetime_s = 300\nclock_skew_s = 5\n").unwrap();
    let variables = [("HEADGATE__TOKEN__LIFETIME_S".to_owned(), "600".to_owned())];
    let config = Config::from_parts(Some(file.path()), variables, Role::Tool).unwrap();
    assert_eq!((config.token.lifetime_s, config.token.clock_skew_s), (600, 5));
}

#[test]
fn an_unknown_name_is_an_error_wherever_it_stands() {
    for name in [
        "HEADGATE__TOKEN__LIFETIME",
        "HEADGATE__TOKENS__LIFETIME_S",
        "HEADGATE__TOKEN",
        "HEADGATE__TOKEN__EXTERNAL",
        "HEADGATE__TOKEN__EXTERNAL__ISSUE",
        "HEADGATE__TOKEN__LIFETIME_S__X",
        "HEADGATE__",
    ] {
        let error = load(&[(name, "1")]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = with_file("[token]\nlifetime = 300\n").unwrap_err().to_string();
    assert!(error.contains("token") && error.contains("no option lifetime;"), "{error}");
    let error = with_file("[tokens]\nlifetime_s = 300\n").unwrap_err().to_string();
    assert!(error.contains("tokens: there is no such section"), "{error}");
}

#[test]
fn a_secret_of_digits_is_still_a_text() {
    let config = load(&[
        ("HEADGATE__S3__ACCESS_KEY_ID", "0123"),
        ("HEADGATE__S3__SECRET_ACCESS_KEY", "123456789"),
        ("HEADGATE__TOKEN__EXTERNAL__AUDIENCE", "42"),
        ("HEADGATE__TOKEN__EXTERNAL__ISSUER", "1"),
        ("HEADGATE__TOKEN__EXTERNAL__JWKS_URL", "https://h/certs"),
        ("HEADGATE__TOKEN__EXTERNAL__TOKEN_ENDPOINT", "https://h/token"),
    ])
    .unwrap();
    assert_eq!(config.s3.access_key_id, "0123");
    assert_eq!(config.s3.secret_access_key.expose_secret(), "123456789");
    assert_eq!((config.token.external.issuer.as_str(), config.token.external.audience.as_str()), ("1", "42"));
}

#[test]
fn a_secret_is_read_from_its_file_without_the_line_feed() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "postgres://u:p@h/d").unwrap();
    let path = file.path().to_str().unwrap();
    let config = load(&[("HEADGATE__DATABASE__URL_FILE", path)]).unwrap();
    assert_eq!(config.database.url.expose_secret(), "postgres://u:p@h/d");
    let both = [("HEADGATE__DATABASE__URL_FILE", path), ("HEADGATE__DATABASE__URL", "postgres://h/d")];
    assert!(load(&both).unwrap_err().to_string().contains("not both"));
    let absent = load(&[("HEADGATE__DATABASE__URL_FILE", "/does/not/exist")]).unwrap_err().to_string();
    assert!(absent.contains("database.url_file: /does/not/exist cannot be read"), "{absent}");
}

#[test]
fn secrets_are_printed_neither_by_debug_nor_in_errors() {
    let config = load(&[
        ("HEADGATE__DATABASE__URL", "postgres://u:hushhush@h/d"),
        ("HEADGATE__S3__ACCESS_KEY_ID", "me"),
        ("HEADGATE__S3__SECRET_ACCESS_KEY", "hushhush"),
        ("HEADGATE__KEYS__ENCRYPTION_KEY", "hushhushhushhushhushhushhushhushhushhushhu8"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hushhush"));
    for wrong in [
        "[s3]\nsecret_access_key = [\"hushhush\"]\n",
        "[s3]\nsecret_access_key = \"hushhush\n",
        "[database]\nurl = \"mysql://u:hushhush@h/d\"\n",
        "[keys]\nencryption_key = \"hushhush\"\n",
    ] {
        let error = with_file(wrong).unwrap_err().to_string();
        assert!(!error.contains("hushhush"), "{error}");
    }
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let error = load(&[
        ("HEADGATE__SERVER__PUBLIC_LISTEN", "8080"),
        ("HEADGATE__EXPORT__FILE_RESOURCES", "1001"),
        ("HEADGATE__WORKER__BUFFER_BYTES", "1"),
        ("HEADGATE__LOG__FILTER", "a=b=c"),
    ])
    .unwrap_err()
    .to_string();
    for key in [
        "server.public_listen",
        "export.file_resources: 1001 is not between 1 and 1000",
        "worker.buffer_bytes",
        "log.filter",
    ] {
        assert!(error.contains(key), "{key} in {error}");
    }
}

#[test]
fn a_number_that_is_none_is_an_error_that_names_the_variable() {
    for wrong in ["", "5s", "-1", "1.5"] {
        let error = load(&[("HEADGATE__DRAIN__GRACE_S", wrong)]).unwrap_err().to_string();
        assert!(error.contains("HEADGATE__DRAIN__GRACE_S: must be a whole number"), "{error}");
    }
    let error = load(&[("HEADGATE__DATABASE__MAX_CONNECTIONS", "5000000000")]).unwrap_err().to_string();
    assert!(error.contains("database.max_connections"), "{error}");
}

#[test]
fn a_share_is_given_with_or_without_a_point() {
    for (text, share) in [("1.0", 1.0), ("1", 1.0), ("0.25", 0.25), (" 0 ", 0.0)] {
        let config = load(&[("HEADGATE__TELEMETRY__TRACE_RATIO", text)]).unwrap();
        assert!((config.telemetry.trace_ratio - share).abs() < f64::EPSILON, "{text}");
    }
    for text in ["", "much", "NaN", "1.5"] {
        assert!(load(&[("HEADGATE__TELEMETRY__TRACE_RATIO", text)]).is_err(), "{text}");
    }
}

#[test]
fn a_role_says_what_it_needs() {
    let error = load_as(Role::Api, &[]).unwrap_err().to_string();
    for key in ["server.public_base_url", "database.url", "s3.bucket", "keys.encryption_key"] {
        assert!(error.contains(key), "{key} in {error}");
    }
    let error = load_as(Role::Migrate, &[]).unwrap_err().to_string();
    assert!(error.contains("database.url") && !error.contains("s3.bucket"), "{error}");
    let api = [
        ("HEADGATE__SERVER__PUBLIC_BASE_URL", "https://fhir.example.org"),
        ("HEADGATE__DATABASE__URL", "postgres://h/d"),
        ("HEADGATE__S3__BUCKET", "b"),
        ("HEADGATE__KEYS__ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    load_as(Role::Api, &api).unwrap();
}

#[test]
fn a_base_url_has_neither_a_path_nor_a_query() {
    for wrong in ["https://h/", "https://h/x", "ftp://h", "h.example", "https://h?x=1", "https://u:p@h"] {
        assert!(load(&[("HEADGATE__SERVER__PUBLIC_BASE_URL", wrong)]).is_err(), "{wrong}");
    }
    load(&[("HEADGATE__SERVER__PUBLIC_BASE_URL", "https://h:8443")]).unwrap();
}

#[test]
fn what_belongs_together_is_given_together_or_not_at_all() {
    for (given, key) in [
        (&[("HEADGATE__SERVER__TLS__CERT_FILE", "/c.pem")][..], "server.tls: "),
        (&[("HEADGATE__TOKEN__EXTERNAL__ISSUER", "https://h")], "token.external: "),
        (&[("HEADGATE__TOKEN__EXTERNAL__AUDIENCE", "a")], "token.external.audience: "),
        (&[("HEADGATE__DATABASE__API_ROLE", "headgate_worker")], "database.worker_role: "),
        (&[("HEADGATE__DATABASE__API_ROLE", "x; DROP")], "database.api_role: "),
        (&[("HEADGATE__DATABASE__OBSERVER_ROLE", "headgate_api")], "database.observer_role: "),
        (&[("HEADGATE__TOKEN__KEY_ROTATION_S", "600")], "token.key_overlap_s: "),
    ] {
        let error = load(given).unwrap_err().to_string();
        assert!(error.contains(key), "{key} in {error}");
    }
}

#[test]
fn files_of_the_api_are_looked_into_by_the_api_alone() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, r#"{{"keys":[{{"kty":"EC","d":"hushhush"}}]}}"#).unwrap();
    let path = file.path().to_str().unwrap();
    let given = [
        ("HEADGATE__SERVER__TLS__CERT_FILE", path),
        ("HEADGATE__SERVER__TLS__KEY_FILE", path),
        ("HEADGATE__JWKS__CA_FILE", path),
        ("HEADGATE__ADMIN__BUILTIN_JWKS_FILE", path),
    ];
    load(&given).unwrap();
    let error = load_as(Role::Api, &given).unwrap_err().to_string();
    for key in ["server.tls.cert_file", "jwks.ca_file", "admin.builtin_jwks_file"] {
        assert!(error.contains(&format!("{key}: {path} ")), "{key} in {error}");
    }
    assert!(error.contains("private key; give") && !error.contains("hushhush"), "{error}");
}

#[test]
fn the_configuration_for_production_lacks_nothing_but_secrets() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/production.toml");
    let load = |role, secrets: &[(&str, &str)]| {
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_parts(Some(&path), secrets, role)
    };
    let url = ("HEADGATE__DATABASE__URL", "postgres://u:p@h/d?sslmode=verify-full");
    let key = ("HEADGATE__KEYS__ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let config = load(Role::Api, &[url, key]).unwrap();
    for role in [Role::Worker, Role::Migrate] {
        load(role, &[url]).unwrap();
    }
    let ConfigError::Options(missing) = load(Role::Api, &[]).unwrap_err() else { panic!("it is read") };
    let [first, second] = &missing[..] else { panic!("{missing:?}") };
    assert!(
        first.starts_with("database.url: ") && second.starts_with("keys.encryption_key: "),
        "{missing:?}"
    );

    // What is for development or for one machine is not in it.
    assert!(!config.jwks.allow_insecure && config.admin.builtin_jwks_file.is_empty());
    assert!(config.server.public_base_url.starts_with("https://"));
    assert!(config.s3.secret_access_key.expose_secret().is_empty());
}

//! Collects what is wrong with a configuration, so that an operator sees all of it at once.

use std::fmt::Display;
use std::net::ToSocketAddrs as _;
use std::ops::RangeInclusive;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Checks {
    problems: Vec<String>,
}

impl Checks {
    /// Notes a problem of an option, with what to do about it.
    pub(super) fn problem(&mut self, key: &str, fix: &str) {
        self.problems.push(format!("{key}: {fix}"));
    }

    /// The value must be within the range.
    pub(super) fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let fix = format!("{value} is not between {} and {}", range.start(), range.end());
            self.problem(key, &fix);
        }
    }

    /// The value must be an address to listen on.
    pub(super) fn address(&mut self, key: &str, value: &str) {
        if value.to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) {
            return;
        }
        self.problem(key, "must be an address and a port, such as 0.0.0.0:8080 or [::]:8080");
    }

    /// Reads a secret from its file, if that is how it is given.
    pub(super) fn secret(&mut self, key: &str, value: &mut SecretString, file: &str) {
        if file.is_empty() {
            return;
        }
        if !value.expose_secret().is_empty() {
            self.problem(key, &format!("give it or {key}_file, not both"));
            return;
        }
        match std::fs::read_to_string(file) {
            Ok(text) if text.trim().is_empty() => {
                self.problem(&format!("{key}_file"), &format!("{file} is empty"))
            }
            Ok(text) => *value = SecretString::from(text.trim().to_owned()),
            Err(error) => self.problem(&format!("{key}_file"), &format!("{file} cannot be read: {error}")),
        }
    }

    /// Notes a problem whose text names the option already.
    pub(super) fn said(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// The file must hold at least one certificate, and nothing but well-formed PEM.
    pub(super) fn authorities(&mut self, key: &str, path: &Path) {
        let Some(text) = self.file(key, path) else { return };
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        if found.is_ok_and(|found| !found.is_empty()) {
            return;
        }
        self.problem(key, &format!("{} must hold certificates in PEM", path.display()));
    }

    /// The file must hold a JWK Set without anything private.
    pub(super) fn public_keys(&mut self, key: &str, path: &Path) {
        let Some(text) = self.file(key, path) else { return };
        let set: Value = serde_json::from_str(&text).unwrap_or_default();
        let keys = set["keys"].as_array().filter(|keys| !keys.is_empty());
        let Some(keys) = keys else {
            let fix = format!("{} must hold a JWK Set, {{\"keys\":[…]}}", path.display());
            self.problem(key, &fix);
            return;
        };
        if keys.iter().any(|jwk| jwk.get("d").is_some() || jwk.get("k").is_some()) {
            let fix = format!("{} holds a private key; give the public part alone", path.display());
            self.problem(key, &fix);
        }
    }

    fn file(&mut self, key: &str, path: &Path) -> Option<String> {
        let text = std::fs::read_to_string(path);
        text.inspect_err(|error| self.problem(key, &format!("{} cannot be read: {error}", path.display())))
            .ok()
    }

    /// All problems.
    pub(super) fn into_problems(self) -> Vec<String> {
        self.problems
    }
}

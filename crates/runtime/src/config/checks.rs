//! Collects what is wrong with a configuration, so that an operator sees all of it at once.

use std::fmt::Display;
use std::net::ToSocketAddrs as _;
use std::ops::RangeInclusive;

use secrecy::{ExposeSecret, SecretString};

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

    /// All problems.
    pub(super) fn into_problems(self) -> Vec<String> {
        self.problems
    }
}

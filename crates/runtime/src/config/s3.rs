//! `[s3]`: where the files go.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use url::Url;

use super::Role;
use super::checks::Checks;

/// Where the files go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// URL of the server; empty for Amazon's.
    pub endpoint: String,
    /// Region of the bucket.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whether the bucket stands in the path of a URL, not in its host name.
    pub path_style: bool,
    /// Whether the SHA-256 of an upload is signed.
    pub payload_signing: PayloadSigning,
    /// Static access key; empty for the usual chain of AWS.
    pub access_key_id: String,
    /// Its secret. After loading also the content of `secret_access_key_file`.
    pub secret_access_key: SecretString,
    /// The file that holds the secret; empty when the secret is given.
    pub secret_access_key_file: String,
}

/// Whether the SHA-256 of an upload is part of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSigning {
    /// Unless the endpoint is https or loopback.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl S3 {
    /// Whether uploads are to be signed with the digest of their body.
    #[must_use]
    pub fn signs_payload(&self) -> bool {
        match self.payload_signing {
            PayloadSigning::On => true,
            PayloadSigning::Off => false,
            // Amazon's own endpoint, which an empty one stands for, is https.
            PayloadSigning::Auto => Url::parse(&self.endpoint)
                .is_ok_and(|endpoint| endpoint.scheme() != "https" && !is_loopback(&endpoint)),
        }
    }

    pub(super) fn check(&mut self, role: Role, checks: &mut Checks) {
        checks.secret("s3.secret_access_key", &mut self.secret_access_key, &self.secret_access_key_file);
        let is_server =
            |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        if !self.endpoint.is_empty() && !Url::parse(&self.endpoint).is_ok_and(is_server) {
            checks.problem(
                "s3.endpoint",
                "must be a URL such as https://s3.example.org, or empty for Amazon's",
            );
        }
        if self.region.is_empty() {
            checks.problem("s3.region", "give the bucket's region; us-east-1 where the server has none");
        }
        if self.bucket.is_empty() && matches!(role, Role::Api | Role::Worker) {
            checks.problem("s3.bucket", "name the bucket that holds the files");
        }
        if self.access_key_id.is_empty() != self.secret_access_key.expose_secret().is_empty() {
            checks.problem("s3.access_key_id", "give it and s3.secret_access_key, or neither");
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl<'de> Deserialize<'de> for PayloadSigning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PayloadSigningVisitor)
    }
}

struct PayloadSigningVisitor;

impl Visitor<'_> for PayloadSigningVisitor {
    type Value = PayloadSigning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\", true or false")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<PayloadSigning, E> {
        Ok(if on { PayloadSigning::On } else { PayloadSigning::Off })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PayloadSigning, E> {
        match text {
            "auto" => Ok(PayloadSigning::Auto),
            "true" => Ok(PayloadSigning::On),
            "false" => Ok(PayloadSigning::Off),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;

    fn signs(pairs: &[(&str, &str)]) -> bool {
        load(pairs).unwrap().s3.signs_payload()
    }

    #[test]
    fn uploads_are_signed_where_nothing_else_protects_them() {
        assert!(!signs(&[]));
        assert!(!signs(&[("HEADGATE__S3__ENDPOINT", "https://s3.example.org")]));
        assert!(!signs(&[("HEADGATE__S3__ENDPOINT", "http://127.0.0.1:9000")]));
        assert!(!signs(&[("HEADGATE__S3__ENDPOINT", "http://[::1]:9000")]));
        assert!(signs(&[("HEADGATE__S3__ENDPOINT", "http://s3.internal:9000")]));
        assert!(!signs(&[
            ("HEADGATE__S3__ENDPOINT", "http://s3.internal:9000"),
            ("HEADGATE__S3__PAYLOAD_SIGNING", "false")
        ]));
        assert!(signs(&[("HEADGATE__S3__PAYLOAD_SIGNING", "true")]));
    }
}

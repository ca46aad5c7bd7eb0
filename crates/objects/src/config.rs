//! Where the bucket is, and as whom we come.

use std::time::Duration;

use secrecy::SecretString;

/// Where the bucket is, and as whom we come.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// URL of the server; `None` for Amazon's.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    pub path_style: bool,
    /// Whether the SHA-256 of an upload's body is part of its signature.
    pub sign_payload: bool,
    /// Static keys; `None` for the usual chain (environment, profile, web identity, container, instance).
    pub keys: Option<Keys>,
    /// How long links are asked to live, at most: credentials that end are renewed that long before, if they last so long.
    pub links: Duration,
}

/// Static keys.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The public part.
    pub access_key_id: String,
    /// The secret part.
    pub secret_access_key: SecretString,
}

//! Why there are no keys.

use crate::jwks::JwksError;

/// Why an URL is refused, or no keys came from it. The texts are for the vendor's developer: they say
/// what to change, and tell nothing of the network this server stands in or of what was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum KeySetError {
    #[error("the certificates for fetching key sets cannot be read")]
    Certificates,
    #[error("the JWKS URL is longer than 500 bytes")]
    UrlTooLong,
    #[error("the JWKS URL is not an absolute URL")]
    NotAUrl,
    #[error("the JWKS URL must begin with https://")]
    NotHttps,
    #[error("the JWKS URL must not have a user or password")]
    HasCredentials,
    #[error("the JWKS URL must not have a fragment")]
    HasFragment,
    #[error("the JWKS URL must have a public host name, not an address or an internal name")]
    NotPublicName,
    #[error("the host of the JWKS URL has no public address")]
    NoPublicAddress,
    #[error("the host of the JWKS URL cannot be reached over TLS with a certificate of a known authority")]
    Unreachable,
    #[error("the JWKS URL did not answer in time")]
    Timeout,
    #[error("too many key sets are being fetched at once: try again in a few seconds")]
    Busy,
    #[error("the JWKS URL answers with a redirect, which is not followed: register the final URL")]
    Redirect,
    #[error("the JWKS URL answers with status {0} and not 200")]
    Status(u16),
    #[error("the document behind the JWKS URL is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the answer of the JWKS URL broke off or is not decodable")]
    BrokenAnswer,
    #[error("the document behind the JWKS URL is not valid JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("the document behind the JWKS URL has no usable key: {0}")]
    Unusable(#[source] JwksError),
}

impl KeySetError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::UrlTooLong => "url_too_long",
            Self::NotAUrl => "not_a_url",
            Self::NotHttps => "not_https",
            Self::HasCredentials => "has_credentials",
            Self::HasFragment => "has_fragment",
            Self::NotPublicName => "not_public_name",
            Self::NoPublicAddress => "no_public_address",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
            Self::TooLarge { .. } => "too_large",
            Self::BrokenAnswer => "broken_answer",
            Self::NotJson { .. } => "not_json",
            Self::Unusable(_) => "unusable",
        }
    }
}

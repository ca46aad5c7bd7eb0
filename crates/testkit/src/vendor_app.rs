//! A registered app and its private key: what a vendor holds.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::Utc;
use headgate_auth::PrivateKey;
use serde_json::{Value, json};

/// SMART App Launch allows an assertion five minutes at most.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(240);

/// `client_assertion_type` of RFC 7523, section 2.2.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A registered app.
#[derive(Debug)]
pub struct AppHandle {
    /// The client id.
    pub client_id: String,
    /// The vendor's id.
    pub vendor_id: String,
    /// The private key whose public part is registered.
    pub key: PrivateKey,
}

impl AppHandle {
    /// A good assertion for a token endpoint; each is another.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn assertion(&self, token_url: &str) -> Result<String> {
        Ok(self.key.sign_assertion(&self.client_id, token_url, ASSERTION_LIFETIME)?)
    }

    /// The claims of a good assertion, to be changed and then signed with `self.key.sign(&claims)`.
    #[must_use]
    pub fn claims(&self, token_url: &str) -> Value {
        let now = Utc::now().timestamp();
        json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": token_url,
            "iat": now,
            "exp": now + 240,
            "jti": uuid::Uuid::new_v4(),
        })
    }

    /// The form of a token request (SMART Backend Services, Obtain Access Token) with a given assertion.
    #[must_use]
    pub fn form(&self, scope: &str, assertion: &str) -> Vec<(String, String)> {
        [
            ("client_id", self.client_id.as_str()),
            ("scope", scope),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The key as the file that `headgate export --key` reads.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub fn private_jwk(&self) -> Result<String> {
        self.key.to_private_jwk().context("the key cannot be written as a JWK")
    }
}

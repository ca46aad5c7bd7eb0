//! Public keys that stand behind an URL: an app's JWKS URL (SMART App Launch, Registering a Client:
//! Asymmetric), or the key set of an issuer of tokens.
//!
//! A JWKS URL is chosen by somebody else, and this server connects to it from inside its network. So the
//! URL is checked where it is registered ([`check_jwks_url`]) and again before each fetch, and a
//! connection is made only to addresses that passed the filter of `guard`: the resolver that the
//! connector asks is the filter, so there is no moment between the check and the use. The size of an
//! answer, its time and the number of keys are bounded, and so is what names may cost (`lookups`).
//!
//! Caching follows `Cache-Control` as SMART demands, up to five minutes: a key that its owner withdrew
//! is dead after that. `cache` has the rules.

mod cache;
mod error;
mod fetch;
mod guard;
mod lookups;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use serde_json::Value;
use url::Url;

use crate::issuer_keys::IssuerKeys;
use crate::jwks::{Jwks, JwksError};
use cache::{Cache, KeySet, Limits};
use fetch::Fetcher;

pub use error::KeySetError;

/// How key sets are fetched and kept.
#[derive(Debug, Clone)]
pub struct KeySetOptions {
    /// Accepts `http` and private addresses. For development and tests.
    pub allow_insecure: bool,
    /// Certificates in PEM of authorities that are trusted as well as those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// How long one fetch may take, and a caller waits for it.
    pub timeout: Duration,
    /// The longest document, in bytes after decompression.
    pub max_bytes: usize,
    /// The longest that a set is kept, whatever its `Cache-Control` says.
    pub max_age: Duration,
    /// How long a set is kept that comes without `Cache-Control`.
    pub default_age: Duration,
    /// The least time between two fetches of one URL that are made because a key id is not in the set
    /// at hand.
    pub cool_down: Duration,
    /// How many URLs are remembered; the one that was not used for the longest time is forgotten first.
    pub max_sets: usize,
}

impl Default for KeySetOptions {
    fn default() -> Self {
        Self {
            allow_insecure: false,
            ca_pem: None,
            timeout: Duration::from_secs(3),
            max_bytes: 64 * 1024,
            max_age: Duration::from_secs(300),
            default_age: Duration::from_secs(60),
            cool_down: Duration::from_secs(30),
            max_sets: 10_000,
        }
    }
}

/// The key sets of apps and issuers. Clones share what was fetched.
#[derive(Clone)]
pub struct KeySets(Arc<Inner>);

/// How long the keys of an issuer are kept at least, whatever it says of caching.
const ISSUER_AGE: Duration = Duration::from_secs(30);

struct Inner {
    of_clients: Arc<Fetcher>,
    of_issuers: Arc<Fetcher>,
    clients: Cache<Jwks>,
    issuers: Cache<IssuerKeys>,
}

impl KeySets {
    /// Prepares for fetching; nothing is fetched yet.
    ///
    /// # Errors
    /// When the certificates cannot be read, or the system has none.
    pub fn new(options: KeySetOptions) -> Result<Self, KeySetError> {
        Self::resolving_with(Arc::new(guard::SystemResolver), options)
    }

    fn resolving_with(resolver: Arc<dyn Resolve>, options: KeySetOptions) -> Result<Self, KeySetError> {
        // Two, so that apps with slow hosts or dead names never keep the keys of an issuer waiting.
        let of_clients = Arc::new(Fetcher::new(Arc::clone(&resolver), &options)?);
        let of_issuers = Arc::new(Fetcher::new(resolver, &options)?);
        let limits = Limits {
            min_age: Duration::ZERO,
            max_age: options.max_age,
            default_age: options.default_age,
            cool_down: options.cool_down,
            timeout: options.timeout,
            max_sets: options.max_sets,
        };
        // An issuer is configured, not registered: some say `no-cache`, and their keys are asked for at each request.
        let of_issuer = Limits { min_age: ISSUER_AGE.min(options.max_age), ..limits };
        Ok(Self(Arc::new(Inner {
            of_clients,
            of_issuers,
            clients: Cache::new(limits),
            issuers: Cache::new(of_issuer),
        })))
    }

    /// The keys of an app, to check an assertion with. They need not have the key id: whether they do
    /// is for [`Jwks::select`] to say. If the set at hand lacks it, a newer one is asked for.
    ///
    /// # Errors
    /// When the URL is not acceptable, or neither the cache nor its host has a usable set.
    pub async fn client_keys(&self, url: &Url, kid: &str) -> Result<Arc<Jwks>, KeySetError> {
        self.0.clients.get(&self.0.of_clients, url, kid).await
    }

    /// The keys of an issuer, as [`KeySets::client_keys`].
    ///
    /// # Errors
    /// As [`KeySets::client_keys`].
    pub async fn issuer_keys(&self, url: &Url, kid: &str) -> Result<Arc<IssuerKeys>, KeySetError> {
        self.0.issuers.get(&self.0.of_issuers, url, kid).await
    }
}

/// Shows nothing of what it holds.
impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySets").finish_non_exhaustive()
    }
}

/// Checks a JWKS URL as it is registered: at most 500 bytes, `https`, a host name that is not an
/// internal one, no user, password or fragment. A port may be given. `allow_insecure` also accepts
/// `http`, addresses and internal names.
///
/// # Errors
/// What is wrong with it.
pub fn check_jwks_url(url: &str, allow_insecure: bool) -> Result<Url, KeySetError> {
    if url.len() > guard::MAX_URL_BYTES {
        return Err(KeySetError::UrlTooLong);
    }
    // The parser would drop white space, and the URL would then not be the one that was registered.
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(KeySetError::NotAUrl);
    }
    let url = Url::parse(url).map_err(|_| KeySetError::NotAUrl)?;
    guard::check_url(&url, allow_insecure)?;
    Ok(url)
}

impl KeySet for Jwks {
    fn from_document(set: &Value) -> Result<(Self, Vec<JwksError>), JwksError> {
        Self::from_document(set)
    }

    fn has(&self, kid: &str) -> bool {
        self.keys().iter().any(|key| key.kid() == kid)
    }
}

impl KeySet for IssuerKeys {
    fn from_document(set: &Value) -> Result<(Self, Vec<JwksError>), JwksError> {
        Self::from_document(set)
    }

    fn has(&self, kid: &str) -> bool {
        self.has(kid)
    }
}

#[cfg(test)]
mod tests;

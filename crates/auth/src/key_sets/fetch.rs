//! Fetching one document: bounded in time and size, without redirects, proxies or kept connections.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use headgate_metrics::auth::JWKS_FETCH;
use headgate_metrics::http::CLIENT_REQUEST_DURATION;
use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT, AGE, CACHE_CONTROL, HeaderMap};
use reqwest::{Certificate, Client, Response, redirect};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;
use url::Url;

use super::guard::{self, Guarded, NoPublicAddress};
use super::lookups::{LookupError, Lookups};
use super::{KeySetError, KeySetOptions};

/// Most fetches at once.
const MAX_FETCHES: usize = 32;

/// A document, and how long it may be kept.
pub(super) struct Fetched {
    pub(super) document: Value,
    /// What `Cache-Control` allows, from the moment the request was made; `None` without that header.
    pub(super) age_allowed: Option<Duration>,
}

/// Makes the requests. What bounds them, and the lookups of names for them, is its own.
pub(super) struct Fetcher {
    client: Client,
    permits: Semaphore,
    timeout: Duration,
    max_bytes: usize,
    allow_insecure: bool,
}

impl Fetcher {
    pub(super) fn new(resolver: Arc<dyn Resolve>, options: &KeySetOptions) -> Result<Self, KeySetError> {
        let allow_insecure = options.allow_insecure;
        let resolver = Arc::new(Lookups::new(resolver, options.timeout));
        let mut client = Client::builder()
            .user_agent("headgate")
            .https_only(!allow_insecure)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            // Each fetch resolves and checks anew; at one in minutes, a kept connection saves nothing.
            .pool_max_idle_per_host(0)
            .dns_resolver(Guarded { resolver, allow_insecure });
        if let Some(pem) = &options.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|_| KeySetError::Certificates)?;
            if certificates.is_empty() {
                return Err(KeySetError::Certificates);
            }
            client = client.tls_certs_merge(certificates);
        }
        Ok(Self {
            client: client.build().map_err(|_| KeySetError::Certificates)?,
            permits: Semaphore::new(MAX_FETCHES),
            timeout: options.timeout,
            max_bytes: options.max_bytes,
            allow_insecure,
        })
    }

    /// Fetches the document of an URL, and measures it.
    pub(super) async fn fetch(&self, url: &Url) -> Result<Fetched, KeySetError> {
        let span = tracing::info_span!(
            "http",
            otel.name = "GET",
            otel.kind = "client",
            http.request.method = "GET",
            server.address = url.host_str().unwrap_or_default(),
            error.type = Empty,
            otel.status_code = Empty,
        );
        let started = Instant::now();
        let fetched = self.guarded(url).instrument(span.clone()).await;
        let (result, failure) = match &fetched {
            Ok(_) => ("ok", None),
            Err(error) => {
                span.record("error.type", error.reason());
                span.record("otel.status_code", "ERROR");
                ("failed", Some(("error.type", error.reason().into())))
            }
        };
        JWKS_FETCH.add(1, &[("result", result.into())]);
        CLIENT_REQUEST_DURATION.record(started.elapsed(), failure.as_slice());
        fetched
    }

    async fn guarded(&self, url: &Url) -> Result<Fetched, KeySetError> {
        // Also for an URL that was registered under other rules. Addresses need this check above all:
        // they are not resolved, so the resolver never sees them.
        guard::check_url(url, self.allow_insecure)?;
        let deadline = Instant::now() + self.timeout;
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let _permit = permit.ok().and_then(Result::ok).ok_or(KeySetError::Busy)?;
        timeout_at(deadline, self.get(url)).await.map_err(|_| KeySetError::Timeout)?
    }

    async fn get(&self, url: &Url) -> Result<Fetched, KeySetError> {
        let request = self.client.get(url.clone()).header(ACCEPT, "application/json");
        let response = request.send().await.map_err(|error| not_sent(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(KeySetError::Redirect);
        }
        if status != reqwest::StatusCode::OK {
            return Err(KeySetError::Status(status.as_u16()));
        }
        let age_allowed = age_allowed(response.headers());
        let body = self.read(response).await?;
        let document = serde_json::from_slice(&body)
            .map_err(|error| KeySetError::NotJson { line: error.line(), column: error.column() })?;
        Ok(Fetched { document, age_allowed })
    }

    /// Reads a body up to the limit. The pieces are decompressed already, so that a small answer that
    /// unpacks to a large one ends here too.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>, KeySetError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|_| KeySetError::BrokenAnswer)? {
            if body.len() + piece.len() > self.max_bytes {
                return Err(KeySetError::TooLarge { limit: self.max_bytes });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Why no answer came. The error itself names addresses, so nothing of it is kept.
fn not_sent(error: &reqwest::Error) -> KeySetError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NoPublicAddress>() {
            return KeySetError::NoPublicAddress;
        }
        if error.downcast_ref::<LookupError>() == Some(&LookupError::Busy) {
            return KeySetError::Busy;
        }
        cause = error.source();
    }
    KeySetError::Unreachable
}

/// How long `Cache-Control` allows an answer to be kept, less the `Age` it already has in a cache on the
/// way (RFC 9111, section 4.2). A header that forbids or cannot be understood gives zero.
fn age_allowed(headers: &HeaderMap) -> Option<Duration> {
    if !headers.contains_key(CACHE_CONTROL) {
        return None;
    }
    let mut allowed = Duration::MAX;
    let mut has_max_age = false;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or("no-store").split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(Duration::ZERO),
                "max-age" => {
                    has_max_age = true;
                    allowed = allowed.min(delta_seconds(value.trim().trim_matches('"')));
                }
                _ => {}
            }
        }
    }
    if !has_max_age {
        return None;
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).map_or(Duration::ZERO, delta_seconds);
    Some(allowed.saturating_sub(age))
}

/// A number of seconds (RFC 9111, section 1.2.2); what is too large for any cache counts as much.
fn delta_seconds(text: &str) -> Duration {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap())
        });
        age_allowed(&headers.collect()).map(|age| age.as_secs())
    }

    #[test]
    fn cache_control_says_how_long_a_set_may_be_kept() {
        let cases = [
            ("max-age=60", Some(60)),
            ("public, MAX-AGE=60, must-revalidate", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age=99999999999999999999", Some(u64::from(u32::MAX))),
            ("max-age=0", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=soon", Some(0)),
            ("max-age", Some(0)),
            ("max-age=60, no-store", Some(0)),
            ("no-cache", Some(0)),
            ("no-cache=\"set-cookie\"", Some(0)),
            ("public", None),
            ("s-maxage=600", None),
            ("", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(allowed(&[("cache-control", value)]), seconds, "{value}");
        }
        assert_eq!(allowed(&[]), None);
        assert_eq!(allowed(&[("cache-control", "max-age=60"), ("cache-control", "no-store")]), Some(0));
        assert_eq!(allowed(&[("cache-control", "max-age=60"), ("age", "50")]), Some(10));
        assert_eq!(allowed(&[("cache-control", "max-age=60"), ("age", "500")]), Some(0));
    }
}

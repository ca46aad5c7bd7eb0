//! Access tokens: SMART Backend Services, client authentication by a signed assertion (RFC 7523).
//!
//! One token serves all requests. It is replaced before it runs out, at any phase of an export, and once when a
//! server answers 401; requests that find it stale at the same time share one renewal.

use std::time::{Duration, Instant};

use headgate_auth::PrivateKey;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::error::ExportError;
use super::http::{Http, SMALL_BODY_BYTES, body, send};
use super::outcome::ServerSays;
use super::retry_after::Backoff;

const WHAT: &str = "asking for a token";
const DISCOVERY: &str = "reading .well-known/smart-configuration";
/// SMART: an assertion lives five minutes at most; less, so that clocks may differ a little.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(240);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// SMART recommends 300 s; taken where a server does not say (RFC 6749 only recommends `expires_in`).
const ASSUMED_LIFETIME_S: u64 = 300;
const TRIES: u32 = 4;

/// Gets tokens for one client of one server.
#[derive(Debug)]
pub(super) struct Tokens {
    client_id: String,
    key: PrivateKey,
    scope: String,
    /// As given or discovered. The text is the audience, so it is kept as the server spells it.
    endpoint: Mutex<Option<String>>,
    current: Mutex<Option<Token>>,
}

/// An access token and when to replace it.
#[derive(Debug, Clone)]
pub(super) struct Token {
    secret: SecretString,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct SmartConfiguration {
    token_endpoint: Option<String>,
}

impl Token {
    /// The `Authorization` header, marked so that no debug output shows it.
    pub(super) fn header(&self) -> Result<HeaderValue, ExportError> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.secret.expose_secret()))
            .map_err(|_| protocol(WHAT, "the token has characters that a header cannot carry"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Tokens {
    pub(super) fn new(
        client_id: String,
        key: PrivateKey,
        scopes: &[String],
        token_url: Option<&Url>,
    ) -> Self {
        Tokens {
            client_id,
            key,
            scope: scopes.join(" "),
            endpoint: Mutex::new(token_url.map(|url| url.as_str().to_owned())),
            current: Mutex::new(None),
        }
    }

    /// A token with life in it; `stale` is one that a server has just refused.
    pub(super) async fn get(
        &self,
        http: &Http,
        base_url: &Url,
        stale: Option<&Token>,
    ) -> Result<Token, ExportError> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref() {
            let refused = stale.is_some_and(|s| s.secret.expose_secret() == token.secret.expose_secret());
            if !refused && Instant::now() < token.renew_at {
                return Ok(token.clone());
            }
        }
        let token = self.request(http, base_url).await?;
        *current = Some(token.clone());
        Ok(token)
    }

    /// Asks the endpoint; a server that is down or busy is asked again, each time with a new assertion, because an
    /// assertion is good for one use.
    async fn request(&self, http: &Http, base_url: &Url) -> Result<Token, ExportError> {
        let endpoint = self.endpoint(http, base_url).await?;
        let url = Url::parse(&endpoint).map_err(|_| protocol(DISCOVERY, "token_endpoint is not a URL"))?;
        http.check(WHAT, &url)?;
        let mut backoff = Backoff::new();
        let mut tries = 1;
        loop {
            let asked = Instant::now();
            let failure = match self.ask(http, &url, &endpoint).await {
                Ok((status, bytes)) if status.is_success() => return granted(&bytes, asked),
                Ok((status, bytes)) if !status.is_server_error() => return Err(refused(status, &bytes)),
                Ok((status, bytes)) => refused(status, &bytes),
                Err(error @ ExportError::Network { .. }) => error,
                Err(error) => return Err(error),
            };
            if tries == TRIES {
                return Err(failure);
            }
            tries += 1;
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn ask(
        &self,
        http: &Http,
        url: &Url,
        audience: &str,
    ) -> Result<(StatusCode, Vec<u8>), ExportError> {
        let assertion = self
            .key
            .sign_assertion(&self.client_id, audience, ASSERTION_LIFETIME)
            .map_err(ExportError::Sign)?;
        let form = [
            ("client_id", self.client_id.as_str()),
            ("scope", self.scope.as_str()),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        let request = http.post(url).header(ACCEPT, "application/json").form(&form);
        let response = send(WHAT, url, request).await?;
        Ok((response.status(), body(WHAT, response, SMALL_BODY_BYTES).await?))
    }

    async fn endpoint(&self, http: &Http, base_url: &Url) -> Result<String, ExportError> {
        let mut endpoint = self.endpoint.lock().await;
        if let Some(known) = endpoint.as_ref() {
            return Ok(known.clone());
        }
        let found = discover(http, base_url).await?;
        *endpoint = Some(found.clone());
        Ok(found)
    }
}

/// Reads the token endpoint from the server's SMART configuration (SMART App Launch, Conformance).
async fn discover(http: &Http, base_url: &Url) -> Result<String, ExportError> {
    let url = super::client::below(base_url, &[".well-known", "smart-configuration"]);
    let response = send(DISCOVERY, &url, http.get(&url).header(ACCEPT, "application/json")).await?;
    let status = response.status();
    let bytes = body(DISCOVERY, response, SMALL_BODY_BYTES).await?;
    if !status.is_success() {
        return Err(protocol(
            DISCOVERY,
            &format!(
                "the server answered {status}; check --base-url, or give the token endpoint with --token-url"
            ),
        ));
    }
    let configuration: SmartConfiguration = serde_json::from_slice(&bytes)
        .map_err(|_| protocol(DISCOVERY, "it is not JSON; give the token endpoint with --token-url"))?;
    configuration
        .token_endpoint
        .ok_or_else(|| protocol(DISCOVERY, "it names no token_endpoint; give it with --token-url"))
}

/// Replaced when 30 s remain, or a fifth of a short life.
fn renew_after(lifetime_s: u64) -> Duration {
    let lifetime = Duration::from_secs(lifetime_s);
    lifetime - (lifetime / 5).min(Duration::from_secs(30))
}

fn granted(bytes: &[u8], asked: Instant) -> Result<Token, ExportError> {
    // The parser's own text could quote the token.
    let granted: Granted = serde_json::from_slice(bytes)
        .map_err(|_| protocol(WHAT, "the answer is not a token response (no access_token)"))?;
    // Bounded because an absurd lifetime must not overflow the clock.
    let lifetime_s = granted.expires_in.unwrap_or(ASSUMED_LIFETIME_S).min(7 * 24 * 3600);
    Ok(Token { secret: granted.access_token, renew_at: asked + renew_after(lifetime_s) })
}

fn refused(status: StatusCode, bytes: &[u8]) -> ExportError {
    let says = ServerSays::read(bytes);
    let hint = match says.oauth_error.as_deref() {
        Some("invalid_client") => {
            "; check the client id, that the key registered for it has this key's kid, and this machine's clock"
        }
        Some("unauthorized_client") => {
            "; the practice has not consented to this app, or the app is not enabled"
        }
        Some("invalid_scope") => "; ask for other scopes with --scope",
        Some("invalid_target") => "; give the practice's own token endpoint with --token-url",
        _ if status == StatusCode::NOT_FOUND => "; check --token-url",
        _ => "",
    };
    ExportError::TokenRefused { status, says: says.text, hint }
}

fn protocol(what: &'static str, problem: &str) -> ExportError {
    ExportError::Protocol { what, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_half_a_minute_early_or_after_four_fifths_of_a_short_life() {
        assert_eq!(renew_after(1800), Duration::from_secs(1770));
        assert_eq!(renew_after(300), Duration::from_secs(270));
        assert_eq!(renew_after(60), Duration::from_secs(48));
        assert_eq!(renew_after(0), Duration::ZERO);
    }

    #[test]
    fn neither_the_token_nor_its_header_shows_in_debug_output() {
        let token = granted(br#"{"access_token":"s3cret","expires_in":60}"#, Instant::now()).unwrap();
        assert!(!format!("{token:?} {:?}", token.header().unwrap()).contains("s3cret"));
        assert_eq!(token.header().unwrap().to_str().unwrap(), "Bearer s3cret");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = refused(StatusCode::BAD_REQUEST, br#"{"error":"unauthorized_client"}"#).to_string();
        assert!(error.contains("400") && error.contains("has not consented"), "{error}");
    }
}

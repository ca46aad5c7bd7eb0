//! The HTTP client underneath: no redirects, bounded answers, and no health data or token in clear text.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, RequestBuilder, Response};
use url::{Host, Url};

use super::error::{ExportError, host_of};

/// A manifest of a hundred thousand signed links is about 100 MB.
pub(super) const MANIFEST_BYTES: usize = 256 * 1024 * 1024;
/// An explanation, a token, a configuration.
pub(super) const SMALL_BODY_BYTES: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client for one base URL.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    /// The base URL itself has no TLS (a server on this machine, a test network).
    plain_allowed: bool,
    /// The base URL is one of this machine.
    is_here: bool,
}

impl Http {
    /// Makes the client; `ca_pem` is trusted besides the certificates of the system.
    pub(super) fn new(base_url: &Url, ca_pem: Option<&[u8]>) -> Result<Self, ExportError> {
        let plain_allowed = base_url.scheme() == "http";
        let client = trusting(|| builder(base_url), ca_pem, plain_allowed)?;
        Ok(Http { client, plain_allowed, is_here: is_loopback(base_url) })
    }

    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    pub(super) fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    pub(super) fn delete(&self, url: &Url) -> RequestBuilder {
        self.client.delete(url.clone())
    }

    /// Refuses a link without TLS where the base URL has it (Bulk Data IG, Privacy and Security Considerations).
    pub(super) fn check(&self, what: &'static str, url: &Url) -> Result<(), ExportError> {
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.plain_allowed => Ok(()),
            // What never leaves this machine needs no TLS; a server elsewhere has no business to name it.
            "http" if self.is_here && is_loopback(url) => Ok(()),
            "http" => Err(ExportError::Insecure { what, host: host_of(url) }),
            other => Err(ExportError::Protocol {
                what,
                problem: format!("the server named an address of the scheme {other}"),
            }),
        }
    }
}

fn builder(base_url: &Url) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("headgate/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry the token along; those of file links are followed by hand, without it.
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    past_proxies(builder, base_url)
}

/// Makes a client that trusts the certificates in `ca_pem` besides those of the system. Where the system has none,
/// those are enough, or no TLS at all if `plain_allowed`.
///
/// # Errors
/// When `ca_pem` holds no certificate, or TLS cannot be set up.
pub fn trusting(
    builder: impl Fn() -> ClientBuilder,
    ca_pem: Option<&[u8]>,
    plain_allowed: bool,
) -> Result<reqwest::Client, ExportError> {
    let authorities = match ca_pem {
        Some(pem) => Certificate::from_pem_bundle(pem).map_err(ExportError::Setup)?,
        None => Vec::new(),
    };
    if ca_pem.is_some() && authorities.is_empty() {
        return Err(ExportError::Option {
            option: "--ca-file",
            problem: "the file holds no certificate in PEM".to_owned(),
        });
    }
    match builder().tls_certs_merge(authorities.clone()).build() {
        Err(_) if plain_allowed || !authorities.is_empty() => {
            builder().tls_certs_only(authorities).build().map_err(ExportError::Setup)
        }
        built => built.map_err(ExportError::Setup),
    }
}

/// Reads a file of certificate authorities, if one is named.
///
/// # Errors
/// When it cannot be read.
pub fn read_authorities(file: Option<&Path>) -> Result<Option<Vec<u8>>, ExportError> {
    let Some(path) = file else { return Ok(None) };
    let read = std::fs::read(path).map_err(|error| ExportError::io("read the certificates in", path, error));
    read.map(Some)
}

/// A server on this machine is never behind a proxy, whatever the environment says.
pub fn past_proxies(builder: ClientBuilder, url: &Url) -> ClientBuilder {
    if is_loopback(url) { builder.no_proxy() } else { builder }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Sends a request; an answer of any status is an answer.
pub(super) async fn send(
    what: &'static str,
    url: &Url,
    request: RequestBuilder,
) -> Result<Response, ExportError> {
    request.send().await.map_err(|error| network(what, url, error))
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn body(
    what: &'static str,
    mut response: Response,
    limit: usize,
) -> Result<Vec<u8>, ExportError> {
    let url = response.url().clone();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| network(what, &url, error))? {
        if body.len() + chunk.len() > limit {
            return Err(ExportError::Protocol {
                what,
                problem: format!("the answer is longer than {limit} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn network(what: &'static str, url: &Url, error: reqwest::Error) -> ExportError {
    ExportError::Network { what, host: host_of(url), source: error.without_url() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(base: &str, link: &str) -> bool {
        let http = Http::new(&base.parse().unwrap(), None).unwrap();
        http.check("test", &link.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_server_with_tls_cannot_lead_the_client_away_from_it() {
        // A base URL with TLS needs the system's certificates, so the client is given plain HTTP and then the rule.
        let mut http = Http::new(&"http://127.0.0.1/r4".parse().unwrap(), None).unwrap();
        http.plain_allowed = false;
        assert!(http.check("test", &"http://127.0.0.1:9000/f".parse().unwrap()).is_ok());
        assert!(http.check("test", &"http://10.0.0.1:9000/f".parse().unwrap()).is_err());
        http.is_here = false;
        assert!(http.check("test", &"http://127.0.0.1:9000/f".parse().unwrap()).is_err());
        assert!(http.check("test", &"https://b.example/f".parse().unwrap()).is_ok());
        let refused = http.check("test", &"http://b.example/f?sig=secret".parse().unwrap()).unwrap_err();
        assert!(matches!(refused, ExportError::Insecure { .. }) && !refused.to_string().contains("secret"));
    }

    #[test]
    fn a_server_without_tls_may_name_any_web_address_but_nothing_else() {
        assert!(checked("http://127.0.0.1/r4", "http://127.0.0.1:9000/f"));
        assert!(checked("http://127.0.0.1/r4", "https://b.example/f"));
        assert!(!checked("http://127.0.0.1/r4", "file:///etc/passwd"));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let base = "http://127.0.0.1/r4".parse().unwrap();
        assert!(matches!(Http::new(&base, Some(b"no pem")), Err(ExportError::Option { .. })));
    }
}

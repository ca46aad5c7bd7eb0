//! Which practice a request is for: the one whose configured base URL the request's host and path begin
//! with.
//!
//! Practices may be told apart by path (`https://fhir.example/pod21test/fhir/r4`) or by host
//! (`https://pod21test.example/fhir/r4`). The `Host` header only ever selects among configured names; no URL is
//! generated from it, and `X-Forwarded-Host` is not read at all.

use headgate_domain::practice::Practice;
use http::Uri;
use http::header::{HOST, HeaderMap};
use url::Url;

use crate::error::ApiError;
use crate::state::ApiState;

/// Base URLs have fewer path segments than this.
const MAX_BASE_SEGMENTS: usize = 8;

/// The host that a request names, in lower case, with its port if it names one: of the URL in HTTP/2, of the
/// header else.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST)?.to_str().ok()?,
    };
    Some(named.to_ascii_lowercase())
}

/// Whether a request's host is that of a configured URL.
pub(crate) fn is_host_of(authority: &str, url: &Url) -> bool {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let configured = format!("{}{port}", url.host_str().unwrap_or_default());
    without_default_port(authority, url.scheme()) == configured
}

/// The practice, and the rest of the path after its base URL (with its leading slash).
///
/// # Errors
/// [`ApiError::NoSuchPlace`] when no practice has such a base URL.
pub(crate) async fn resolve<'a>(
    state: &ApiState,
    authority: &str,
    path: &'a str,
) -> Result<(Practice, &'a str), ApiError> {
    let candidates = candidates(authority, path);
    let practice = state.store().practice_by_base_url(&candidates).await?.ok_or(ApiError::NoSuchPlace)?;
    let base_path = practice.base_url.path().trim_end_matches('/');
    let rest = path.strip_prefix(base_path).ok_or(ApiError::NoSuchPlace)?;
    Ok((practice, rest))
}

/// Every base URL that the request could be below, as the control database writes base URLs. TLS may
/// end before this process, so either scheme may be the configured one.
fn candidates(authority: &str, path: &str) -> Vec<String> {
    let prefixes: Vec<&str> = splits(path).map(|(prefix, _)| prefix).collect();
    ["https", "http"]
        .into_iter()
        .flat_map(|scheme| {
            let host = without_default_port(authority, scheme);
            prefixes.iter().map(move |prefix| format!("{scheme}://{host}{prefix}"))
        })
        .collect()
}

/// The path of every base URL that a path could be below, the shortest first, each with the rest of the path. They are
/// few, however long the path is.
pub(crate) fn splits(path: &str) -> impl Iterator<Item = (&str, &str)> {
    path.match_indices('/').take(MAX_BASE_SEGMENTS).map(move |(at, _)| path.split_at(at))
}

fn without_default_port<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let default = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(default).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_the_path_could_be_a_base_url() {
        let candidates = candidates("a.example:443", "/pod21/fhir/r4/$export");
        for url in ["https://a.example", "https://a.example/pod21/fhir/r4", "http://a.example:443/pod21"] {
            assert!(candidates.contains(&url.to_owned()), "{url}");
        }
        assert!(!candidates.iter().any(|url| url.ends_with("$export")));
    }

    #[test]
    fn a_long_path_does_not_make_a_long_query() {
        assert_eq!(candidates("a.example", &"/x".repeat(1000)).len(), 2 * MAX_BASE_SEGMENTS);
    }

    #[test]
    fn a_path_is_split_in_few_places_however_many_slashes_it_has() {
        let found: Vec<_> = splits("/pod21/fhir/r4/$export").collect();
        let expected = [
            ("", "/pod21/fhir/r4/$export"),
            ("/pod21", "/fhir/r4/$export"),
            ("/pod21/fhir", "/r4/$export"),
            ("/pod21/fhir/r4", "/$export"),
        ];
        assert_eq!(found, expected);
        assert_eq!(splits(&"/".repeat(60_000)).count(), MAX_BASE_SEGMENTS);
    }

    #[test]
    fn hosts_are_compared_with_their_port() {
        let url: Url = "https://a.example".parse().unwrap();
        assert!(is_host_of("a.example", &url));
        assert!(is_host_of("a.example:443", &url));
        assert!(!is_host_of("a.example:80", &url));
        assert!(!is_host_of("b.example", &url));
        let local: Url = "http://127.0.0.1:8080".parse().unwrap();
        assert!(is_host_of("127.0.0.1:8080", &local));
        assert!(!is_host_of("127.0.0.1", &local));
    }
}

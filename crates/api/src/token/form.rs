//! The forms of a token request (RFC 6749, section 4.4.2; RFC 7523, section 2.2) and of requests about a token (RFC
//! 7662, section 2.1; RFC 7009, section 2.1).
//!
//! Reading is tolerant where it does no harm: unknown fields are ignored (clients of the modelled product send
//! `encryption_method`), and a field that is repeated with the same value counts once.

use http::header::{CONTENT_TYPE, HeaderMap};

use crate::error::{ApiError, OAuthError};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// By what a client authenticates. Nothing of it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// The signed assertion.
    pub(super) client_assertion: String,
    /// The client id, where it was given beside the assertion.
    pub(super) client_id: Option<String>,
}

/// A token request that is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenForm {
    /// By what the client authenticates.
    pub(super) credentials: Credentials,
    /// The scopes that are asked for, separated by spaces; may be empty.
    pub(super) scope: String,
    /// The base URL of the practice, where it was given.
    pub(super) resource: Option<String>,
}

/// A request about a token that is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AboutToken {
    /// The token; any text. What kind of token it is said to be does not matter: there is only one.
    pub(super) token: String,
    /// By what the client authenticates, where it does by the form.
    pub(super) credentials: Option<Credentials>,
}

/// Reads the body of a token request.
///
/// # Errors
/// `invalid_request`, `unsupported_grant_type`, or `invalid_client` where the client does not authenticate
/// with an assertion.
pub(super) fn token_request(headers: &HeaderMap, body: &[u8]) -> Result<TokenForm, ApiError> {
    check_type(headers)?;
    let grant_type = field(body, "grant_type")?.ok_or_else(|| {
        OAuthError::InvalidRequest.because("grant_type is missing: send client_credentials")
    })?;
    if grant_type != "client_credentials" {
        let text = "the only grant_type here is client_credentials";
        return Err(OAuthError::UnsupportedGrantType.because(text));
    }
    Ok(TokenForm {
        credentials: credentials(body)?,
        scope: field(body, "scope")?.unwrap_or_default(),
        resource: field(body, "resource")?,
    })
}

/// Reads the body of a request about a token.
///
/// # Errors
/// `invalid_request`, or `invalid_client` where half of the credentials is there.
pub(super) fn about_token(headers: &HeaderMap, body: &[u8]) -> Result<AboutToken, ApiError> {
    check_type(headers)?;
    let token = field(body, "token")?
        .ok_or_else(|| OAuthError::InvalidRequest.because("token is missing: send the access token"))?;
    let by_form =
        field(body, "client_assertion_type")?.is_some() || field(body, "client_assertion")?.is_some();
    Ok(AboutToken { token, credentials: if by_form { Some(credentials(body)?) } else { None } })
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = named.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(OAuthError::InvalidRequest.because("send the request as application/x-www-form-urlencoded"))
}

fn credentials(body: &[u8]) -> Result<Credentials, ApiError> {
    if field(body, "client_assertion_type")?.as_deref() != Some(ASSERTION_TYPE) {
        let text =
            format!("apps authenticate with an assertion: client_assertion_type must be {ASSERTION_TYPE}");
        return Err(OAuthError::InvalidClient.because(text));
    }
    let client_assertion = field(body, "client_assertion")?
        .ok_or_else(|| OAuthError::InvalidClient.because("client_assertion is missing: send a signed JWT"))?;
    Ok(Credentials { client_assertion, client_id: field(body, "client_id")? })
}

/// The one value of a field; an empty value counts as none (RFC 6749, section 3.2).
fn field(body: &[u8], name: &'static str) -> Result<Option<String>, ApiError> {
    let mut values =
        url::form_urlencoded::parse(body).filter(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v);
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(
            OAuthError::InvalidRequest.because(format!("{name} is given twice, with different values"))
        );
    }
    Ok(Some(first.into_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const GOOD: &str = "grant_type=client_credentials&client_assertion=a.b.c&scope=system%2FGoal.rs+system%2FGoal.rs\
        &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

    fn headers(content_type: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())])
    }

    fn parse(content_type: &str, body: &str) -> Result<TokenForm, ApiError> {
        token_request(&headers(content_type), body.as_bytes())
    }

    fn code(content_type: &str, body: &str) -> OAuthError {
        match parse(content_type, body) {
            Err(ApiError::OAuth { error, .. }) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_form_of_the_modelled_products_clients_is_read() {
        let body = format!("{GOOD}&encryption_method=ES384&client_id=fhir00");
        let form = parse("application/x-www-form-urlencoded; charset=UTF-8", &body).unwrap();
        assert_eq!(form.credentials.client_assertion, "a.b.c");
        assert_eq!(form.scope, "system/Goal.rs system/Goal.rs");
        assert_eq!(form.credentials.client_id.as_deref(), Some("fhir00"));
        assert_eq!(form.resource, None);
    }

    #[test]
    fn a_field_repeated_with_the_same_value_does_not_hurt() {
        assert!(parse(FORM, &format!("{GOOD}&client_assertion=a.b.c&client_assertion=")).is_ok());
        assert_eq!(code(FORM, &format!("{GOOD}&client_assertion=x.y.z")), OAuthError::InvalidRequest);
    }

    #[test]
    fn each_missing_or_wrong_field_has_its_code() {
        assert_eq!(code("application/json", "{}"), OAuthError::InvalidRequest);
        assert_eq!(code("", GOOD), OAuthError::InvalidRequest);
        assert_eq!(code(FORM, ""), OAuthError::InvalidRequest);
        assert_eq!(code(FORM, "grant_type=password"), OAuthError::UnsupportedGrantType);
        assert_eq!(code(FORM, "grant_type=client_credentials&client_assertion=a"), OAuthError::InvalidClient);
        let no_assertion = GOOD.replace("client_assertion=a.b.c", "client_assertion=");
        assert_eq!(code(FORM, &no_assertion), OAuthError::InvalidClient);
    }

    #[test]
    fn a_missing_scope_is_left_to_the_grant() {
        let body = GOOD.replace("&scope=system%2FGoal.rs+system%2FGoal.rs", "");
        assert_eq!(parse(FORM, &body).unwrap().scope, "");
    }

    #[test]
    fn a_request_about_a_token_may_come_without_credentials_but_not_with_half_of_them() {
        let about = |body: &str| about_token(&headers(FORM), body.as_bytes());
        let form = about("token=x&token_type_hint=refresh_token").unwrap();
        assert_eq!(form, AboutToken { token: "x".to_owned(), credentials: None });
        let both = about(&format!("token=x&{GOOD}")).unwrap();
        assert_eq!(both.credentials.unwrap().client_assertion, "a.b.c");
        for (body, expected) in [
            ("token=&a=b", OAuthError::InvalidRequest),
            ("token=x&token=y", OAuthError::InvalidRequest),
            ("token=x&client_assertion=a.b.c", OAuthError::InvalidClient),
            ("token=x&client_assertion_type=x", OAuthError::InvalidClient),
        ] {
            match about(body) {
                Err(ApiError::OAuth { error, .. }) => assert_eq!(error, expected, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}

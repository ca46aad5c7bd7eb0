//! The form of a token request (RFC 6749, section 4.4.2; RFC 7523, section 2.2).
//!
//! Reading is tolerant where it does no harm: unknown fields are ignored (clients of the modelled product send
//! `encryption_method`), and a field that is repeated with the same value counts once.

use crate::error::{ApiError, OAuthError};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A token request that is well-formed. Nothing of it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenForm {
    /// The signed assertion.
    pub(crate) client_assertion: String,
    /// The scopes that are asked for, separated by spaces; may be empty.
    pub(crate) scope: String,
    /// The client id, where it was given beside the assertion.
    pub(crate) client_id: Option<String>,
    /// The base URL of the practice, where it was given.
    pub(crate) resource: Option<String>,
}

/// Reads the body of a token request.
///
/// # Errors
/// `invalid_request`, `unsupported_grant_type`, or `invalid_client` where the client does not authenticate
/// with an assertion.
pub(crate) fn parse(content_type: &str, body: &[u8]) -> Result<TokenForm, ApiError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let text = "send the request as application/x-www-form-urlencoded";
        return Err(OAuthError::InvalidRequest.because(text));
    }
    let grant_type = field(body, "grant_type")?.ok_or_else(|| {
        OAuthError::InvalidRequest.because("grant_type is missing: send client_credentials")
    })?;
    if grant_type != "client_credentials" {
        let text = "the only grant_type here is client_credentials";
        return Err(OAuthError::UnsupportedGrantType.because(text));
    }
    if field(body, "client_assertion_type")?.as_deref() != Some(ASSERTION_TYPE) {
        let text =
            format!("apps authenticate with an assertion: client_assertion_type must be {ASSERTION_TYPE}");
        return Err(OAuthError::InvalidClient.because(text));
    }
    let client_assertion = field(body, "client_assertion")?
        .ok_or_else(|| OAuthError::InvalidClient.because("client_assertion is missing: send a signed JWT"))?;
    Ok(TokenForm {
        client_assertion,
        scope: field(body, "scope")?.unwrap_or_default(),
        client_id: field(body, "client_id")?,
        resource: field(body, "resource")?,
    })
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
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const GOOD: &str = "grant_type=client_credentials&client_assertion=a.b.c&scope=system%2FGoal.rs+system%2FGoal.rs\
        &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

    fn code(content_type: &str, body: &str) -> OAuthError {
        match parse(content_type, body.as_bytes()) {
            Err(ApiError::OAuth { error, .. }) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_form_of_the_modelled_products_clients_is_read() {
        let body = format!("{GOOD}&encryption_method=ES384&client_id=fhir00");
        let form = parse("application/x-www-form-urlencoded; charset=UTF-8", body.as_bytes()).unwrap();
        assert_eq!(form.client_assertion, "a.b.c");
        assert_eq!(form.scope, "system/Goal.rs system/Goal.rs");
        assert_eq!(form.client_id.as_deref(), Some("fhir00"));
        assert_eq!(form.resource, None);
    }

    #[test]
    fn a_field_repeated_with_the_same_value_does_not_hurt() {
        assert!(parse(FORM, format!("{GOOD}&client_assertion=a.b.c&client_assertion=").as_bytes()).is_ok());
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
        assert_eq!(parse(FORM, body.as_bytes()).unwrap().scope, "");
    }
}

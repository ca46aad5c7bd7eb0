//! `[base]/.well-known/smart-configuration` (SMART App Launch, Conformance): where an app gets its tokens.

use axum::response::Response;
use headgate_domain::ResourceType;
use headgate_domain::practice::Practice;
use http::StatusCode;
use serde_json::{Value, json};

use crate::config::{beside, introspection_path};
use crate::error::ApiError;
use crate::extract::practice::is_host_of;
use crate::respond;
use crate::state::ApiState;

/// Its path below a base URL, and at the root of a host.
pub(crate) const PATH: &str = "/.well-known/smart-configuration";

/// What stands beside a token endpoint of ours.
struct Ours {
    introspection: String,
    revocation: String,
}

/// Answers with the document, whatever the request accepts.
pub(crate) fn show(state: &ApiState, practice: &Practice) -> Response {
    let config = state.config();
    let ours = config.own_token_path().map(|token_path| Ours {
        introspection: format!("{}{}", practice.base(), introspection_path(token_path)),
        revocation: format!("{}{}", practice.base(), beside(token_path, "revoke")),
    });
    respond::json(StatusCode::OK, &document(&config.token_endpoint(practice.base()), ours.as_ref()))
}

/// Answers at the root of a host, below which base URLs stand, with the document of the practice that is meant: the
/// only one there. Some clients look at the root alone.
pub(crate) async fn show_at_origin(state: &ApiState, authority: &str) -> Result<Response, ApiError> {
    let practices = state.directory().practices(state.store()).await?;
    match only(&practices, authority) {
        Some(practice) => Ok(show(state, practice)),
        None => Err(ApiError::SeveralPractices(state.config().endpoints_url())),
    }
}

fn only<'a>(practices: &'a [Practice], authority: &str) -> Option<&'a Practice> {
    let mut here = practices.iter().filter(|practice| is_host_of(authority, &practice.base_url));
    here.next().filter(|_| here.next().is_none())
}

/// Each practice names a token endpoint of its own, so that an app with several practices need not say which
/// one it means. Where another server issues the tokens, that one is named. `issuer` and `jwks_uri` belong to user sign-on and are left out, as the guide demands.
fn document(token_url: &str, ours: Option<&Ours>) -> Value {
    let mut scopes = vec!["system/*.rs".to_owned(), "system/*.read".to_owned()];
    scopes.extend(ResourceType::ALL.iter().map(|t| format!("system/{t}.rs")));
    let mut document = json!({
        "token_endpoint": token_url,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": scopes,
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2", "permission-v1"],
    });
    if let Some(ours) = ours {
        document["introspection_endpoint"] = json!(ours.introspection);
        document["revocation_endpoint"] = json!(ours.revocation);
    }
    document
}

#[cfg(test)]
mod tests {
    use headgate_domain::PracticeNumber;
    use headgate_domain::practice::PracticeOptions;

    use super::*;

    fn practice(number: i64, base_url: &str) -> Practice {
        Practice {
            number: PracticeNumber::new(number).unwrap(),
            slug: format!("p{number}"),
            name: String::new(),
            base_url: base_url.parse().unwrap(),
            s3_prefix: String::new(),
            history_since: None,
            // A practice that is suspended may come back, and the document must not be another one's meanwhile.
            suspended: number == 3,
            options: PracticeOptions::default(),
        }
    }

    #[test]
    fn the_root_of_a_host_speaks_for_a_practice_that_stands_there_alone() {
        let practices = [
            practice(1, "https://a.example/fhir/r4"),
            practice(2, "https://shared.example/b/fhir/r4"),
            practice(3, "https://shared.example/c/fhir/r4"),
        ];
        let found = |authority| only(&practices, authority).map(|practice| practice.number.get());
        assert_eq!(found("a.example"), Some(1));
        assert_eq!(found("a.example:443"), Some(1));
        assert_eq!(found("shared.example"), None);
        assert_eq!(found("elsewhere.example"), None);
    }

    #[test]
    fn the_required_members_are_there() {
        let ours =
            Ours { introspection: "https://a.example/i".into(), revocation: "https://a.example/r".into() };
        let document = document("https://a.example/fhir/r4/token", Some(&ours));
        assert_eq!(document["introspection_endpoint"], "https://a.example/i");
        assert_eq!(document["revocation_endpoint"], "https://a.example/r");
        assert_eq!(document["token_endpoint"], "https://a.example/fhir/r4/token");
        assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
        assert!(
            document["capabilities"].as_array().unwrap().contains(&json!("client-confidential-asymmetric"))
        );
        assert!(document["scopes_supported"].as_array().unwrap().contains(&json!("system/CarePlan.rs")));
        assert!(document.get("issuer").is_none());
    }

    #[test]
    fn what_another_issuer_has_beside_its_token_endpoint_is_not_guessed() {
        let document = document("https://login.example/token", None);
        assert_eq!(document["token_endpoint"], "https://login.example/token");
        assert!(document.get("introspection_endpoint").is_none());
        assert!(document.get("revocation_endpoint").is_none());
    }
}

//! `[base]/.well-known/smart-configuration` (SMART App Launch, Conformance): where an app gets its tokens.

use axum::response::Response;
use headgate_domain::ResourceType;
use headgate_domain::practice::Practice;
use http::StatusCode;
use serde_json::{Value, json};

use crate::respond;
use crate::state::ApiState;

/// Answers with the document, whatever the request accepts.
pub(crate) fn show(state: &ApiState, practice: &Practice) -> Response {
    let token_url = format!("{}{}", practice.base(), state.config().token_path);
    respond::json(StatusCode::OK, &document(&token_url))
}

/// Each practice names a token endpoint of its own, so that an app with several practices need not say which
/// one it means. `issuer` and `jwks_uri` belong to user sign-on and are left out, as the guide demands.
fn document(token_url: &str) -> Value {
    let mut scopes = vec!["system/*.rs".to_owned(), "system/*.read".to_owned()];
    scopes.extend(ResourceType::ALL.iter().map(|t| format!("system/{t}.rs")));
    json!({
        "token_endpoint": token_url,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": scopes,
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2", "permission-v1"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_members_are_there() {
        let document = document("https://a.example/fhir/r4/token");
        assert_eq!(document["token_endpoint"], "https://a.example/fhir/r4/token");
        assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
        assert!(
            document["capabilities"].as_array().unwrap().contains(&json!("client-confidential-asymmetric"))
        );
        assert!(document["scopes_supported"].as_array().unwrap().contains(&json!("system/CarePlan.rs")));
        assert!(document.get("issuer").is_none());
    }
}

//! The client's own exports at a practice: `[base]/fhir-services/$export-status`. No guide knows it; it is for the client
//! that lost the URL of an export, which would otherwise run on unseen and count among those that it may run. What a poll
//! with the same token would not tell, the list does not tell either.

use axum::response::Response;
use headgate_domain::ResourceType;
use headgate_domain::export::ExportState;
use headgate_domain::instant;
use headgate_domain::practice::Practice;
use headgate_store::ClientExport;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Serialize;

use crate::error::ApiError;
use crate::extract::principal::Bearer;
use crate::respond;
use crate::state::ApiState;

/// The list.
#[derive(Serialize)]
struct Exports {
    exports: Vec<Export>,
}

/// One export.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    id: String,
    status_url: String,
    state: &'static str,
    request: String,
    accepted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Answers with the exports that can be polled, the newest first.
pub(crate) async fn list(
    state: &ApiState,
    practice: &Practice,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let bearer = Bearer::of(state, practice, headers).await?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoConsent)?;
    let covered: Vec<_> = ResourceType::ALL.iter().copied().filter(|t| principal.covers(*t)).collect();
    let exports = state.store().exports_of_client(practice.number, &principal.client, &covered).await?;
    let exports = exports.into_iter().filter_map(|export| shown(practice, export)).collect();
    Ok(respond::json(StatusCode::OK, &Exports { exports }))
}

/// `None` for an export that ended, of which a poll says that it is not there.
fn shown(practice: &Practice, export: ClientExport) -> Option<Export> {
    let state = match export.state {
        state if state.is_live() => "in-progress",
        ExportState::Completed => "completed",
        ExportState::Failed => "failed",
        _ => return None,
    };
    Some(Export {
        status_url: super::status_url(practice, &export.id),
        id: export.id.to_string(),
        state,
        request: export.request_url,
        accepted: instant::format(export.accepted_at),
        transaction_time: export.transaction_time.map(instant::format),
        expires: export.expires_at.map(instant::format),
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use headgate_domain::PracticeNumber;
    use headgate_domain::practice::PracticeOptions;
    use serde_json::json;

    use super::*;

    fn listed(state: ExportState) -> Option<serde_json::Value> {
        let practice = Practice {
            number: PracticeNumber::new(1).unwrap(),
            slug: "a".to_owned(),
            name: "A".to_owned(),
            base_url: "https://a.example/fhir/r4".parse().unwrap(),
            s3_prefix: "ema/1".to_owned(),
            history_since: None,
            suspended: false,
            options: PracticeOptions::default(),
        };
        let export = ClientExport {
            id: "d60cbaa19d337fbfb8ba2677d4dc30a4".parse().unwrap(),
            request_url: "https://a.example/fhir/r4/$export".to_owned(),
            state,
            accepted_at: DateTime::UNIX_EPOCH,
            transaction_time: None,
            expires_at: None,
        };
        shown(&practice, export).map(|export| serde_json::to_value(export).unwrap())
    }

    #[test]
    fn an_export_is_listed_with_the_url_to_poll() {
        let expected = json!({
            "id": "d60cbaa19d337fbfb8ba2677d4dc30a4",
            "statusUrl":
                "https://a.example/fhir/r4/fhir-services/$export-status/d60cbaa19d337fbfb8ba2677d4dc30a4",
            "state": "in-progress",
            "request": "https://a.example/fhir/r4/$export",
            "accepted": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!(listed(ExportState::Finishing), Some(expected));
        assert_eq!(listed(ExportState::Completed).unwrap()["state"], "completed");
        assert_eq!(listed(ExportState::Failed).unwrap()["state"], "failed");
        assert_eq!(listed(ExportState::Revoked), None);
    }
}

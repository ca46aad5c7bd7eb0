//! Which practice a token is for: said by the endpoint, implied, or named by `resource` (RFC 8707).

use headgate_domain::PracticeNumber;
use headgate_store::App;

use super::Endpoint;
use crate::error::{ApiError, OAuthError};

/// The practice that a token is for.
pub(super) struct Target {
    pub(super) number: PracticeNumber,
    pub(super) base_url: String,
}

/// Finds the practice.
///
/// # Errors
/// `invalid_target` for any other base URL, be it of a practice that does not consent or of nobody;
/// `unauthorized_client` where no practice consents.
pub(super) fn target(endpoint: Endpoint<'_>, app: &App, resource: Option<&str>) -> Result<Target, ApiError> {
    let resource = resource.map(|url| url.trim_end_matches('/'));
    if let Endpoint::Of(practice) = endpoint {
        if resource.is_some_and(|url| url != practice.base()) {
            let text = format!("resource is not the base URL of this token endpoint: {}", practice.base());
            return Err(OAuthError::InvalidTarget.because(text));
        }
        return Ok(Target { number: practice.number, base_url: practice.base().to_owned() });
    }
    let chosen = match (resource, app.consenting.as_slice()) {
        (_, []) => return Err(no_consent()),
        (None, [only]) => only,
        (None, _) => {
            return Err(name_targets("several practices consent to this app; say which as resource", app));
        }
        (Some(url), practices) => {
            practices.iter().find(|practice| practice.base() == url).ok_or_else(|| {
                name_targets("resource is not the base URL of a practice that consents to this app", app)
            })?
        }
    };
    Ok(Target { number: chosen.number, base_url: chosen.base().to_owned() })
}

fn name_targets(text: &str, app: &App) -> ApiError {
    let urls: Vec<&str> = app.consenting.iter().map(|practice| practice.base()).collect();
    OAuthError::InvalidTarget.because(format!("{text}: {}", urls.join(", ")))
}

/// No practice that is meant consents; whether it is suspended is not told.
pub(super) fn no_consent() -> ApiError {
    OAuthError::UnauthorizedClient.because(
        "no consent of a practice to this app is in force: an administrator of the practice has to add its client id",
    )
}

/// Refuses an app that may have no token from anybody.
///
/// # Errors
/// `unauthorized_client` when it or its vendor is suspended.
pub(super) fn check_not_suspended(app: &App) -> Result<(), ApiError> {
    let text = match (app.vendor_suspended, &app.suspended) {
        (true, _) => "the vendor of this app is suspended",
        (false, Some(_)) => "this app is suspended",
        (false, None) => return Ok(()),
    };
    let (error, description) = (OAuthError::UnauthorizedClient, text.to_owned());
    Err(ApiError::OAuth { error, description, reason: "suspended" })
}

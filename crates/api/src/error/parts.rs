//! The one match: what each error means on the wire, before a surface gives it its form.

use std::collections::BTreeSet;
use std::time::Duration;

use headgate_auth::AccessTokenError;
use headgate_domain::ResourceType;
use headgate_domain::authorize::Denied;
use headgate_domain::outcome::{Issue, IssueCode};
use headgate_store::{Error as StoreError, KickOffError};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode as S};

use super::ApiError;

/// When to try again after a failure that passes.
const PAUSE: Duration = Duration::from_secs(2);

/// When to try again where a source has first to be looked at.
const PAUSE_FOR_REFRESH: Duration = Duration::from_secs(5);

/// When to try again where other exports have first to end.
const PAUSE_FOR_EXPORTS: Duration = Duration::from_secs(60);

/// When to poll again after having polled far too often.
const PAUSE_FOR_POLLS: Duration = Duration::from_secs(5);

/// An error in parts.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) status: S,
    /// A stable code for logs and for the admin API.
    pub(crate) reason: &'static str,
    /// The code of the token endpoint.
    pub(crate) oauth: &'static str,
    /// What is wrong, one or more.
    pub(crate) issues: Vec<Issue>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether it is our own failure, to be logged.
    pub(crate) internal: bool,
}

impl Parts {
    fn new(status: S, reason: &'static str, code: IssueCode, text: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            oauth: "invalid_request",
            issues: vec![Issue::error(code, text)],
            headers: Vec::new(),
            internal: false,
        }
    }

    fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        // Texts of ours are visible ASCII; anything else is better left out than a failure of its own.
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.push((name, value));
        }
        self
    }

    /// The header counts whole seconds: rounded up, so that who comes back then is admitted.
    fn retry_after(self, pause: Duration) -> Self {
        let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
        self.with(RETRY_AFTER, seconds.to_string())
    }

    fn internal(mut self, oauth: &'static str) -> Self {
        self.internal = true;
        self.oauth = oauth;
        self
    }
}

impl ApiError {
    /// What the error means on the wire.
    pub(crate) fn parts(&self) -> Parts {
        match self {
            ApiError::NoSuchPlace => {
                Parts::new(S::NOT_FOUND, "no_such_place", IssueCode::NotFound, "nothing stands at this URL")
            }
            ApiError::SeveralPractices(list) => several_practices(list),
            ApiError::MethodNotAllowed(allowed) => method_not_allowed(allowed),
            ApiError::NoToken => no_token(),
            ApiError::BadToken(error) => bad_token(error),
            ApiError::TokenRevoked => invalid_token("revoked", "the access token was revoked"),
            ApiError::IssuerKeys(_) => issuer_keys(),
            ApiError::OtherPractice => other_practice(),
            ApiError::NoConsent => no_consent(),
            ApiError::TooNarrow(types) => too_narrow(types),
            ApiError::GroupsNeedPatient => groups_need_patient(),
            ApiError::NoSuchGroup => no_such_group(),
            ApiError::BadRequest(issues) => Parts {
                issues: issues.clone(),
                ..Parts::new(S::BAD_REQUEST, "bad_request", IssueCode::Invalid, "")
            },
            ApiError::Denied(error) => denied(error),
            ApiError::NotStarted(error) => not_started(*error),
            ApiError::NeverRefreshed => never_refreshed(),
            ApiError::NoSuchExport => no_such_export(),
            ApiError::PolledTooOften => polled_too_often(),
            ApiError::NoSuchFile => no_such_file(),
            ApiError::NoSuchAttachment => no_such_attachment(),
            ApiError::FileBeyondScope(resource_type) => file_beyond_scope(*resource_type),
            ApiError::ExportFailed(failure) => export_failed(failure.as_deref()),
            ApiError::UnsupportedMediaType => unsupported_media_type(),
            ApiError::BodyTooLarge => body_too_large(),
            ApiError::BodyIncomplete => body_incomplete(),
            ApiError::OtherMethod => {
                let text = "this URL does not take this method";
                Parts::new(S::METHOD_NOT_ALLOWED, "method_not_allowed", IssueCode::NotSupported, text)
            }
            ApiError::OAuth { error, description, reason } => Parts {
                oauth: error.code(),
                ..Parts::new(S::BAD_REQUEST, reason, IssueCode::Invalid, description.as_str())
            },
            ApiError::NotAuthenticated { description, reason } => not_authenticated(reason, description),
            ApiError::TooManyTokenRequests(wait) => too_many_token_requests(*wait),
            ApiError::TookTooLong => took_too_long(),
            ApiError::Busy => busy(),
            ApiError::Unauthorized(text) => unauthorized(text.as_deref()),
            ApiError::Forbidden(text) => Parts::new(S::FORBIDDEN, "forbidden", IssueCode::Forbidden, *text),
            ApiError::PreconditionFailed => precondition_failed(),
            ApiError::KeyReused => key_reused(),
            ApiError::AnswerUnknown => answer_unknown(),
            ApiError::Invalid(detail) => {
                Parts::new(S::BAD_REQUEST, "invalid", IssueCode::Invalid, detail.as_str())
            }
            ApiError::Missing(_) => {
                Parts::new(S::NOT_FOUND, "not_found", IssueCode::NotFound, self.to_string())
            }
            ApiError::Conflict { reason, detail } => {
                Parts::new(S::CONFLICT, reason, IssueCode::Invalid, *detail)
            }
            ApiError::Store(error) => store(error),
            ApiError::Link(_) => unavailable("the server cannot sign links at the moment: try again"),
            ApiError::Key(_) | ApiError::Keyring(_) | ApiError::Unexpected(_) => internal(),
        }
    }
}

fn method_not_allowed(allowed: &str) -> Parts {
    let text = format!("this URL takes {allowed} only");
    Parts::new(S::METHOD_NOT_ALLOWED, "method_not_allowed", IssueCode::NotSupported, text)
        .with(ALLOW, allowed)
}

fn no_token() -> Parts {
    let text = "send an access token: Authorization: Bearer …";
    let parts = Parts::new(S::UNAUTHORIZED, "no_token", IssueCode::Login, text);
    Parts { oauth: "invalid_client", ..parts }.with(WWW_AUTHENTICATE, "Bearer")
}

fn bad_token(error: &AccessTokenError) -> Parts {
    invalid_token(error.reason(), &error.to_string())
}

/// A 401 that a new token would mend (RFC 6750, section 3.1).
fn invalid_token(reason: &'static str, text: &str) -> Parts {
    let challenge = format!(r#"Bearer error="invalid_token", error_description="{text}""#);
    let parts = Parts::new(S::UNAUTHORIZED, reason, IssueCode::Login, text);
    Parts { oauth: "invalid_token", ..parts }.with(WWW_AUTHENTICATE, challenge)
}

fn too_many_token_requests(wait: Duration) -> Parts {
    let text =
        "too many token requests: an access token is good for many requests, so keep it while it is valid";
    let parts = Parts::new(S::TOO_MANY_REQUESTS, "too_many_token_requests", IssueCode::Throttled, text);
    Parts { oauth: "temporarily_unavailable", ..parts }.retry_after(wait)
}

/// RFC 6750, section 3.1: `invalid_token` only when a token was sent.
fn unauthorized(text: Option<&str>) -> Parts {
    let challenge = if text.is_some() { r#"Bearer error="invalid_token""# } else { "Bearer" };
    let text = text.unwrap_or("send a token of a configured issuer: Authorization: Bearer …");
    Parts::new(S::UNAUTHORIZED, "unauthorized", IssueCode::Login, text).with(WWW_AUTHENTICATE, challenge)
}

fn no_such_export() -> Parts {
    let text = "no such export: it was never there for this app, or was deleted, revoked or has expired";
    Parts::new(S::NOT_FOUND, "no_such_export", IssueCode::NotFound, text)
}

fn export_failed(failure: Option<&str>) -> Parts {
    let text = failure.unwrap_or("the export failed");
    // Not `exception`, which clients take for a failure of the poll that passes.
    Parts::new(S::INTERNAL_SERVER_ERROR, "export_failed", IssueCode::Processing, text)
}

fn body_incomplete() -> Parts {
    let text = "the body did not arrive completely and in time";
    Parts::new(S::REQUEST_TIMEOUT, "body_incomplete", IssueCode::Invalid, text)
}

fn key_reused() -> Parts {
    let text = "this Idempotency-Key was used for another request: make a new one for each deed";
    Parts::new(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", IssueCode::Invalid, text)
}

fn precondition_failed() -> Parts {
    let text = "the object is at another revision than If-Match says: read it again, then decide anew";
    Parts::new(S::PRECONDITION_FAILED, "precondition_failed", IssueCode::Invalid, text)
}

fn answer_unknown() -> Parts {
    let text = "a request with this Idempotency-Key is under way, or was done and its answer is not known: look at \
                the object before sending it again with a new key";
    Parts::new(S::CONFLICT, "idempotency_unknown", IssueCode::Invalid, text)
}

fn never_refreshed() -> Parts {
    let text = "the practice's data have not been looked at yet: try again in a few seconds";
    Parts::new(S::SERVICE_UNAVAILABLE, "never_refreshed", IssueCode::Transient, text)
        .retry_after(PAUSE_FOR_REFRESH)
}

fn polled_too_often() -> Parts {
    let text = "this export is polled too often: heed Retry-After";
    Parts::new(S::TOO_MANY_REQUESTS, "polled_too_often", IssueCode::Throttled, text)
        .retry_after(PAUSE_FOR_POLLS)
}

fn other_practice() -> Parts {
    let text = "the access token is for another practice: its allowedFhirUrl is not this base URL";
    Parts { oauth: "invalid_token", ..Parts::new(S::FORBIDDEN, "other_practice", IssueCode::Forbidden, text) }
}

fn no_such_file() -> Parts {
    let text =
        "no such file: its export was never there for this app, or was deleted, revoked or has expired";
    Parts::new(S::NOT_FOUND, "no_such_file", IssueCode::NotFound, text)
}

fn no_such_attachment() -> Parts {
    let text = "no such attachment: no export of this app has it that is complete and still there; attachments go \
                with the exports that lead to them";
    Parts::new(S::NOT_FOUND, "no_such_attachment", IssueCode::NotFound, text)
}

fn file_beyond_scope(resource_type: ResourceType) -> Parts {
    let text = format!(
        "the access token or the practice's consent does not cover the type of this file: {resource_type}"
    );
    insufficient_scope(text, &BTreeSet::from([resource_type]))
}

fn unsupported_media_type() -> Parts {
    let text = "send the body as `Content-Type: application/fhir+json`";
    Parts::new(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", IssueCode::NotSupported, text)
}

fn several_practices(list: &str) -> Parts {
    let text = format!(
        "no single practice stands at this host: ask below the base URL of the one you mean; {list} names them all"
    );
    Parts::new(S::NOT_FOUND, "several_practices", IssueCode::NotFound, text)
}

fn groups_need_patient() -> Parts {
    let text = "groups are of patients: the access token and the practice's consent have to cover Patient";
    insufficient_scope(text.to_owned(), &BTreeSet::from([ResourceType::Patient]))
}

fn no_consent() -> Parts {
    let text = "the practice's consent to this app is not in force: an administrator of the practice has to add \
                the app's client id";
    Parts { oauth: "unauthorized_client", ..Parts::new(S::FORBIDDEN, "consent", IssueCode::Forbidden, text) }
}

fn no_such_group() -> Parts {
    let text = "no such group at this practice, or none that its consent covers";
    Parts::new(S::NOT_FOUND, "no_such_group", IssueCode::NotFound, text)
}

fn too_narrow(types: &BTreeSet<ResourceType>) -> Parts {
    let names: Vec<&str> = types.iter().map(|t| t.name()).collect();
    let text = format!("the access token does not cover all types of this export: {}", names.join(", "));
    insufficient_scope(text, types)
}

/// A 403 that a wider token would mend (RFC 6750, section 3.1).
fn insufficient_scope(text: String, types: &BTreeSet<ResourceType>) -> Parts {
    let mut challenge = r#"Bearer error="insufficient_scope""#.to_owned();
    if !types.is_empty() {
        let scopes: Vec<String> = types.iter().map(|t| format!("system/{t}.rs")).collect();
        challenge.push_str(&format!(r#", scope="{}""#, scopes.join(" ")));
    }
    Parts::new(S::FORBIDDEN, "insufficient_scope", IssueCode::Forbidden, text)
        .with(WWW_AUTHENTICATE, challenge)
}

fn denied(denied: &Denied) -> Parts {
    let text = denied.to_string();
    match denied {
        Denied::TypesBeyondScope(types) => insufficient_scope(text, types),
        Denied::NothingShared => insufficient_scope(text, &BTreeSet::new()),
        Denied::TypesNotInSource(_) => {
            Parts::new(S::BAD_REQUEST, "type_not_in_source", IssueCode::NotSupported, text)
        }
        Denied::GroupsOnly => Parts::new(S::FORBIDDEN, "groups_only", IssueCode::Forbidden, text),
        Denied::GroupNotCovered => no_such_group(),
    }
}

fn not_started(error: KickOffError) -> Parts {
    match error {
        KickOffError::ConsentEnded => no_consent(),
        KickOffError::NoSuchGroup => no_such_group(),
        KickOffError::TooMany { running } => {
            let text = format!(
                "this app runs {running} exports at this practice, as many as it may: wait, or delete one"
            );
            Parts::new(S::TOO_MANY_REQUESTS, "too_many_exports", IssueCode::Throttled, text)
                .retry_after(PAUSE_FOR_EXPORTS)
        }
    }
}

fn store(error: &StoreError) -> Parts {
    match error {
        StoreError::Exists { .. } => Parts::new(S::CONFLICT, "exists", IssueCode::Invalid, error.to_string()),
        StoreError::Missing { .. } => {
            Parts::new(S::NOT_FOUND, "not_found", IssueCode::NotFound, error.to_string())
        }
        StoreError::TooMany { .. } => {
            Parts::new(S::CONFLICT, "too_many", IssueCode::Invalid, format!("{error}: end some first"))
        }
        StoreError::Stale => precondition_failed(),
        StoreError::Repeated => answer_unknown(),
        StoreError::Cursor => {
            let text = "cursor is not the `next` of a page of this list";
            Parts::new(S::BAD_REQUEST, "invalid", IssueCode::Invalid, text)
        }
        error if error.is_transient() => {
            unavailable("the server cannot reach its database at the moment: try again")
        }
        StoreError::Database(_)
        | StoreError::Schema(_)
        | StoreError::Unmigrated(_)
        | StoreError::Inconsistent { .. }
        | StoreError::LeaseLost
        | StoreError::Queue(_) => internal(),
    }
}

fn body_too_large() -> Parts {
    Parts::new(S::PAYLOAD_TOO_LARGE, "body_too_large", IssueCode::TooCostly, "the body is too large")
}

fn not_authenticated(reason: &'static str, text: &str) -> Parts {
    let parts = Parts::new(S::UNAUTHORIZED, reason, IssueCode::Login, text);
    Parts { oauth: "invalid_client", ..parts }.with(WWW_AUTHENTICATE, "Bearer")
}

fn issuer_keys() -> Parts {
    let parts = unavailable("the keys of the token's issuer cannot be had at the moment: try again");
    Parts { reason: "issuer_keys", ..parts }
}

fn took_too_long() -> Parts {
    let text = "no answer was found in time, and what was asked may have been done or not: try again later";
    Parts::new(S::SERVICE_UNAVAILABLE, "took_too_long", IssueCode::Transient, text)
        .retry_after(PAUSE)
        .internal("temporarily_unavailable")
}

fn busy() -> Parts {
    let parts = unavailable("the server does too much at once: try again in a few seconds");
    Parts { reason: "busy", internal: false, ..parts }
}

fn unavailable(text: &'static str) -> Parts {
    Parts::new(S::SERVICE_UNAVAILABLE, "unavailable", IssueCode::Transient, text)
        .retry_after(PAUSE)
        .internal("temporarily_unavailable")
}

fn internal() -> Parts {
    let text = "the server failed; the failure was logged";
    Parts::new(S::INTERNAL_SERVER_ERROR, "internal", IssueCode::Exception, text).internal("server_error")
}

//! What is measured of requests, and the span of each. Everything follows from what is known when the answer is there:
//! the operation, the practice, the status, and the reason that a refusal carries.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use headgate_domain::PracticeNumber;
use headgate_metrics::{Value, api, auth, http as measures};
use headgate_runtime::telemetry;
use http::{Method, StatusCode};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::respond::Reason;

/// Operations that come by the thousand: of their traces a share is kept.
const FREQUENT: [&str; 9] = [
    "status",
    "statuses",
    "file",
    "attachment",
    "metadata",
    "smart_configuration",
    "endpoints",
    "jwks",
    "introspection",
];

/// The span of a request to the public listener.
pub(crate) fn span(method: &Method, operation: &'static str) -> Span {
    begin("public", method, operation, FREQUENT.contains(&operation))
}

fn begin(listener: &'static str, method: &Method, route: &str, frequent: bool) -> Span {
    let method = name(method);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
        listener,
        practice = Empty,
        headgate.frequent = frequent,
        trace_id = Empty,
    );
    telemetry::identify(&span);
    span
}

/// Notes on a request's span how it ended.
fn end(span: &Span, status: StatusCode, reason: Option<&'static str>) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", reason.unwrap_or("server_error"));
        span.record("otel.status_code", "ERROR");
    }
}

/// A request that is being answered, until dropped.
pub(crate) struct Active {
    method: &'static str,
    listener: &'static str,
}

impl Active {
    /// Counts a request.
    pub(crate) fn on(listener: &'static str, method: &Method) -> Self {
        let active = Self { method: name(method), listener };
        active.count(1);
        active
    }

    fn count(&self, by: i64) {
        let labels = [("http.request.method", self.method.into()), ("listener", self.listener.into())];
        measures::SERVER_ACTIVE_REQUESTS.add(by, &labels);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.count(-1);
    }
}

/// A request to the public listener that has been answered.
pub(crate) struct Answered<'a> {
    /// Its method.
    pub(crate) method: &'a Method,
    /// What was asked for.
    pub(crate) operation: &'static str,
    /// At which practice.
    pub(crate) practice: Option<PracticeNumber>,
    /// How it was answered.
    pub(crate) status: StatusCode,
    /// Why it was refused.
    pub(crate) reason: Option<&'static str>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Answered<'_> {
    /// Counts it, and ends its span.
    pub(crate) fn measure(&self, span: &Span) {
        if let Some(practice) = self.practice {
            span.record("practice", practice.get());
        }
        end(span, self.status, self.reason);
        duration("public", self.method, self.operation, (self.status, self.reason), self.took);
        let code = || Value::from(i64::from(self.status.as_u16()));
        match self.operation {
            "status" if self.method != Method::DELETE => api::POLLS.add(1, &[("code", code())]),
            "kick_off" if self.status != StatusCode::ACCEPTED => {
                let reason = self.reason.unwrap_or("none");
                api::KICKOFF_REJECTED.add(1, &[("code", code()), ("reason", reason.into())]);
            }
            "file" | "attachment" => api::DOWNLOADS.add(1, &[("outcome", self.download().into())]),
            "token" => self.token(),
            _ => {}
        }
        match self.reason {
            Some("other_practice") => auth::TENANT_MISMATCH.add(1, &[]),
            Some("consent") => {
                let practice = self.practice.map_or(0, PracticeNumber::get);
                let labels = [("practice", practice.into()), ("phase", self.phase().into())];
                auth::CONSENT_DENIED.add(1, &labels);
            }
            _ => {}
        }
    }

    fn download(&self) -> &'static str {
        match self.status {
            status if status.is_success() || status.is_redirection() => "redirected",
            StatusCode::NOT_FOUND => "missing",
            status if status.is_server_error() => "failed",
            _ => "refused",
        }
    }

    fn phase(&self) -> &'static str {
        match self.operation {
            "kick_off" => "kick_off",
            "status" | "statuses" => "poll",
            "file" | "attachment" => "download",
            _ => "other",
        }
    }

    fn token(&self) {
        let reason = self.reason.unwrap_or("none");
        let result = if self.status.is_success() { "issued" } else { "refused" };
        let error = oauth_error(self.status, reason);
        auth::TOKENS.add(1, &[("result", result.into()), ("error", error.into())]);
        match reason {
            "replayed" => auth::JTI_REPLAY.add(1, &[]),
            // A good assertion may come with a wrong scope: that says nothing about its key.
            reason if error == "invalid_client" => auth::KEY_REJECTED.add(1, &[("reason", reason.into())]),
            _ => {}
        }
    }
}

/// The class of a refusal of the token endpoint: the reason tells more, and is another metric's.
fn oauth_error(status: StatusCode, reason: &'static str) -> &'static str {
    match reason {
        "none"
        | "invalid_scope"
        | "invalid_target"
        | "invalid_request"
        | "unauthorized_client"
        | "unsupported_grant_type"
        | "too_many_token_requests" => reason,
        _ if status.is_server_error() => "server_error",
        _ => "invalid_client",
    }
}

/// Measures a request to the admin API. The path is told as the template that it matched.
pub(crate) async fn admin(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    let _active = Active::on("admin", &method);
    let span = begin("admin", &method, route, false);
    let response = next.run(request).instrument(span.clone()).await;
    let reason = response.extensions().get::<Reason>().map(|reason| reason.0);
    let (status, took) = (response.status(), started.elapsed());
    end(&span, status, reason);
    match status {
        StatusCode::UNAUTHORIZED => auth::ADMIN_REFUSED.add(1, &[("reason", "unauthenticated".into())]),
        StatusCode::FORBIDDEN => auth::ADMIN_REFUSED.add(1, &[("reason", "forbidden".into())]),
        _ => {}
    }
    span.in_scope(|| {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%method, route, status = status.as_u16(), reason, ms, "admin request");
    });
    duration("admin", &method, route.to_owned(), (status, reason), took);
    response
}

fn duration(
    listener: &'static str,
    method: &Method,
    route: impl Into<Value>,
    (status, reason): (StatusCode, Option<&'static str>),
    took: Duration,
) {
    let mut labels = vec![
        ("http.request.method", name(method).into()),
        ("http.route", route.into()),
        ("http.response.status_code", i64::from(status.as_u16()).into()),
        ("listener", listener.into()),
    ];
    if status.is_server_error() {
        labels.push(("error.type", reason.unwrap_or("server_error").into()));
    }
    measures::SERVER_REQUEST_DURATION.record(took, &labels);
}

/// The methods that HTTP knows; what else a client sends is one value.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_makes_up_is_no_label() {
        assert_eq!(name(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
        assert_eq!(oauth_error(StatusCode::UNAUTHORIZED, "wrong_aud"), "invalid_client");
        assert_eq!(oauth_error(StatusCode::BAD_REQUEST, "invalid_scope"), "invalid_scope");
        assert_eq!(oauth_error(StatusCode::SERVICE_UNAVAILABLE, "unavailable"), "server_error");
    }
}

//! The public router: finds practice and operation, runs the operation, and writes one line to the log.
//!
//! Practices are configured while the server runs and may be told apart by host, so a fixed table of paths
//! cannot name them; one handler takes every request and [`route`] says what it means.

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use headgate_domain::PracticeNumber;
use headgate_domain::practice::Practice;
use http::Method;
use http::request::Parts;
use tracing::{Instrument as _, Span};

use crate::config::beside;
use crate::error::{ApiError, Surface};
use crate::extract::practice::{authority, is_host_of, resolve};
use crate::measure::{Active, Answered};
use crate::respond::Reason;
use crate::route::{self, Operation};
use crate::state::ApiState;
use crate::token::Endpoint;
use crate::{endpoints, export, group, jwks, layers, measure, metadata, smart_configuration, token};

/// The router of everything that apps talk to.
pub fn public_router(state: ApiState) -> Router {
    layers::wrap(Router::new().fallback(serve).with_state(state), Surface::Fhir)
}

/// A request on its way: what is known of it so far, for the log and for the form of an error.
struct Walk {
    surface: Surface,
    operation: &'static str,
    practice: Option<PracticeNumber>,
    method: Method,
    span: Span,
}

impl Walk {
    /// Notes what is asked for, and begins its span.
    fn to(&mut self, operation: &'static str) -> Span {
        self.operation = operation;
        self.span = measure::span(&self.method, operation);
        self.span.clone()
    }

    /// The same, and in which form the operation tells its errors.
    fn towards(&mut self, operation: &Operation) -> Span {
        self.surface = operation.surface();
        self.to(operation.name())
    }

    /// What cannot be answered for want of the database is counted and answered as what it was, wherever its base URL
    /// ends.
    fn guess(&mut self, path: &str, token_path: Option<&str>) {
        if self.operation == "none"
            && let Some(operation) = Operation::at_end_of(path, token_path)
        {
            self.towards(&operation);
        }
    }
}

async fn serve(State(state): State<ApiState>, request: Request) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let _active = Active::on("public", &method);
    let mut walk = Walk {
        surface: Surface::Fhir,
        operation: "none",
        practice: None,
        method: method.clone(),
        span: Span::none(),
    };
    let within = state.config().request_timeout;
    let answer = tokio::time::timeout(within, dispatch(&state, request, &mut walk)).await;
    let answer = answer.unwrap_or_else(|_late| {
        walk.guess(uri.path(), state.config().own_token_path());
        Err(ApiError::TookTooLong)
    });
    // What is logged of a request belongs to its trace.
    walk.span.clone().in_scope(|| tell(&walk, &method, started, answer))
}

/// The answer, measured and logged.
fn tell(walk: &Walk, method: &Method, started: Instant, answer: Result<Response, ApiError>) -> Response {
    let response = answer.unwrap_or_else(|error| error.respond(walk.surface));
    let reason = response.extensions().get::<Reason>().map(|reason| reason.0);
    let (operation, practice, took) = (walk.operation, walk.practice, started.elapsed());
    let answered = Answered { method, operation, practice, status: response.status(), reason, took };
    answered.measure(&walk.span);
    tracing::info!(
        %method,
        operation,
        practice = practice.map(PracticeNumber::get),
        status = response.status().as_u16(),
        reason,
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

async fn dispatch(state: &ApiState, request: Request, walk: &mut Walk) -> Result<Response, ApiError> {
    let (request, body) = request.into_parts();
    let authority = authority(&request.uri, &request.headers).ok_or(ApiError::NoSuchPlace)?;
    let path = request.uri.path();
    if is_host_of(&authority, &state.config().public_base_url) {
        if let Some(token_path) = state.config().own_token_path() {
            if let Some(operation) = Operation::of_tokens(path, token_path) {
                let span = walk.towards(&operation);
                operation.check_method(&request.method)?;
                return of_tokens(state, &operation, Endpoint::Shared, &request, body).instrument(span).await;
            }
            if path == beside(token_path, "certs") {
                walk.to("jwks");
                route::check(&request.method, "GET, HEAD")?;
                return Ok(jwks::show(state));
            }
        }
        if path == endpoints::PATH {
            let span = walk.to("endpoints");
            route::check(&request.method, "GET, HEAD")?;
            return endpoints::show(state).instrument(span).await;
        }
    }
    let (practice, rest) = match resolve(state, &authority, path).await {
        // Of a practice whose base URL has a path, or of several.
        Err(ApiError::NoSuchPlace) if path == smart_configuration::PATH => {
            let span = walk.to("smart_configuration");
            route::check(&request.method, "GET, HEAD")?;
            return smart_configuration::show_at_origin(state, &authority).instrument(span).await;
        }
        Err(ApiError::NoSuchPlace) => return Err(ApiError::NoSuchPlace),
        Err(error) => {
            walk.guess(path, state.config().own_token_path());
            return Err(error);
        }
        Ok(found) => found,
    };
    walk.practice = Some(practice.number);
    let operation = Operation::at(rest, state.config().own_token_path()).ok_or(ApiError::NoSuchPlace)?;
    let span = walk.towards(&operation);
    operation.check_method(&request.method)?;
    of_practice(state, &practice, operation, rest, &request, body).instrument(span).await
}

/// What stands below a practice's base URL.
async fn of_practice(
    state: &ApiState,
    practice: &Practice,
    operation: Operation,
    rest: &str,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    match operation {
        Operation::Metadata => metadata::show(state, practice).await,
        Operation::SmartConfiguration => Ok(smart_configuration::show(state, practice)),
        Operation::Token | Operation::Introspection | Operation::Revocation => {
            of_tokens(state, &operation, Endpoint::Of(practice), request, body).await
        }
        Operation::Groups => group::search(state, practice, request).await,
        Operation::Group(id) => group::read(state, practice, &id, &request.headers).await,
        Operation::KickOff(level) => export::kick_off(state, practice, level, rest, request, body).await,
        Operation::Status(id) if request.method == Method::DELETE => {
            export::cancel(state, practice, id.as_ref(), &request.headers).await
        }
        Operation::Status(id) => export::status(state, practice, id.as_ref(), request).await,
        Operation::Statuses => export::list(state, practice, &request.headers).await,
        Operation::File(id, name) => {
            export::file(state, practice, id.as_ref(), &name, &request.method, &request.headers).await
        }
        Operation::Attachment(id) => {
            export::attachment(state, practice, &id, &request.method, &request.headers).await
        }
    }
}

/// What stands at and beside a token endpoint.
async fn of_tokens(
    state: &ApiState,
    operation: &Operation,
    endpoint: Endpoint<'_>,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    match operation {
        Operation::Introspection => token::introspect(state, endpoint, request, body).await,
        Operation::Revocation => token::revoke(state, endpoint, request, body).await,
        _ => token::issue(state, endpoint, request, body).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_up_is_counted_and_answered_as_the_operation_that_it_was() {
        for (path, operation, surface) in [
            ("/lakeside/fhir/r4/auth/token", "token", Surface::OAuth),
            ("/lakeside/fhir/r4/auth/token/introspect", "introspection", Surface::OAuth),
            ("/lakeside/fhir/r4/auth/revoke", "revocation", Surface::OAuth),
            ("/lakeside/fhir/r4/Patient/$export", "kick_off", Surface::Fhir),
            ("/lakeside/fhir/r4/Patient", "none", Surface::Fhir),
        ] {
            let mut walk = Walk {
                surface: Surface::Fhir,
                operation: "none",
                practice: None,
                method: Method::POST,
                span: Span::none(),
            };
            walk.guess(path, Some("/auth/token"));
            assert_eq!((walk.operation, walk.surface), (operation, surface), "{path}");
        }
    }
}

//! The admin API, `/admin/v1`, on a listener of its own: what operators do, what the administrators of a practice
//! do there, and what vendors do with their own apps.
//!
//! The order of a request: the token says who is calling ([`authenticate`]); the one table of [`access`] says
//! whether such a caller may use the route and whether the object in the path is one of theirs; [`idempotency`]
//! answers what was done already; then the handler, which gets the [`Caller`](caller::Caller) as an argument.
//!
//! Bodies are JSON with snake_case names; unknown names are errors. Errors are problem details (RFC 9457) with
//! a stable `reason`. Every change is in the audit trail, in its own transaction. The shapes stand beside the
//! handlers; `docs/openapi.json` is made from them and from the table ([`document`]).

mod access;
mod apps;
mod audit;
mod authenticate;
mod caller;
mod consents;
mod disclosures;
mod document;
mod exports;
mod groups;
mod idempotency;
mod input;
mod mappings;
mod me;
mod members;
mod operations;
mod page;
mod pause;
mod practices;
mod revision;
mod signing_keys;
mod suspension;
mod vendors;

use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, Surface};
use crate::state::ApiState;
use crate::{layers, measure};

pub use document::openapi_document;

/// Where the API begins.
const PREFIX: &str = "/admin/v1";

/// The router of the admin API.
pub fn admin_router(state: ApiState) -> Router {
    let (routes, _document) = OpenApiRouter::new().nest(PREFIX, routes()).split_for_parts();
    let router = routes
        .fallback(async || Problem(ApiError::NoSuchPlace))
        .method_not_allowed_fallback(async || Problem(ApiError::OtherMethod))
        .layer(middleware::from_fn_with_state(state.clone(), idempotency::once))
        .layer(middleware::from_fn_with_state(state.clone(), access::guard))
        .layer(middleware::from_fn(measure::admin))
        .with_state(state);
    layers::wrap(router, Surface::Admin)
}

/// Every route, below [`PREFIX`]. The document is made from the same value.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(me::show))
        .routes(routes!(document::show))
        .merge(vendor_routes())
        .merge(practice_routes())
        .merge(export_routes())
        .merge(operations_routes())
        .routes(routes!(mappings::list))
        .routes(routes!(mappings::show, mappings::put))
        .routes(routes!(audit::events))
        .routes(routes!(audit::seals))
        .routes(routes!(audit::verify))
        .routes(routes!(signing_keys::list, signing_keys::rotate))
        .routes(routes!(signing_keys::retire))
}

fn vendor_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(vendors::list, vendors::create))
        .routes(routes!(vendors::show, vendors::change))
        .routes(routes!(vendors::suspend))
        .routes(routes!(vendors::resume))
        .routes(routes!(apps::list, apps::create))
        .routes(routes!(apps::show, apps::change))
        .routes(routes!(apps::suspend))
        .routes(routes!(apps::resume))
        .routes(routes!(apps::keys::add))
        .routes(routes!(apps::keys::revoke))
        .routes(routes!(apps::refusals::list))
        .routes(routes!(apps::check::check))
}

fn practice_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(practices::list, practices::create))
        .routes(routes!(practices::show, practices::change))
        .routes(routes!(practices::suspend))
        .routes(routes!(practices::resume))
        .routes(routes!(practices::hold::pause))
        .routes(routes!(practices::hold::unpause))
        .routes(routes!(practices::source::refresh))
        .routes(routes!(practices::source::show))
        .routes(routes!(consents::preview))
        .routes(routes!(consents::list, consents::grant))
        .routes(routes!(consents::amend))
        .routes(routes!(consents::revoke))
        .routes(routes!(groups::list))
        .routes(routes!(groups::show, groups::put))
        .routes(routes!(members::list, members::replace, members::change))
}

fn export_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(exports::list))
        .routes(routes!(exports::show))
        .routes(routes!(exports::files))
        .routes(routes!(exports::waiting))
        .routes(routes!(exports::locate))
        .routes(routes!(exports::cancel))
        .routes(routes!(exports::requeue))
        .routes(routes!(disclosures::list))
        .routes(routes!(disclosures::search))
}

fn operations_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(operations::status))
        .routes(routes!(operations::pause))
        .routes(routes!(operations::resume))
        .routes(routes!(operations::leases))
        .routes(routes!(operations::stuck))
        .routes(routes!(operations::waits))
        .routes(routes!(operations::costs))
}

/// An error of the admin API, told as problem details.
pub(crate) struct Problem(ApiError);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.respond(Surface::Admin)
    }
}

impl<E: Into<ApiError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Problem(error.into())
    }
}

type Answer = Result<Response, Problem>;

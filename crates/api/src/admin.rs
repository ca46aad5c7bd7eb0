//! The admin API, `/admin/v1`: what operators do, with the operator's bearer token on a listener of its own.
//!
//! Bodies are JSON with snake_case names; unknown names are errors. Errors are problem details (RFC 9457) with
//! a stable `reason`. Every change is in the audit trail, in its own transaction. `docs/ADMIN_API.md` is the
//! table of routes and shapes; each module's types are the shapes.

mod apps;
mod auth;
mod consents;
mod exports;
mod groups;
mod input;
mod mappings;
mod practices;
mod vendors;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Router, middleware};

use crate::error::{ApiError, Surface};
use crate::layers;
use crate::state::ApiState;

/// The router of everything that operators talk to.
pub fn admin_router(state: ApiState) -> Router {
    let routes = Router::new()
        .route("/vendors", get(vendors::list).post(vendors::create))
        .route("/vendors/{vendor_id}", get(vendors::show))
        .route("/apps", get(apps::list).post(apps::create))
        .route("/apps/{client_id}", get(apps::show))
        .route("/mappings", get(mappings::list))
        .route("/mappings/{name}", get(mappings::show).put(mappings::put))
        .route("/practices", get(practices::list).post(practices::create))
        .route("/practices/{number}", get(practices::show))
        .route("/practices/{number}/refresh", post(practices::refresh))
        .route("/practices/{number}/source", get(practices::source))
        .route("/practices/{number}/consents", get(consents::list).post(consents::grant))
        .route("/practices/{number}/consents/{client_id}/revoke", post(consents::revoke))
        .route("/practices/{number}/groups", get(groups::list))
        .route("/practices/{number}/groups/{group_id}", get(groups::show).put(groups::put_group))
        .route(
            "/practices/{number}/groups/{group_id}/members",
            put(groups::replace_members).post(groups::change_members),
        )
        .route("/practices/{number}/exports", get(exports::list))
        .route("/practices/{number}/exports/{export_id}", get(exports::show))
        .route("/practices/{number}/exports/{export_id}/cancel", post(exports::cancel));
    let router = Router::new()
        .nest("/admin/v1", routes)
        .fallback(async || Problem(ApiError::NoSuchPlace))
        .method_not_allowed_fallback(async || Problem(ApiError::OtherMethod))
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_operator))
        .with_state(state);
    layers::wrap(router, Surface::Admin)
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

//! What surrounds every request: a panic becomes a 500, and answers carry the headers that keep browsers and
//! caches from doing harm with them.

use std::any::Any;

use axum::Router;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::error::{ApiError, Surface};

/// Wraps a router whose unexpected failures are told on `surface`.
pub(crate) fn wrap(router: Router, surface: Surface) -> Router {
    router
        .layer(CatchPanicLayer::custom(move |_: Box<dyn Any + Send + 'static>| panicked(surface)))
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// The panic's own message is not logged: it may quote what was being worked on.
fn panicked(surface: Surface) -> Response {
    ApiError::Unexpected("a handler panicked").respond(surface)
}

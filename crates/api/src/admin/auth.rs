//! Only operators get past here.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;

use super::Problem;
use crate::error::ApiError;
use crate::extract::principal::bearer_token;
use crate::state::ApiState;

/// Refuses a request without the operator's token, before anything else is read of it.
pub(crate) async fn require_operator(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let expected = state.config().operator_token.expose_secret();
    match bearer_token(request.headers()) {
        Some(token) if is_same(token.as_bytes(), expected.as_bytes()) => next.run(request).await,
        _ => Problem(ApiError::NotOperator).into_response(),
    }
}

/// Compares in a time that depends on the lengths alone. An empty token is nobody's.
fn is_same(given: &[u8], expected: &[u8]) -> bool {
    let difference = given.iter().zip(expected).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
    given.len() == expected.len() && !expected.is_empty() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_token_passes() {
        assert!(is_same(b"secret", b"secret"));
        for other in [&b""[..], b"secre", b"secrets", b"Secret", b"secreT"] {
            assert!(!is_same(other, b"secret"));
        }
        assert!(!is_same(b"", b""));
    }
}

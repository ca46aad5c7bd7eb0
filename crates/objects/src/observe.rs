//! What is measured of requests to the bucket, and the span of each.

use std::future::Future;
use std::time::Instant;

use headgate_metrics::storage::{REQUEST_DURATION, REQUESTS};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::{ObjectError, Result};

/// Runs a request: `op` is its label, `method` the name of S3's own operation. Keys are in no attribute: they name exports.
pub(crate) async fn observed<T>(
    op: &'static str,
    method: &'static str,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    let span = tracing::info_span!(
        "s3",
        otel.name = format!("S3/{method}"),
        otel.kind = "client",
        rpc.system.name = "aws-api",
        rpc.method = format!("S3/{method}"),
        error.type = Empty,
        aws.request_id = Empty,
        otel.status_code = Empty,
    );
    let started = Instant::now();
    let result = request.instrument(span.clone()).await;
    let status = status(result.as_ref().err());
    if status != "ok" {
        span.record("error.type", status);
        if let Some(ObjectError::Refused { request: Some(id), .. }) = result.as_ref().err() {
            span.record("aws.request_id", id);
        }
        // Whether something is there is asked, and no is an answer.
        if status != "missing" {
            span.record("otel.status_code", "ERROR");
        }
    }
    REQUESTS.add(1, &[("op", op.into()), ("status", status.into())]);
    REQUEST_DURATION.record(started.elapsed(), &[("op", op.into())]);
    result
}

/// The class of an outcome.
fn status(error: Option<&ObjectError>) -> &'static str {
    match error {
        None => "ok",
        Some(error) if error.is_damage() => "checksum",
        Some(ObjectError::NoAnswer { .. }) => "unavailable",
        Some(ObjectError::Refused { status: 401 | 403, .. } | ObjectError::NoCredentials) => "denied",
        Some(ObjectError::Refused { status: 404, .. }) => "missing",
        Some(ObjectError::Refused { status: 429, .. }) => "throttled",
        Some(ObjectError::Refused { code, .. }) if code == "SlowDown" => "throttled",
        Some(ObjectError::Refused { status: 500.., .. }) => "unavailable",
        Some(_) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_classes() {
        let refused = |status, code: &str| ObjectError::Refused {
            action: "",
            status,
            code: code.to_owned(),
            request: None,
        };
        for (error, class) in [
            (refused(403, "AccessDenied"), "denied"),
            (refused(404, "NoSuchBucket"), "missing"),
            (refused(503, "SlowDown"), "throttled"),
            (refused(400, "BadDigest"), "checksum"),
            (refused(500, "InternalError"), "unavailable"),
            (refused(400, "Other"), "other"),
            (ObjectError::Damaged("length"), "checksum"),
        ] {
            assert_eq!(status(Some(&error)), class, "{error}");
        }
    }
}

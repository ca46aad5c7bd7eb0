//! What can go wrong with the bucket.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;

/// Error codes that S3 gives for what may pass: load, its own faults, expired credentials that are about to be
/// renewed, and a body that was damaged or held up on its way.
const PASSING: [&str; 8] = [
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "ExpiredToken",
    "RequestTimeTooSkewed",
    "OperationAborted",
    "BadDigest",
];

/// An error of the bucket. No text holds an object's content, a signature or a secret.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The server answered no.
    #[error("cannot {action}: the S3 server answered {status} {code}{}", of_request(request.as_deref()))]
    Refused {
        /// What was tried.
        action: &'static str,
        /// HTTP status.
        status: u16,
        /// The server's error code, such as `NoSuchBucket`; empty where it gave none.
        code: String,
        /// What the server calls the request: its people find it by that.
        request: Option<String>,
    },
    /// There was no answer, or none that could be understood.
    #[error("cannot {action}: {cause}")]
    NoAnswer {
        /// What was tried.
        action: &'static str,
        /// In general words: the client's own text may hold a signed URL.
        cause: &'static str,
    },
    /// The object that the server has is not the one that was sent.
    #[error("the stored object is not what was sent: its {0} differs")]
    Damaged(&'static str),
    /// There are no credentials, neither in the configuration nor in the environment.
    #[error(
        "there are no credentials for S3: set s3.access_key_id and s3.secret_access_key, or one of AWS's own ways"
    )]
    NoCredentials,
    /// A prefix that covers more than one export, or that matches inside a name.
    #[error("a prefix must have at least two segments and end in a slash")]
    Prefix,
    /// A link cannot be signed for this long.
    #[error("a link cannot be signed: {0}")]
    Link(&'static str),
}

impl ObjectError {
    /// Whether trying again later can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            ObjectError::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || PASSING.contains(&code.as_str())
            }
            ObjectError::NoAnswer { .. } | ObjectError::Damaged(_) => true,
            ObjectError::NoCredentials | ObjectError::Prefix | ObjectError::Link(_) => false,
        }
    }

    /// Whether what arrived is not what was sent, as we saw or as the server did.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            ObjectError::Damaged(_) => true,
            ObjectError::Refused { code, .. } => code == "BadDigest",
            _ => false,
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ObjectError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn of_request(id: Option<&str>) -> String {
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
}

/// Turns an error of the SDK into ours, for the named action.
pub(crate) fn refused<E: ProvideErrorMetadata>(action: &'static str) -> impl Fn(SdkError<E>) -> ObjectError {
    move |error| match error {
        SdkError::ServiceError(answer) => ObjectError::Refused {
            action,
            status: answer.raw().status().as_u16(),
            code: answer.err().code().unwrap_or_default().to_owned(),
            request: answer.raw().headers().request_id().map(ToOwned::to_owned),
        },
        SdkError::TimeoutError(_) => {
            ObjectError::NoAnswer { action, cause: "the S3 server did not answer in time" }
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            ObjectError::NoAnswer { action, cause: "the S3 server did not answer in time" }
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            ObjectError::NoAnswer { action, cause: "the S3 server cannot be reached" }
        }
        SdkError::DispatchFailure(_) => ObjectError::NoAnswer {
            action,
            cause: "no credentials for S3 could be had, or the connection failed",
        },
        SdkError::ResponseError(_) => {
            ObjectError::NoAnswer { action, cause: "the S3 server's answer cannot be understood" }
        }
        _ => ObjectError::NoAnswer { action, cause: "the request could not be made" },
    }
}

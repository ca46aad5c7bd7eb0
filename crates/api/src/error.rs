//! Every way in which a request ends other than as hoped, and how each is told.
//!
//! There is one enum and one exhaustive match from it to status, reason, text and headers. Three
//! surfaces render the result in their own form: FHIR endpoints as an `OperationOutcome`, the token
//! endpoint as OAuth JSON (RFC 6749, section 5.2), the admin API as problem details (RFC 9457). Failures of
//! our own are logged here, once.

mod parts;
mod render;

use std::collections::BTreeSet;
use std::time::Duration;

use headgate_auth::{AccessTokenError, KeyError, KeySetError, KeyringError};
use headgate_domain::ResourceType;
use headgate_domain::authorize::Denied;
use headgate_domain::outcome::Issue;
use headgate_store::KickOffError;

pub(crate) use render::Surface;

/// Why a request is refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No practice or no operation has this URL.
    #[error("nothing stands at this URL")]
    NoSuchPlace,
    /// The document of one practice is asked for where several stand; the URL of the list of all practices.
    #[error("several practices stand below this host")]
    SeveralPractices(String),
    /// The operation does not take this method; these it does.
    #[error("the method is not allowed")]
    MethodNotAllowed(&'static str),
    /// The operation does not take this method; the router names those it does.
    #[error("the method is not allowed")]
    OtherMethod,
    /// No access token came with the request.
    #[error("no access token")]
    NoToken,
    /// The access token is not good.
    #[error(transparent)]
    BadToken(AccessTokenError),
    /// The access token was revoked by its client.
    #[error("the access token was revoked")]
    TokenRevoked,
    /// The keys of an issuer of tokens cannot be had.
    #[error(transparent)]
    IssuerKeys(KeySetError),
    /// The token is good, at another practice.
    #[error("the token is for another practice")]
    OtherPractice,
    /// The practice does not (any longer) consent, or practice or app are suspended.
    #[error("no consent in force")]
    NoConsent,
    /// The token is too narrow for what is asked: an export's files are read with all of its types.
    #[error("the token does not cover every type of the export")]
    TooNarrow(BTreeSet<ResourceType>),
    /// Groups are asked for with a token or under a consent that does not cover Patient.
    #[error("groups need Patient to be covered")]
    GroupsNeedPatient,
    /// No such group, or none that the consent covers.
    #[error("no such group")]
    NoSuchGroup,
    /// The kick-off is not well-formed.
    #[error("the request is not well-formed")]
    BadRequest(Vec<Issue>),
    /// The kick-off is well-formed and not permitted.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The export was permitted, but may not start.
    #[error(transparent)]
    NotStarted(#[from] KickOffError),
    /// The practice's source was never looked at.
    #[error("the practice's source was never looked at")]
    NeverRefreshed,
    /// No export, or none that this client may see, or one that was deleted, revoked or has expired.
    #[error("no such export")]
    NoSuchExport,
    /// The export is polled far too often.
    #[error("the export is polled too often")]
    PolledTooOften,
    /// No file, or none that this client may see, or one of an export that has ended.
    #[error("no such file")]
    NoSuchFile,
    /// No attachment, or none in an export of this client that is still there.
    #[error("no such attachment")]
    NoSuchAttachment,
    /// The token or the consent does not cover the type of a file.
    #[error("the token does not cover the type of the file")]
    FileBeyondScope(ResourceType),
    /// The export that is polled failed.
    #[error("the export failed")]
    ExportFailed(Option<String>),
    /// The body is of a type that is not read here.
    #[error("the body is not JSON")]
    UnsupportedMediaType,
    /// The body is longer than permitted.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The body did not arrive in time, or broke off.
    #[error("the body did not arrive")]
    BodyIncomplete,
    /// A refusal of the token endpoint.
    #[error("{description}")]
    OAuth {
        /// The code of RFC 6749, section 5.2, or RFC 8707.
        error: OAuthError,
        /// What is wrong, for the vendor's developer.
        description: String,
        /// A stable code for logs.
        reason: &'static str,
    },
    /// Who asks for introspection did not prove who they are.
    #[error("{description}")]
    NotAuthenticated {
        /// What is wrong, for the vendor's developer.
        description: String,
        /// A stable code for logs.
        reason: &'static str,
    },
    /// Too many token requests of one address or app; when the next one will be admitted.
    #[error("too many token requests")]
    TooManyTokenRequests(Duration),
    /// No answer was found within the time that a request may take.
    #[error("no answer was found in time")]
    TookTooLong,
    /// This server does too much of something at once.
    #[error("too much at once")]
    Busy,
    /// A request of the admin API without a token, or with one that is not good: why.
    #[error("no admin token, or not a good one")]
    Unauthorized(Option<String>),
    /// The role of the token, or what it is bound to, does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The object is at another revision than the request demands.
    #[error("the object is at another revision")]
    PreconditionFailed,
    /// The idempotency key stands for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The deed under this idempotency key was begun, and its answer is not known.
    #[error("the answer to the deed is not known")]
    AnswerUnknown,
    /// A body or path of the admin API breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// What a request of the admin API is about does not exist.
    #[error("no such {0}")]
    Missing(&'static str),
    /// The state of things does not allow it.
    #[error("{detail}")]
    Conflict {
        /// A stable code.
        reason: &'static str,
        /// What stands in the way.
        detail: &'static str,
    },
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] headgate_store::Error),
    /// A link could not be signed.
    #[error(transparent)]
    Link(#[from] headgate_objects::ObjectError),
    /// A token could not be signed, or a stored key not be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Something that cannot be happened all the same.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// The error codes of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OAuthError {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    /// RFC 8707, section 2.
    InvalidTarget,
}

impl OAuthError {
    pub(crate) fn code(self) -> &'static str {
        match self {
            OAuthError::InvalidRequest => "invalid_request",
            OAuthError::InvalidClient => "invalid_client",
            OAuthError::UnauthorizedClient => "unauthorized_client",
            OAuthError::UnsupportedGrantType => "unsupported_grant_type",
            OAuthError::InvalidScope => "invalid_scope",
            OAuthError::InvalidTarget => "invalid_target",
        }
    }

    /// A refusal with this code, of which the code says enough for logs.
    pub(crate) fn because(self, description: impl Into<String>) -> ApiError {
        ApiError::OAuth { error: self, description: description.into(), reason: self.code() }
    }
}

#[cfg(test)]
mod tests;

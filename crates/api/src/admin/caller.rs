//! Who sent a request: a value that handlers take as an argument, so that none can forget whose deed it is.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use headgate_auth::admin_token::{AdminIdentity, AdminRole};
use headgate_domain::PracticeNumber;
use headgate_store::{Audit, Idempotency};
use http::request::Parts;
use serde_json::json;
use uuid::Uuid;

use super::Problem;
use crate::error::ApiError;
use crate::state::ApiState;

/// Somebody whose token was good and whose role may use the route.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    identity: Arc<AdminIdentity>,
    key: Option<Idempotency>,
}

impl Caller {
    pub(super) fn new(identity: AdminIdentity) -> Self {
        Self { identity: Arc::new(identity), key: None }
    }

    /// The same caller, whose deed is to be done once under this key.
    pub(super) fn with_key(&self, key: Idempotency) -> Self {
        Self { identity: Arc::clone(&self.identity), key: Some(key) }
    }

    pub(super) fn identity(&self) -> &AdminIdentity {
        &self.identity
    }

    pub(super) fn role(&self) -> &AdminRole {
        &self.identity.role
    }

    /// The role as tokens and audit events have it.
    pub(super) fn role_name(&self) -> &'static str {
        match self.role() {
            AdminRole::Operator => "operator",
            AdminRole::PracticeAdmin(_) => "practice_admin",
            AdminRole::Vendor(_) => "vendor",
        }
    }

    /// The token's subject.
    pub(super) fn subject(&self) -> &str {
        &self.identity.subject
    }

    /// The practice that an administrator of a practice is bound to.
    pub(super) fn practice(&self) -> Option<PracticeNumber> {
        match self.role() {
            AdminRole::PracticeAdmin(number) => Some(*number),
            AdminRole::Operator | AdminRole::Vendor(_) => None,
        }
    }

    /// The vendor that a vendor is bound to.
    pub(super) fn vendor(&self) -> Option<Uuid> {
        match self.role() {
            AdminRole::Vendor(id) => Some(*id),
            AdminRole::Operator | AdminRole::PracticeAdmin(_) => None,
        }
    }

    /// Who did something: a name that an operator may give in place of their own.
    ///
    /// # Errors
    /// 403 when somebody else gives one: theirs is the token's subject.
    pub(super) fn acting_as(&self, field: &'static str, given: Option<&str>) -> Result<String, ApiError> {
        match (given, self.role()) {
            (None, _) => Ok(self.subject().to_owned()),
            (Some(name), AdminRole::Operator) => super::input::text(field, name),
            (Some(_), _) => Err(ApiError::Forbidden("only an operator may name somebody else")),
        }
    }

    /// The beginning of an audit event of this caller. At most one event of a request may be recorded with it
    /// when it stands for a change: the key of the deed goes with it.
    pub(super) fn audit(&self, action: &'static str) -> Audit {
        // The same name at two issuers is two people.
        let audit = Audit::new(format!("{} {}", self.role_name(), self.subject()), action)
            .and(json!({ "issuer": self.identity.issuer }));
        match &self.key {
            Some(key) => audit.idempotent(key.clone()),
            None => audit,
        }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or(Problem(ApiError::Unexpected("a handler was reached without a caller")))
    }
}

//! Everybody who may knock.

use anyhow::Result;
use headgate_auth::admin_token::{AdminIssuer, AdminRole};
use headgate_domain::PracticeNumber;
use serde_json::json;

use super::estate::Estate;
use crate::TestApp;

/// A role of a good token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Operator,
    PracticeAdmin,
    Vendor,
}

impl Role {
    /// As `x-headgate-roles` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::PracticeAdmin => "practice_admin",
            Role::Vendor => "vendor",
        }
    }
}

/// Somebody.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) name: &'static str,
    /// `None` where the token is not good here.
    pub(super) role: Option<Role>,
    pub(super) token: Option<String>,
}

/// All of them.
pub(super) async fn all(app: &TestApp, estate: &Estate) -> Result<Vec<Caller>> {
    let admin = app.admin();
    let issuer = AdminIssuer::builtin();
    let signed = |audience: &str, lifetime_s: i64| {
        let now = chrono::Utc::now().timestamp();
        let mut claims =
            json!({ "iss": issuer.issuer, "aud": audience, "sub": "matrix", "exp": now + lifetime_s });
        claims[&issuer.role_claim] = issuer.operator_value.as_str().into();
        admin.key().sign(&claims)
    };
    let practice = AdminRole::PracticeAdmin(PracticeNumber::new(estate.practice().number)?);
    let vendor = AdminRole::Vendor(estate.app().vendor_id.parse()?);
    let good = |name, role, token: String| Caller { name, role: Some(role), token: Some(token) };
    let bad = |name, token: Option<String>| Caller { name, role: None, token };
    Ok(vec![
        bad("none", None),
        bad("garbage", Some("garbage".to_owned())),
        bad("expired", Some(signed(&issuer.audience, -3600)?)),
        bad("wrong audience", Some(signed("somebody-else", 3600)?)),
        bad("access token", Some(app.token(estate.practice(), estate.app(), "system/*.rs").await?)),
        bad("client assertion", Some(estate.app().assertion(admin.url())?)),
        good("operator", Role::Operator, admin.token().to_owned()),
        good("practice_admin", Role::PracticeAdmin, admin.acting_as("matrix", &practice)?.token().to_owned()),
        good("vendor", Role::Vendor, admin.acting_as("matrix", &vendor)?.token().to_owned()),
    ])
}

//! What takes authority away, and what gives it back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::sqlx::types::chrono::Utc;
use headgate_testkit::{Answer, TestApp};

use super::Case;

/// A way to take authority away from an export of everything at system level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Revoke,
    Expire,
    NarrowScopes,
    NarrowGroups,
    NarrowApp,
    SuspendApp,
    SuspendVendor,
    SuspendPractice,
}

/// What the token endpoint makes of a request for everything afterwards.
pub enum Token {
    Refused,
    /// A token for Patient alone.
    OfPatients,
    Granted,
}

impl Deed {
    pub const ALL: [Self; 8] = [
        Self::Revoke,
        Self::Expire,
        Self::NarrowScopes,
        Self::NarrowGroups,
        Self::NarrowApp,
        Self::SuspendApp,
        Self::SuspendVendor,
        Self::SuspendPractice,
    ];

    pub fn token(self) -> Token {
        match self {
            Self::Revoke | Self::Expire | Self::SuspendApp | Self::SuspendVendor | Self::SuspendPractice => {
                Token::Refused
            }
            Self::NarrowScopes | Self::NarrowApp => Token::OfPatients,
            Self::NarrowGroups => Token::Granted,
        }
    }

    /// The status of a poll of the export. Where the app still may have something here, it is told that this export is
    /// more than it may have.
    pub fn poll(self) -> u16 {
        if matches!(self.token(), Token::OfPatients) { 403 } else { 404 }
    }

    /// Takes the authority away; at least so many exports have to end in the deed itself, and at most the one of the case.
    pub async fn strike(self, app: &TestApp, case: &Case, least: u64) -> Result<()> {
        let ended = |answer: &Value| ended(answer, least);
        match self {
            Self::Revoke => ended(&app.revoke(&case.practice, &case.vendor).await?),
            Self::Expire => {
                let at = Utc::now() + Duration::from_millis(1500);
                let changed = amend(app, case, &json!({ "expires_at": at.to_rfc3339() })).await?;
                ensure!(changed["ended_exports"] == 0, "{changed}");
                tokio::time::sleep(Duration::from_millis(1600)).await;
                Ok(())
            }
            Self::NarrowScopes => ended(&amend(app, case, &json!({ "scopes": "system/Patient.rs" })).await?),
            Self::NarrowGroups => ended(&amend(app, case, &json!({ "group_ids": ["g"] })).await?),
            Self::NarrowApp => scopes(app, case, "system/Patient.rs").await,
            Self::SuspendApp | Self::SuspendVendor | Self::SuspendPractice => {
                let path = format!("{}/suspend", self.whom(case));
                ended(&ok(app.admin().post(&path, &json!({ "reason": "test" })).await?)?)
            }
        }
    }

    /// Gives the authority back.
    pub async fn undo(self, app: &TestApp, case: &Case) -> Result<()> {
        match self {
            Self::Revoke | Self::Expire => app.consent(&case.practice, &case.vendor).await.map(drop),
            Self::NarrowScopes => amend(app, case, &json!({ "scopes": "system/*.rs" })).await.map(drop),
            Self::NarrowGroups => amend(app, case, &json!({ "group_ids": null })).await.map(drop),
            Self::NarrowApp => scopes(app, case, "system/*.rs").await,
            Self::SuspendApp | Self::SuspendVendor | Self::SuspendPractice => {
                let path = format!("{}/resume", self.whom(case));
                ok(app.admin().post(&path, &json!({})).await?).map(drop)
            }
        }
    }

    fn whom(self, case: &Case) -> String {
        match self {
            Self::SuspendApp => format!("apps/{}", case.vendor.client_id),
            Self::SuspendVendor => format!("vendors/{}", case.vendor.vendor_id),
            _ => format!("practices/{}", case.practice.number),
        }
    }
}

/// Puts another consent in the place of the one in force.
pub async fn amend(app: &TestApp, case: &Case, change: &Value) -> Result<Value> {
    let path = format!("practices/{}/consents/{}", case.practice.number, case.vendor.client_id);
    ok(app.admin().put(&path, change).await?)
}

async fn scopes(app: &TestApp, case: &Case, scopes: &str) -> Result<()> {
    let path = format!("apps/{}", case.vendor.client_id);
    ok(app.admin().patch(&path, &json!({ "scopes": scopes })).await?).map(drop)
}

fn ok(answer: Answer) -> Result<Value> {
    answer.expect(200)?.json()
}

/// At most the one export of the case ended.
fn ended(answer: &Value, least: u64) -> Result<()> {
    let count = answer["ended_exports"].as_u64().context("it is not said how many exports ended")?;
    ensure!((least..=1).contains(&count), "{count} exports ended");
    Ok(())
}

//! What the requests name: one of each thing that is the caller's, one that is somebody else's.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Whose;
use crate::{AppHandle, Level, Practice, TestApp};

/// The ids that a request's path and body are filled with.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    pub(super) number: String,
    pub(super) vendor_id: String,
    pub(super) client_id: String,
    pub(super) kid: String,
    pub(super) group_id: String,
    pub(super) export_id: String,
    pub(super) name: String,
}

impl Ids {
    fn unknown() -> Self {
        Self {
            number: "987654".to_owned(),
            vendor_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            client_id: format!("fhir{}", "0".repeat(50)),
            kid: "no-such-key".to_owned(),
            group_id: "9.9".to_owned(),
            export_id: "0".repeat(32),
            name: "no-such-set".to_owned(),
        }
    }

    /// A path template with these ids.
    pub(super) fn fill(&self, path: &str) -> String {
        [
            ("{number}", &self.number),
            ("{vendor_id}", &self.vendor_id),
            ("{client_id}", &self.client_id),
            ("{kid}", &self.kid),
            ("{group_id}", &self.group_id),
            ("{export_id}", &self.export_id),
            ("{name}", &self.name),
        ]
        .into_iter()
        .fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
    }

    /// The practice or the app of one, what is below it of another. Below a practice, apps are what is consented to.
    fn below(path: &str, outer: Self, inner: Self) -> Self {
        if path.starts_with("/apps") {
            Self { kid: inner.kid, ..outer }
        } else {
            Self { number: outer.number, ..inner }
        }
    }
}

/// Both sides.
#[derive(Debug)]
pub(super) struct Estate {
    own: Side,
    foreign: Side,
    /// The id of a key of access tokens.
    signing_kid: String,
}

#[derive(Debug)]
struct Side {
    practice: Practice,
    app: AppHandle,
    export_id: String,
    group_id: String,
}

impl Estate {
    pub(super) async fn build(app: &TestApp) -> Result<Self> {
        super::examples::put_mapping(app).await?;
        let keys = app.admin().get("signing-keys").await?.expect(200)?.json()?;
        let signing_kid =
            keys["signing_keys"][0]["kid"].as_str().context("no key of access tokens")?.to_owned();
        let own = Side::build(app, 800_001, "own", "1.1").await?;
        let foreign = Side::build(app, 800_002, "foreign", "2.2").await?;
        Ok(Self { own, foreign, signing_kid })
    }

    /// The caller's practice.
    pub(super) fn practice(&self) -> &Practice {
        &self.own.practice
    }

    /// The caller's app.
    pub(super) fn app(&self) -> &AppHandle {
        &self.own.app
    }

    /// The ids for a path template.
    pub(super) fn ids(&self, path: &str, whose: Whose) -> Ids {
        let own = self.own.ids();
        match whose {
            // Keys of access tokens are in no app.
            Whose::Own if path.starts_with("/signing-keys") => Ids { kid: self.signing_kid.clone(), ..own },
            Whose::Own => own,
            Whose::Foreign => self.foreign.ids(),
            Whose::Unknown => Ids::unknown(),
            Whose::ForeignBelow => Ids::below(path, own, self.foreign.ids()),
            Whose::UnknownBelow => Ids::below(path, own, Ids::unknown()),
        }
    }
}

impl Side {
    async fn build(app: &TestApp, number: i64, slug: &str, group_id: &str) -> Result<Self> {
        let practice = app.practice(number, slug).create().await?;
        practice.insert("Patient", "p1", Some("p1")).await?;
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        app.consent(&practice, &vendor).await?;
        app.group(&practice, group_id, &["p1"]).await?;
        let client = app.client(&practice, &vendor).await?;
        let url = client.start(&Level::Patient, &[]).await?;
        client.wait_complete(&url).await?;
        let export_id = url.rsplit('/').next().context("a status URL ends with the id")?.to_owned();
        Ok(Self { practice, app: vendor, export_id, group_id: group_id.to_owned() })
    }

    fn ids(&self) -> Ids {
        Ids {
            number: self.practice.number.to_string(),
            vendor_id: self.app.vendor_id.clone(),
            client_id: self.app.client_id.clone(),
            kid: self.app.key.kid().to_owned(),
            group_id: self.group_id.clone(),
            export_id: self.export_id.clone(),
            name: super::examples::MAPPING.to_owned(),
        }
    }
}

/// The body of a new consent to an app.
pub(super) fn consent_to(client_id: &str) -> serde_json::Value {
    json!({ "client_id": client_id })
}

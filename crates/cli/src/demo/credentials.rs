//! `credentials.json`: everything that one needs to go on by hand, for its owner's eyes only.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use super::databases::Databases;
use super::engine::{Engine, REGION};
use super::folder::Folder;
use super::registration::{GROUP, Registered};
use super::running::Bucket;
use super::secrets::Secrets;

/// The name of the file.
pub(super) const FILE: &str = "credentials.json";
/// The name of the file with the app's private key alone.
pub(super) const KEY_FILE: &str = "key.jwk";
/// The name of the file with the operator's token alone.
pub(super) const TOKEN_FILE: &str = "operator.token";

/// The content of the file.
#[derive(Serialize)]
pub(super) struct Credentials {
    pub(super) public_url: String,
    pub(super) admin_url: String,
    pub(super) private_url: String,
    pub(super) operator_token: String,
    /// What protects stored secrets.
    pub(super) encryption_key: String,
    /// What clients have to trust, where the listeners have TLS.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) client_id: String,
    pub(super) private_jwk: Value,
    pub(super) practices: Vec<PracticeAccess>,
    pub(super) control_database_url: String,
    pub(super) s3: S3Access,
}

/// How a practice is reached.
#[derive(Serialize)]
pub(super) struct PracticeAccess {
    pub(super) number: i64,
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    pub(super) base_url: String,
    pub(super) token_url: String,
    pub(super) group_ids: Vec<&'static str>,
    /// The EHR database, to do anything.
    pub(super) database_url: String,
    /// The EHR database as the engine reads it.
    pub(super) reader_url: String,
}

/// How the bucket is reached.
#[derive(Serialize)]
pub(super) struct S3Access {
    pub(super) endpoint: String,
    pub(super) region: &'static str,
    pub(super) bucket: &'static str,
    pub(super) path_style: bool,
    pub(super) access_key_id: &'static str,
    pub(super) secret_access_key: String,
}

impl Credentials {
    pub(super) fn new(
        engine: Engine,
        secrets: &Secrets,
        databases: &Databases,
        bucket: Bucket,
        registered: &Registered,
    ) -> Result<Self> {
        let practices = databases.ehrs.iter().zip(&registered.practices).enumerate();
        let practices = practices.map(|(place, (ehr, address))| PracticeAccess {
            number: ehr.practice.number,
            slug: ehr.practice.slug,
            name: ehr.practice.name,
            base_url: address.base_url.clone(),
            token_url: address.token_url.clone(),
            // The group is one of the first practice.
            group_ids: if place == 0 { vec![GROUP] } else { Vec::new() },
            database_url: ehr.owner_url.clone(),
            reader_url: ehr.reader_url.clone(),
        });
        Ok(Self {
            public_url: engine.public_url,
            admin_url: engine.admin_url,
            private_url: engine.private_url,
            operator_token: secrets.operator_token.clone(),
            encryption_key: secrets.encryption_key.clone(),
            ca_file: secrets.certificate.as_ref().map(|certificate| certificate.ca_file.clone()),
            client_id: registered.client_id.clone(),
            private_jwk: serde_json::from_str(&registered.private_jwk)
                .context("the private key is no JSON")?,
            practices: practices.collect(),
            control_database_url: databases.control.clone(),
            s3: S3Access {
                endpoint: bucket.endpoint,
                region: REGION,
                bucket: bucket.name,
                path_style: true,
                access_key_id: bucket.access_key_id,
                secret_access_key: bucket.secret_access_key,
            },
        })
    }

    /// Writes `credentials.json`, and two of its parts in the form that commands want.
    pub(super) fn write(&self, folder: &Folder) -> Result<()> {
        folder.write_secret(KEY_FILE, &self.private_jwk.to_string())?;
        folder.write_secret(TOKEN_FILE, &self.operator_token)?;
        folder.write_secret(FILE, &format!("{}\n", serde_json::to_string_pretty(self)?))?;
        Ok(())
    }
}

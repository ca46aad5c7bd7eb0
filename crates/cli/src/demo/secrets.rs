//! What an operator sets up before the first start: the key that protects stored secrets, the key of the built-in
//! issuer with a first token for the admin API, and with `--tls` a certificate.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headgate_auth::{AdminRole, Algorithm, PrivateKey, admin_token, jwks_document};

use super::certificate::Certificate;
use super::folder::Folder;

/// The name of the file with the private key that tokens for the admin API are minted with.
pub(super) const ADMIN_KEY_FILE: &str = "admin.jwk";

/// What the audit trail calls the demo's operator.
const OPERATOR: &str = "demo";

/// As long as somebody may leave a demo up.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The secrets of one run.
#[derive(Debug)]
pub(super) struct Secrets {
    /// What protects stored secrets, in base64.
    pub(super) encryption_key: String,
    /// The file with the public key of the built-in issuer.
    pub(super) admin_jwks_file: PathBuf,
    /// The operator's token for the admin API.
    pub(super) operator_token: String,
    /// The certificate, if the listeners have TLS.
    pub(super) certificate: Option<Certificate>,
}

impl Secrets {
    /// Makes all of them anew.
    pub(super) fn make(folder: &Folder, tls: bool, listen: IpAddr) -> Result<Self> {
        let admin_key = PrivateKey::generate(Algorithm::Es384)?;
        folder.write_secret(ADMIN_KEY_FILE, &admin_key.to_private_jwk()?)?;
        let public = jwks_document([admin_key.public_jwk()]).to_string();
        Ok(Self {
            encryption_key: STANDARD.encode(rand::random::<[u8; 32]>()),
            admin_jwks_file: folder.write_secret("admin.jwks", &public)?,
            operator_token: admin_token::issue(&admin_key, OPERATOR, &AdminRole::Operator, TOKEN_LIFETIME)?,
            certificate: tls.then(|| Certificate::make(folder, listen)).transpose()?,
        })
    }

    /// What clients trust besides the certificates of the system.
    pub(super) fn ca_pem(&self) -> Option<&[u8]> {
        self.certificate.as_ref().map(|certificate| certificate.ca_pem.as_bytes())
    }
}

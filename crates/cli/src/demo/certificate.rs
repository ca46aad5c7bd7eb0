//! A certificate for this machine, and the authority that it is from, for `--tls`.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Datelike as _, Days, Months, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::folder::Folder;

/// The name of the file that clients trust.
pub(super) const CA_FILE: &str = "ca.pem";

/// A certificate in the demo's folder.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The authority, for clients.
    pub(super) ca_pem: String,
    /// The file of the authority.
    pub(super) ca_file: PathBuf,
    /// The file of the certificate.
    pub(super) cert_file: PathBuf,
    /// The file of its key.
    pub(super) key_file: PathBuf,
}

impl Certificate {
    /// Makes both anew; the authority's own key is kept nowhere.
    pub(super) fn make(folder: &Folder, listen: IpAddr) -> Result<Self> {
        let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = server(listen)?.signed_by(&key, &authority)?;
        let ca_pem = authority.pem();
        Ok(Self {
            ca_file: folder.write_secret(CA_FILE, &ca_pem)?,
            cert_file: folder.write_secret("tls.pem", &certificate.pem())?,
            key_file: folder.write_secret("tls.key", &key.serialize_pem())?,
            ca_pem,
        })
    }
}

fn authority() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    named(params, "Headgate demo authority")
}

/// For the names by which this machine reaches itself, and the address that is listened on.
fn server(listen: IpAddr) -> Result<CertificateParams> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let listen = listen.to_string();
    if !names.contains(&listen) {
        names.push(listen);
    }
    let mut params = CertificateParams::new(names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    named(params, "Headgate demo")
}

/// Gives a certificate its name and a year, beginning yesterday because clocks differ.
fn named(mut params: CertificateParams, name: &str) -> Result<CertificateParams> {
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    let now = Utc::now();
    let (begin, end) = now
        .checked_sub_days(Days::new(1))
        .zip(now.checked_add_months(Months::new(12)))
        .context("the clock is wrong")?;
    let midnight = |moment: DateTime<Utc>| {
        // A month and a day of a month fit.
        date_time_ymd(moment.year(), moment.month() as u8, moment.day() as u8)
    };
    (params.not_before, params.not_after) = (midnight(begin), midnight(end));
    Ok(params)
}

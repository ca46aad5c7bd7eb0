//! TLS of a listener: a certificate and its key from two PEM files, which are read again when they change.
//!
//! Certificates are renewed while a server runs (Kubernetes and certbot replace the files), so each handshake
//! uses what was read last, and [`Tls::watch`] looks at the files every minute. A new pair that cannot be
//! used, as when only one of the two files has been replaced yet, leaves the old one in force and is tried
//! again when a file changes once more. One that cannot be read is tried again each time: what stands in the way may
//! be no change of the file. A certificate that will end soon is a warning once a day: whoever renews it has not.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use headgate_metrics::lifecycle::CERTIFICATE_REMAINING;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config;
use crate::lifecycle::Lifecycle;

/// The option that names the certificate.
const CERT: &str = "server.tls.cert_file";

/// The option that names the key.
const KEY: &str = "server.tls.key_file";

/// HTTP/2, as the handshake names it (RFC 7301; RFC 9113, section 3.2).
const HTTP2: &[u8] = b"h2";

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A certificate that ends within this was not renewed when it should have been: those that live shortest, for 90
/// days, are renewed 30 days before their end.
const ENDS_SOON: Duration = Duration::from_secs(21 * 86_400);

/// How often it is said that the certificate ends soon.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// Why a certificate and its key cannot be used. The texts hold no key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{option}: {} cannot be read: {source}", path.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of the certificate has none.
    #[error("{CERT}: {} must hold the certificate in PEM, then those that issued it", .0.display())]
    NoCertificate(PathBuf),
    /// The file of the key has none.
    #[error("{KEY}: {} must hold the private key in PEM, without a passphrase", .0.display())]
    NoKey(PathBuf),
    /// The two are not of each other, or of a kind that is not supported.
    #[error("{KEY}: the key cannot be used with the certificate of {CERT}: {0}")]
    Unfit(rustls::Error),
}

/// A certificate and its key. Clones share them, so that all listeners change to new ones at once.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cert_file: PathBuf,
    key_file: PathBuf,
    in_force: RwLock<InForce>,
}

#[derive(Debug)]
struct InForce {
    config: Arc<ServerConfig>,
    /// The end of the certificate's validity; `None` if it cannot be read from it.
    ends: Option<SystemTime>,
    /// The files as they were when they were last looked into, whether or not what they held could be used.
    read: Stamps,
    /// Whether a file could not be read then.
    unread: bool,
}

/// What tells a file from its successor, for both files.
type Stamps = [Option<Stamp>; 2];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    /// Owner and mode count too, and a file may be replaced with its time kept.
    changed: (i64, i64),
    inode: u64,
    bytes: u64,
}

impl Tls {
    /// Reads the files that the configuration names; `None` if it names none.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_config(config: &config::Tls) -> Result<Option<Self>, TlsError> {
        if config.cert_file.is_empty() && config.key_file.is_empty() {
            return Ok(None);
        }
        Self::open(Path::new(&config.cert_file), Path::new(&config.key_file)).map(Some)
    }

    /// Reads a certificate with its chain, and its key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        // Before the files are read: a change after this is seen by the next look.
        let read = stamps(cert_file, key_file);
        let (config, ends) = read_pair(cert_file, key_file)?;
        let (cert_file, key_file) = (cert_file.to_path_buf(), key_file.to_path_buf());
        let in_force = RwLock::new(InForce { config, ends, read, unread: false });
        Ok(Self(Arc::new(Inner { cert_file, key_file, in_force })))
    }

    /// Time until the certificate in force ends, zero when it has; `None` if that cannot be read from it.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let ends = self.0.in_force.read().unwrap_or_else(PoisonError::into_inner).ends?;
        Some(ends.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Looks for new files from now on, as a task of the process.
    pub fn watch(&self, life: &Lifecycle) {
        let (tls, soft) = (self.clone(), life.soft());
        life.spawn("certificate watch", async move {
            let mut warned: Option<Instant> = None;
            loop {
                if let Some(remaining) = tls.remaining() {
                    CERTIFICATE_REMAINING.set(remaining.as_secs_f64(), &[]);
                }
                if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) && tls.warn_of_its_end() {
                    warned = Some(Instant::now());
                }
                tokio::select! {
                    () = soft.cancelled() => return Ok::<(), String>(()),
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                let looking = tls.clone();
                tokio::task::spawn_blocking(move || looking.look())
                    .await
                    .map_err(|_| "the look panicked".to_owned())?;
            }
        });
    }

    /// Whether there was something to warn of.
    fn warn_of_its_end(&self) -> bool {
        let soon = self.remaining().filter(|remaining| *remaining < ENDS_SOON);
        if let Some(remaining) = soon {
            let days = remaining.as_secs() / 86_400;
            tracing::warn!(days, "the certificate of the public and the admin listener ends soon: renew it");
        }
        soon.is_some()
    }

    /// Reads the files again if they have changed, or could not be read.
    fn look(&self) {
        let Inner { cert_file, key_file, in_force } = &*self.0;
        let found = stamps(cert_file, key_file);
        let (changed, unread) = {
            let in_force = in_force.read().unwrap_or_else(PoisonError::into_inner);
            (found != in_force.read, in_force.unread)
        };
        if !changed && !unread {
            return;
        }
        let pair = read_pair(cert_file, key_file);
        let mut in_force = in_force.write().unwrap_or_else(PoisonError::into_inner);
        in_force.read = found;
        in_force.unread = matches!(pair, Err(TlsError::File { .. }));
        match pair {
            Ok((config, ends)) => {
                (in_force.config, in_force.ends) = (config, ends);
                tracing::info!("the certificate was read again");
            }
            // Of files that stay as they are it was said already.
            Err(TlsError::File { .. }) if !changed => {}
            Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one stays"),
        }
    }

    /// Does the handshake of a connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.in_force.read().unwrap_or_else(PoisonError::into_inner).config);
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// Whether the handshake has agreed on HTTP/2.
pub(super) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

fn stamps(cert_file: &Path, key_file: &Path) -> Stamps {
    [cert_file, key_file].map(|path| {
        std::fs::metadata(path).ok().map(|data: Metadata| Stamp {
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
            inode: data.ino(),
            bytes: data.len(),
        })
    })
}

/// What to serve with, and when the certificate ends.
fn read_pair(cert_file: &Path, key_file: &Path) -> Result<(Arc<ServerConfig>, Option<SystemTime>), TlsError> {
    let no_certificate = || TlsError::NoCertificate(cert_file.to_path_buf());
    let chain = CertificateDer::pem_slice_iter(&read(CERT, cert_file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| no_certificate())?;
    if chain.is_empty() {
        return Err(no_certificate());
    }
    let ends = chain.first().and_then(end_of);
    let key = PrivateKeyDer::from_pem_slice(&read(KEY, key_file)?)
        .map_err(|_| TlsError::NoKey(key_file.to_path_buf()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        // TLS 1.2 and 1.3.
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Unfit)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), ends))
}

/// The end of a certificate's validity: `notAfter` (RFC 5280, section 4.1.2.5).
fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_rest, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { option, path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests;

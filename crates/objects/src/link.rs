//! Links that work without credentials, for a while.
//!
//! A signed link dies with the credentials that signed it, whatever it says of itself (temporary credentials
//! of a role live for an hour or a few). So a link is never given a longer life than they have left, and
//! whoever asks is told how long it really is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::presigning::PresigningConfig;

use crate::error::refused;
use crate::{ObjectError, Objects, Result};

/// The longest life of a link (AWS Signature Version 4: 7 days).
pub const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

impl Objects {
    /// A link with which anyone can get the object, for `ttl` or as long as the credentials live.
    ///
    /// # Errors
    /// When there are no credentials, or they end within the second.
    pub async fn presign_get(&self, key: &str, ttl: Duration) -> Result<String> {
        loop {
            let life = self.link_life(ttl);
            let link = self.sign(key, life).await?;
            // Signing may have fetched credentials for the first time, or renewed them.
            if self.link_life(ttl) + Duration::from_secs(1) >= life {
                return Ok(link);
            }
        }
    }

    /// How long a link really lives that is signed now and asked to live for `ttl`.
    #[must_use]
    pub fn link_life(&self, ttl: Duration) -> Duration {
        let ttl = ttl.min(LONGEST_LINK);
        match self.credentials.remaining() {
            Some(remaining) => ttl.min(remaining),
            None => ttl,
        }
    }

    async fn sign(&self, key: &str, life: Duration) -> Result<String> {
        // Whole seconds, rounded down.
        let life = Duration::from_secs(life.as_secs());
        if life.is_zero() {
            return Err(ObjectError::Link("the credentials for S3 end within the second"));
        }
        let life =
            PresigningConfig::expires_in(life).map_err(|_| ObjectError::Link("7 days are the most"))?;
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        let request = get.presigned(life).await.map_err(refused("sign a link"))?;
        Ok(request.uri().to_owned())
    }
}

/// When the credentials end that the client got last.
#[derive(Debug, Clone, Default)]
pub(crate) struct CredentialLife(Arc<Mutex<Option<SystemTime>>>);

impl CredentialLife {
    /// A provider that notes when the credentials end which it hands through.
    pub(crate) fn watch(&self, inner: SharedCredentialsProvider) -> impl ProvideCredentials + 'static {
        Watched { inner, life: self.clone() }
    }

    fn remaining(&self) -> Option<Duration> {
        let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default())
    }

    fn note(&self, end: Option<SystemTime>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

struct Watched {
    inner: SharedCredentialsProvider,
    life: CredentialLife,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    async fn provide(&self) -> provider::Result {
        let credentials = self.inner.provide_credentials().await?;
        self.life.note(credentials.expiry());
        Ok(credentials)
    }
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    #[tokio::test]
    async fn a_link_does_not_outlive_the_credentials() {
        let life = CredentialLife::default();
        let end = SystemTime::now() + Duration::from_secs(100);
        let ending = Credentials::new("id", "secret", None, Some(end), "test");
        life.watch(SharedCredentialsProvider::new(ending)).provide_credentials().await.unwrap();
        let remaining = life.remaining().unwrap();
        assert!((98..=100).contains(&remaining.as_secs()), "{remaining:?}");
        life.note(Some(SystemTime::now() - Duration::from_secs(5)));
        assert_eq!(life.remaining(), Some(Duration::ZERO));
    }
}

//! Links that work without credentials, for a while.
//!
//! A signed link dies with the credentials that signed it, whatever it says of itself (temporary credentials
//! of a role live for an hour or a few). So a link is never given a longer life than they have left, and
//! whoever asks is told how long it really is. [`credentials`](crate::credentials) renews them early enough.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;

use crate::credentials::remaining;
use crate::error::refused;
use crate::signer::{LinkSigner, SAMPLE};
use crate::{ObjectError, Objects, Result};

/// Tries to make a signer: during the first the credentials may be renewed.
const ATTEMPTS: usize = 3;

/// The longest life of a link (AWS Signature Version 4: 7 days).
pub const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

impl Objects {
    /// Makes a signer of links that live for `ttl`, or as long as the credentials do.
    ///
    /// # Errors
    /// When there are no credentials, or they end within the second; when the SDK signs for this bucket otherwise
    /// than by Signature Version 4, as it does for those of S3 Express.
    pub async fn signer(&self, ttl: Duration) -> Result<LinkSigner> {
        self.signer_at(ttl, SystemTime::now).await
    }

    pub(crate) async fn signer_at(
        &self,
        ttl: Duration,
        clock: impl Fn() -> SystemTime,
    ) -> Result<LinkSigner> {
        for _ in 0..ATTEMPTS {
            let credentials = self.credentials.current().await.map_err(|_| ObjectError::NoAnswer {
                action: "sign a link",
                cause: "no credentials for S3 could be had",
            })?;
            let (start, longest) = (clock(), ttl.min(LONGEST_LINK));
            let life = remaining(&credentials).map_or(longest, |left| longest.min(left));
            let sample = self.sample(start, life).await?;
            // They are not those of the sample when they were renewed this very moment.
            if let Some(signer) = LinkSigner::from_sample(&sample, &credentials, start, whole_seconds(life)) {
                return Ok(signer);
            }
        }
        Err(ObjectError::Link(
            "the bucket's links are not of AWS Signature Version 4, or the credentials keep changing",
        ))
    }

    /// A link that the SDK signs.
    async fn sample(&self, start: SystemTime, life: Duration) -> Result<String> {
        let life = whole_seconds(life);
        if life.is_zero() {
            return Err(ObjectError::Link("it would end within the second, or the credentials for S3 do"));
        }
        let life = PresigningConfig::builder()
            .start_time(start)
            .expires_in(life)
            .build()
            .map_err(|_| ObjectError::Link("7 days are the most"))?;
        let get = self.client.get_object().bucket(&self.bucket).key(SAMPLE);
        let request = get.presigned(life).await.map_err(refused("sign a link"))?;
        Ok(request.uri().to_owned())
    }
}

/// Rounded down: the wire has whole seconds.
fn whole_seconds(life: Duration) -> Duration {
    Duration::from_secs(life.as_secs())
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

    use super::*;
    use crate::S3Config;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn objects(credentials: impl ProvideCredentials + 'static) -> Objects {
        let config = S3Config {
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: "files".to_owned(),
            path_style: false,
            sign_payload: false,
            keys: None,
            links: DAY,
        };
        let sdk = aws_sdk_s3::config::Builder::new();
        Objects::with(config, SharedCredentialsProvider::new(credentials), sdk)
    }

    fn ending(in_s: u64) -> Credentials {
        let end = SystemTime::now() + Duration::from_secs(in_s);
        Credentials::new("id", "secret", None, Some(end), "test")
    }

    #[tokio::test]
    async fn a_link_does_not_outlive_the_credentials() {
        let signer = objects(ending(100)).signer(DAY).await.unwrap();
        assert!((97..=100).contains(&signer.life().as_secs()), "{:?}", signer.life());
        assert!(signer.get("a").contains(&format!("X-Amz-Expires={}&", signer.life().as_secs())));
        assert!(signer.end() <= SystemTime::now() + Duration::from_secs(100));
        let lasting = Credentials::new("id", "secret", None, None, "test");
        assert_eq!(objects(lasting).signer(DAY).await.unwrap().life(), DAY);
    }

    #[tokio::test]
    async fn no_link_is_signed_with_credentials_that_have_ended() {
        assert!(matches!(objects(ending(0)).signer(DAY).await, Err(ObjectError::Link(_))));
    }

    #[tokio::test]
    async fn links_are_signed_again_after_an_idle_time_in_which_the_credentials_ended() {
        let (first, then) = (ending(4), ending(1000));
        let end = first.expiry().unwrap();
        let objects = objects(crate::credentials::tests::Provider::new(move |_| {
            Ok(if SystemTime::now() < end { first.clone() } else { then.clone() })
        }));
        assert!(objects.signer(DAY).await.unwrap().life() <= Duration::from_secs(4));
        tokio::time::sleep(Duration::from_millis(4100)).await;
        assert!(objects.signer(DAY).await.unwrap().life() > Duration::from_secs(900));
    }
}

//! Making the client.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use secrecy::ExposeSecret as _;

use crate::credentials::Kept;
use crate::{ObjectError, Objects, Result, S3Config};

/// Tries of a request, the first included.
const ATTEMPTS: u32 = 4;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long one try may take, body included: 32 MiB at half a megabyte a second.
const ATTEMPT: Duration = Duration::from_secs(60);

impl Objects {
    /// Prepares the client. Nothing is sent to the bucket yet; see [`Objects::check`].
    ///
    /// # Errors
    /// [`ObjectError::NoCredentials`] where neither static keys nor a chain are there.
    pub async fn connect(config: S3Config) -> Result<Self> {
        let (provider, sdk) = match &config.keys {
            Some(keys) => {
                let secret = keys.secret_access_key.expose_secret();
                let keys = Credentials::new(&keys.access_key_id, secret, None, None, "headgate");
                (SharedCredentialsProvider::new(keys), Builder::new())
            }
            None => {
                let chain =
                    aws_config::defaults(version()).region(Region::new(config.region.clone())).load().await;
                let provider = chain.credentials_provider().ok_or(ObjectError::NoCredentials)?;
                (provider, Builder::from(&chain))
            }
        };
        Ok(Self::with(config, provider, sdk))
    }

    /// Makes the client of its parts.
    pub(crate) fn with(config: S3Config, provider: SharedCredentialsProvider, sdk: Builder) -> Self {
        let credentials = Kept::new(provider, config.links);
        let mut sdk = sdk
            .behavior_version(version())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials.clone())
            // They are kept, and renewed, by ourselves.
            .identity_cache(IdentityCache::no_cache())
            .force_path_style(config.path_style)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build(),
            )
            // It takes a server that is slow to answer a finished upload for a stalled one
            // (awslabs/aws-sdk-rust#1146); the timeout of an attempt bounds both.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // We give the CRC32 of every upload ourselves.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &config.endpoint {
            sdk = sdk.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(sdk.build()),
            bucket: config.bucket,
            region: config.endpoint.is_none().then_some(config.region),
            sign_payload: config.sign_payload,
            credentials,
        }
    }
}

/// The defaults of the SDK as of this date; a later SDK keeps them.
fn version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

//! What every handler shares.

use std::sync::Arc;

use headgate_auth::{KeyError, PublicJwk, SigningKey};
use headgate_objects::Objects;
use headgate_store::Store;

use crate::ApiConfig;
use crate::directory::Directory;
use crate::throttle::Throttle;

/// What the API works with.
#[derive(Debug)]
pub struct Deps {
    /// The control database.
    pub store: Store,
    /// The bucket; the API only signs links to it.
    pub objects: Objects,
    /// The settings.
    pub config: ApiConfig,
}

/// The shared state of both routers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deps: Deps,
    signing_key: SigningKey,
    verification_keys: Vec<PublicJwk>,
    directory: Directory,
    throttle: Throttle,
}

/// Why the API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] headgate_store::Error),
    /// A key for access tokens could not be made, or a stored one not be read.
    #[error("the keys of the access tokens: {0}")]
    Key(#[from] KeyError),
    /// The database has no key although one was just ensured.
    #[error("the control database has no key for access tokens")]
    NoKey,
}

impl ApiState {
    /// Loads the keys of the access tokens. The first API process of an installation makes one; two that
    /// start at once agree on one.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(deps: Deps) -> Result<Self, StartError> {
        if deps.store.signing_keys().await?.is_empty() {
            let key = SigningKey::generate()?;
            deps.store.ensure_signing_key(|| (key.kid().to_owned(), key.to_pkcs8_der().to_vec())).await?;
        }
        let stored = deps.store.signing_keys().await?;
        let mut keys = Vec::with_capacity(stored.len());
        for (kid, der) in &stored {
            keys.push(SigningKey::from_pkcs8_der(kid, der)?);
        }
        let verification_keys = keys.iter().map(|key| key.public_jwk().clone()).collect();
        let signing_key = keys.into_iter().next().ok_or(StartError::NoKey)?;
        Ok(Self(Arc::new(Inner {
            deps,
            signing_key,
            verification_keys,
            directory: Directory::default(),
            throttle: Throttle::default(),
        })))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.deps.store
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.0.deps.objects
    }

    pub(crate) fn config(&self) -> &ApiConfig {
        &self.0.deps.config
    }

    /// The practices as everybody may know them.
    pub(crate) fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// The count of polls.
    pub(crate) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    /// The key that signs access tokens.
    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.0.signing_key
    }

    /// The public keys that access tokens are verified with.
    pub(crate) fn verification_keys(&self) -> &[PublicJwk] {
        &self.0.verification_keys
    }
}

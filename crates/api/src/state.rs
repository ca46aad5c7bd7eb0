//! What every handler shares.

use std::sync::Arc;

use headgate_auth::{KeyError, KeySets, Keyring, KeyringError};
use headgate_objects::Objects;
use headgate_store::Store;
use tokio::sync::Semaphore;

use crate::ApiConfig;
use crate::directory::Directory;
use crate::endpoints::Document;
use crate::keys::Keys;
use crate::throttle::Throttle;
use crate::token::{Limit, Refusals};

/// What the API works with.
#[derive(Debug)]
pub struct Deps {
    /// The control database.
    pub store: Store,
    /// The bucket; the API only signs links to it.
    pub objects: Objects,
    /// What seals the keys of the access tokens, and authenticates the seals of the audit trail.
    pub keyring: Keyring,
    /// The key sets of apps and of issuers elsewhere.
    pub key_sets: KeySets,
    /// The settings.
    pub config: ApiConfig,
}

/// The shared state of both routers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deps: Deps,
    keys: Keys,
    directory: Directory,
    endpoints: Document,
    throttle: Throttle,
    token_limit: Limit,
    refusals: Refusals,
    uploads: Semaphore,
}

/// Uploads of members at a time: each holds a connection to the control database while it arrives.
const UPLOADS: usize = 2;

/// Why the API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] headgate_store::Error),
    /// A key for access tokens could not be made, or a stored one not be read.
    #[error("the keys of the access tokens: {0}")]
    Key(#[from] KeyError),
    /// A stored key is sealed with another key than is configured.
    #[error(
        "a stored key of the access tokens cannot be opened ({0}): keys.encryption_key must be the key that it was \
         sealed with; if that one is being replaced, give it as keys.previous_encryption_key"
    )]
    Sealed(#[source] KeyringError),
    /// The database has no key although one was just ensured.
    #[error("the control database has no key for access tokens")]
    NoKey,
}

impl ApiState {
    /// Loads the keys of the access tokens. The first API process of an installation makes one; two that
    /// start at once agree on one. Where another server issues the tokens, none is needed.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(deps: Deps) -> Result<Self, StartError> {
        let keys = match deps.config.external {
            Some(_) => Keys::none(),
            None => Keys::start(&deps.store, &deps.keyring).await?,
        };
        Ok(Self(Arc::new(Inner {
            keys,
            directory: Directory::default(),
            endpoints: Document::default(),
            throttle: Throttle::default(),
            token_limit: Limit::per_minute(deps.config.token_requests_per_minute),
            refusals: Refusals::default(),
            uploads: Semaphore::new(UPLOADS),
            deps,
        })))
    }

    /// All that the state was made of.
    pub(crate) fn deps(&self) -> &Deps {
        &self.0.deps
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.deps.store
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.0.deps.objects
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.0.deps.keyring
    }

    pub(crate) fn key_sets(&self) -> &KeySets {
        &self.0.deps.key_sets
    }

    pub(crate) fn config(&self) -> &ApiConfig {
        &self.0.deps.config
    }

    /// The keys of the access tokens.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The practices as everybody may know them.
    pub(crate) fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// The document of all endpoints, as it was written last.
    pub(crate) fn endpoints(&self) -> &Document {
        &self.0.endpoints
    }

    /// The count of polls.
    pub(crate) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    /// The count of token requests.
    pub(crate) fn token_limit(&self) -> &Limit {
        &self.0.token_limit
    }

    /// Places for uploads of members.
    pub(crate) fn uploads(&self) -> &Semaphore {
        &self.0.uploads
    }

    /// The refused token requests that are not yet in the control database.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }
}

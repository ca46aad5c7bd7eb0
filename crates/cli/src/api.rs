//! `headgate api`: serves the FHIR API, the token endpoint and the admin API.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use headgate_api::{ApiConfig, ApiState, Deps, ExternalIssuer, admin_router, background, public_router};
use headgate_auth::{AdminIssuer, IssuerKeys, KeySetOptions, KeySets, Keyring, keyring};
use headgate_objects::Objects;
use headgate_runtime::serve::{Bounds, Listener, Tls};
use headgate_runtime::{Config, Lifecycle, Role};
use headgate_store::{Store, WaitLimits};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::bootstrap::{self, Bound};
use crate::failure::Failure;

/// How long a request of the admin API may take at least: an upload of half a million members of a group is one.
const ADMIN_WITHIN: Duration = Duration::from_secs(11 * 60);

/// How much later than the router a listener gives a request up.
const BACKSTOP: Duration = Duration::from_secs(5);

/// The two listeners of the API.
pub struct Listeners {
    /// For apps.
    pub public: Listener,
    /// For operators.
    pub admin: Listener,
}

impl Listeners {
    /// The same two, served over TLS if there is a certificate, whose files are watched from now on.
    pub fn with_tls(self, tls: Option<Tls>, life: &Lifecycle) -> Self {
        if let Some(tls) = &tls {
            tls.watch(life);
        }
        Self { public: self.public.with_tls(tls.clone()), admin: self.admin.with_tls(tls) }
    }
}

/// Runs the role until it is told to stop.
pub async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let (config, life) = bootstrap::begin(file, Role::Api)?;
    // A certificate that cannot be used is told before a port is bound.
    let tls = Tls::from_config(&config.server.tls)?;
    let private = Listener::bind(&config.server.private_listen).await?;
    let health = bootstrap::serve_health(&config, &life, private);
    let listeners = Listeners {
        public: Listener::bind(&config.server.public_listen).await?,
        admin: Listener::bind(&config.server.admin_listen).await?,
    };
    let listeners = listeners.with_tls(tls, &life);
    let store = bootstrap::migrated_store(&config, &life, &health, Bound::Api).await?;
    health.waits_for("the keys of access tokens");
    let objects = bootstrap::objects(&config).await?;
    serve(&config, &life, store.clone(), objects, listeners).await?;
    bootstrap::started(&health, &store);
    bootstrap::end(&config, &life).await
}

/// Serves both routers as tasks of the process.
pub async fn serve(
    config: &Config,
    life: &Lifecycle,
    store: Store,
    objects: Objects,
    listeners: Listeners,
) -> Result<(), Failure> {
    if config.admin.builtin_jwks_file.is_empty() && config.admin.issuers.is_empty() {
        tracing::warn!(
            "neither admin.builtin_jwks_file nor admin.issuers is set: the admin API refuses everything"
        );
    }
    if !store.is_bound_by_policies().await? {
        tracing::warn!(
            role = config.database.api_role,
            "row-level security does not bind this connection: database.url should be that of the role"
        );
    }
    let deps = Deps {
        store,
        objects,
        keyring: keyring(config)?,
        key_sets: key_sets(config)?,
        config: api_config(config)?,
    };
    let state = ApiState::start(deps).await?;
    let bounds = Bounds::from(&config.server);
    tracing::info!(public = %listeners.public.address(), admin = %listeners.admin.address(), "listening");
    // The router itself gives a request up, so that it is measured; the listener only if that fails.
    let public_bounds = Bounds { request_timeout: bounds.request_timeout + BACKSTOP, ..bounds };
    listeners.public.spawn("public listener", public_router(state.clone()), public_bounds, life);
    let admin_bounds = Bounds { request_timeout: bounds.request_timeout.max(ADMIN_WITHIN), ..bounds };
    listeners.admin.spawn("admin listener", admin_router(state.clone()), admin_bounds, life);
    let stop = life.soft().cancelled_owned();
    life.spawn("background", async move {
        background(state, stop).await;
        Ok::<(), Infallible>(())
    });
    Ok(())
}

/// What opens and seals stored secrets.
pub fn keyring(config: &Config) -> Result<Keyring, Failure> {
    let read = |name: &str, key: &SecretString| {
        keyring::parse_key(key.expose_secret()).map_err(|error| Failure::config(format!("{name}: {error}")))
    };
    let current = read("keys.encryption_key", &config.keys.encryption_key)?;
    let former = &config.keys.previous_encryption_key;
    let former = match former.expose_secret().is_empty() {
        true => vec![],
        false => vec![read("keys.previous_encryption_key", former)?],
    };
    Keyring::new(current, former).map_err(|error| Failure::from_error(&error))
}

/// The key sets of apps and issuers elsewhere.
pub fn key_sets(config: &Config) -> Result<KeySets, Failure> {
    let ca_pem = config.jwks.ca_pem().map_err(|error| Failure::config(format!("jwks.ca_file: {error}")))?;
    if config.jwks.allow_insecure {
        tracing::warn!(
            "jwks.allow_insecure is set: key sets may be fetched by http and from private addresses"
        );
    }
    let options = KeySetOptions {
        allow_insecure: config.jwks.allow_insecure,
        ca_pem,
        timeout: config.jwks.timeout(),
        max_age: config.jwks.max_age(),
        ..KeySetOptions::default()
    };
    KeySets::new(options).map_err(|error| Failure::from_error(&error))
}

/// Who issues the access tokens, if it is not we.
fn external(config: &Config) -> Result<Option<ExternalIssuer>, Failure> {
    let external = &config.token.external;
    if !external.is_on() {
        return Ok(None);
    }
    Ok(Some(ExternalIssuer {
        issuer: external.issuer.clone(),
        jwks_url: url("token.external.jwks_url", &external.jwks_url)?,
        audience: Some(external.audience.clone()).filter(|audience| !audience.is_empty()),
        token_endpoint: external.token_endpoint.clone(),
    }))
}

/// The keys of the built-in issuer of admin tokens.
fn builtin_keys(config: &Config) -> Result<Option<IssuerKeys>, Failure> {
    let file = &config.admin.builtin_jwks_file;
    if file.is_empty() {
        return Ok(None);
    }
    let wrong = |text: String| Failure::config(format!("admin.builtin_jwks_file: {text}"));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let set = serde_json::from_str(&text).map_err(|_| wrong("is not JSON".to_owned()))?;
    IssuerKeys::from_value(&set).map(Some).map_err(|error| wrong(error.to_string()))
}

/// The other issuers of admin tokens, with the URLs of their key sets.
fn admin_issuers(config: &Config) -> Result<Vec<(AdminIssuer, Url)>, Failure> {
    let issuer = |issuer: &headgate_runtime::config::AdminIssuer| {
        let known = AdminIssuer {
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            role_claim: issuer.role_claim.clone(),
            practice_claim: issuer.practice_claim.clone(),
            vendor_claim: issuer.vendor_claim.clone(),
            operator_value: issuer.operator_value.clone(),
            practice_admin_value: issuer.practice_admin_value.clone(),
            vendor_value: issuer.vendor_value.clone(),
        };
        Ok((known, url("admin.issuers.jwks_url", &issuer.jwks_url)?))
    };
    config.admin.issuers.iter().map(issuer).collect()
}

fn url(name: &str, text: &str) -> Result<Url, Failure> {
    text.parse().map_err(|_| Failure::config(format!("{name}: must be a URL")))
}

fn api_config(config: &Config) -> Result<ApiConfig, Failure> {
    let public_base_url = config.server.public_base_url.as_str();
    Ok(ApiConfig {
        issuer: config.token.issuer(public_base_url),
        external: external(config)?,
        public_base_url: url("server.public_base_url", public_base_url)?,
        token_path: config.token.path.clone(),
        token_lifetime: config.token.lifetime(),
        key_rotation: config.token.key_rotation(),
        key_overlap: config.token.key_overlap(),
        token_requests_per_minute: config.token.requests_per_minute,
        forwarded_hops: config.server.forwarded_hops,
        clock_skew: config.token.clock_skew(),
        url_ttl: config.files.url_ttl(config.token.lifetime()),
        poll_min_age: config.poll.min_age(),
        max_exports_per_app: config.export.max_per_app,
        admin_builtin_keys: builtin_keys(config)?,
        admin_issuers: admin_issuers(config)?,
        jwks_allow_insecure: config.jwks.allow_insecure,
        wait_limits: WaitLimits {
            shards_per_practice: config.worker.shards_per_practice,
            shards_per_app: config.worker.shards_per_app,
            tell_app: true,
        },
        max_body_bytes: config.limits.body_bytes,
        max_admin_body_bytes: config.limits.admin_body_bytes,
        body_timeout: config.server.header_timeout(),
        request_timeout: config.server.request_timeout(),
    })
}

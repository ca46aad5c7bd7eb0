//! `headgate api`: serves the FHIR API, the token endpoint and the admin API.

use std::path::Path;

use headgate_api::{ApiConfig, ApiState, Deps, admin_router, public_router};
use headgate_objects::Objects;
use headgate_runtime::serve::{Bounds, Listener};
use headgate_runtime::{Config, Lifecycle, Role};
use headgate_store::Store;
use secrecy::ExposeSecret as _;

use crate::bootstrap;
use crate::failure::Failure;

/// The two listeners of the API.
pub struct Listeners {
    /// For apps.
    pub public: Listener,
    /// For operators.
    pub admin: Listener,
}

/// Runs the role until it is told to stop.
pub async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let (config, life) = bootstrap::begin(file, Role::Api)?;
    let private = Listener::bind(&config.server.private_listen).await?;
    let listeners = Listeners {
        public: Listener::bind(&config.server.public_listen).await?,
        admin: Listener::bind(&config.server.admin_listen).await?,
    };
    let store = bootstrap::store(&config, &life).await?;
    store.check_schema().await?;
    let objects = bootstrap::objects(&config).await?;
    bootstrap::serve_health(&config, &life, &store, private);
    serve(&config, &life, store, objects, listeners).await?;
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
    if config.admin.operator_token.expose_secret().is_empty() {
        tracing::warn!("admin.operator_token is not set: the admin API refuses everything");
    }
    let state = ApiState::start(Deps { store, objects, config: api_config(config)? }).await?;
    let bounds = Bounds::from(&config.server);
    tracing::info!(public = %listeners.public.address(), admin = %listeners.admin.address(), "listening");
    listeners.public.spawn("public listener", public_router(state.clone()), bounds, life);
    listeners.admin.spawn("admin listener", admin_router(state), bounds, life);
    Ok(())
}

fn api_config(config: &Config) -> Result<ApiConfig, Failure> {
    let public_base_url = config.server.public_base_url.as_str();
    Ok(ApiConfig {
        issuer: config.token.issuer(public_base_url),
        public_base_url: public_base_url
            .parse()
            .map_err(|_| Failure::config("server.public_base_url: must be a URL"))?,
        token_path: config.token.path.clone(),
        token_lifetime: config.token.lifetime(),
        clock_skew: config.token.clock_skew(),
        url_ttl: config.files.url_ttl(config.token.lifetime()),
        poll_min_age: config.poll.min_age(),
        max_exports_per_app: config.export.max_per_app,
        operator_token: config.admin.operator_token.clone(),
        max_body_bytes: config.limits.body_bytes,
        max_admin_body_bytes: config.limits.admin_body_bytes,
        body_timeout: config.server.header_timeout(),
    })
}

//! The engine: the roles `api` and `worker` as tasks of this process, started as the roles themselves are.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Result;
use headgate_runtime::serve::{Listener, Tls};
use headgate_runtime::{Config, Lifecycle, Role, telemetry};

use super::databases::Databases;
use super::running::Bucket;
use super::screen::Screen;
use super::secrets::Secrets;
use crate::api::{self, Listeners};
use crate::bootstrap::{self, Bound};
use crate::failure::Failure;
use crate::{migrate, worker};

/// The region that requests to the local S3 server are signed for; it takes any.
pub(super) const REGION: &str = "us-east-1";

/// Any free port, for this machine only.
const ANY_PORT: &str = "127.0.0.1:0";

/// Where the engine is reached.
#[derive(Debug)]
pub(super) struct Engine {
    /// URL of the FHIR API's listener, without a slash at the end, as the others.
    pub(super) public_url: String,
    /// URL of the admin API's listener.
    pub(super) admin_url: String,
    /// URL of `/startupz`, `/livez` and `/readyz`.
    pub(super) private_url: String,
}

/// Logs for people, into a file. The metrics are those of both roles, at `/metrics` of the private listener.
pub(super) fn begin_telemetry(to: File) -> Result<(), Failure> {
    let config = Config::from_parts(None, [variable("log.format", "text")], Role::Tool)?;
    let (log, settings) = (&config.log, &config.telemetry);
    let role = telemetry::Role::Both;
    let start = telemetry::Start { log, telemetry: settings, service: "headgate-demo", role };
    telemetry::init_to_file(&start, to)?;
    bootstrap::tell_build("api");
    bootstrap::tell_build("worker");
    Ok(())
}

/// The ports of the engine.
pub(super) struct Ports {
    listeners: Listeners,
    private: Listener,
}

impl Ports {
    /// Binds them. First of all, because an address that is taken should be told at once.
    pub(super) async fn bind(listen: SocketAddr) -> Result<Self, Failure> {
        let public = Listener::bind(&listen.to_string()).await?;
        let admin = Listener::bind(ANY_PORT).await?;
        let private = Listener::bind(ANY_PORT).await?;
        Ok(Self { listeners: Listeners { public, admin }, private })
    }
}

/// Migrates the control database, and starts the API and a worker.
pub(super) async fn start(
    ports: Ports,
    databases: &Databases,
    bucket: &Bucket,
    secrets: &Secrets,
    life: &Lifecycle,
    screen: &Screen,
) -> Result<Engine, Failure> {
    let Ports { listeners, private } = ports;
    let scheme = if secrets.certificate.is_some() { "https" } else { "http" };
    let engine = Engine {
        public_url: url(scheme, listeners.public.address()),
        admin_url: url(scheme, listeners.admin.address()),
        private_url: url("http", private.address()),
    };
    let config = config(&engine, bucket, secrets, &databases.control)?;
    let listeners = listeners.with_tls(Tls::from_config(&config.server.tls)?, life);
    let health = bootstrap::serve_health(&config, life, private);

    let owner = bootstrap::store(&config, life).await?;
    owner.migrate().await?;
    owner.check_schema().await?;
    let roles = migrate::roles(&config);
    owner.grant_roles(&roles, true).await?;
    owner.close().await;

    // As in production: the API and the workers connect as roles of their own.
    let configured = |role: &str| {
        let url = databases.control.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1);
        self::config(&engine, bucket, secrets, &url)
    };
    let (api_config, worker_config) = (configured(&roles.api)?, configured(&roles.worker)?);
    let api_store = bootstrap::migrated_store(&api_config, life, &health, Bound::Api).await?;
    let worker_store = bootstrap::migrated_store(&worker_config, life, &health, Bound::Worker).await?;
    let objects = bootstrap::objects(&config).await?;
    api::serve(&api_config, life, api_store.clone(), objects.clone(), listeners).await?;
    worker::start(&worker_config, life, &health, worker_store, objects);
    bootstrap::started(&health, &api_store);
    screen.line(&format!("FHIR API at {}, admin API at {}, one worker", engine.public_url, engine.admin_url));
    Ok(engine)
}

/// The configuration, from nothing but what the demo knows: variables of the caller's shell do not count.
fn config(
    engine: &Engine,
    bucket: &Bucket,
    secrets: &Secrets,
    database_url: &str,
) -> Result<Config, Failure> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut variables = vec![
        variable("server.public_base_url", &engine.public_url),
        variable("database.url", database_url),
        variable("s3.endpoint", &bucket.endpoint),
        variable("s3.region", REGION),
        variable("s3.bucket", bucket.name),
        variable("s3.path_style", "true"),
        variable("s3.access_key_id", bucket.access_key_id),
        variable("s3.secret_access_key", &bucket.secret_access_key),
        variable("keys.encryption_key", &secrets.encryption_key),
        variable("admin.builtin_jwks_file", &path(&secrets.admin_jwks_file)),
    ];
    if let Some(certificate) = &secrets.certificate {
        variables.push(variable("server.tls.cert_file", &path(&certificate.cert_file)));
        variables.push(variable("server.tls.key_file", &path(&certificate.key_file)));
    }
    Ok(Config::from_parts(None, variables, Role::Api)?)
}

/// An option as the variable that sets it.
fn variable(key: &str, value: &str) -> (String, String) {
    (format!("HEADGATE__{}", key.to_uppercase().replace('.', "__")), value.to_owned())
}

/// Under which URL this machine reaches a listener.
fn url(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_this_machines_own() {
        assert_eq!(url("https", "0.0.0.0:80".parse().unwrap()), "https://127.0.0.1:80");
        assert_eq!(url("https", "[::]:80".parse().unwrap()), "https://[::1]:80");
        assert_eq!(url("https", "10.0.0.1:80".parse().unwrap()), "https://10.0.0.1:80");
    }
}

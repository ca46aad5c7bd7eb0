//! The engine: the roles `api` and `worker` as tasks of this process, started as the roles themselves are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use headgate_runtime::config::Log;
use headgate_runtime::serve::Listener;
use headgate_runtime::{Config, Lifecycle, Role};

use super::databases::Databases;
use super::running::Bucket;
use super::screen::Screen;
use crate::api::{self, Listeners};
use crate::failure::Failure;
use crate::{bootstrap, worker};

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
    /// URL of `/livez` and `/readyz`.
    pub(super) private_url: String,
    /// The operator's token for the admin API.
    pub(super) operator_token: String,
}

/// How the engine logs: for people, into a file.
pub(super) fn log_settings() -> Result<Log, Failure> {
    Ok(Config::from_parts(None, [variable("log.format", "text")], Role::Tool)?.log)
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
    life: &Lifecycle,
    screen: &Screen,
) -> Result<Engine, Failure> {
    let Ports { listeners, private } = ports;
    let engine = Engine {
        public_url: url(listeners.public.address()),
        admin_url: url(listeners.admin.address()),
        private_url: url(private.address()),
        operator_token: uuid::Uuid::new_v4().simple().to_string(),
    };
    let config = config(&engine, databases, bucket)?;

    let store = bootstrap::store(&config, life).await?;
    store.migrate().await?;
    store.check_schema().await?;
    let objects = bootstrap::objects(&config).await?;
    bootstrap::serve_health(&config, life, &store, private);
    api::serve(&config, life, store.clone(), objects.clone(), listeners).await?;
    worker::start(&config, life, store, objects);
    screen.line(&format!("FHIR API at {}, admin API at {}, one worker", engine.public_url, engine.admin_url));
    Ok(engine)
}

/// The configuration, from nothing but what the demo knows: variables of the caller's shell do not count.
fn config(engine: &Engine, databases: &Databases, bucket: &Bucket) -> Result<Config, Failure> {
    let variables = [
        variable("server.public_base_url", &engine.public_url),
        variable("database.url", &databases.control),
        // Two roles share them here.
        variable("database.max_connections", "20"),
        variable("s3.endpoint", &bucket.endpoint),
        variable("s3.region", REGION),
        variable("s3.bucket", bucket.name),
        variable("s3.path_style", "true"),
        variable("s3.access_key_id", bucket.access_key_id),
        variable("s3.secret_access_key", &bucket.secret_access_key),
        variable("admin.operator_token", &engine.operator_token),
    ];
    Ok(Config::from_parts(None, variables, Role::Api)?)
}

/// An option as the variable that sets it.
fn variable(key: &str, value: &str) -> (String, String) {
    (format!("HEADGATE__{}", key.to_uppercase().replace('.', "__")), value.to_owned())
}

/// Under which URL this machine reaches a listener.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_this_machines_own() {
        assert_eq!(url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(url("10.0.0.1:80".parse().unwrap()), "http://10.0.0.1:80");
    }
}

//! All pods of a rendering on this machine: placeholders filled in, started, asked, ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use headgate_auth::admin_token::AdminRole;
use headgate_auth::{Algorithm, Jwks, PrivateKey};
use tempfile::TempDir;

use super::{Container, Mount, Pod, Sandbox, Servers};
use crate::guardian::Guardian;
use crate::{Admin, answer, ports};

/// The listeners of every process, and their options.
const LISTENERS: [&str; 3] = ["public", "admin", "private"];

/// How long everything may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The name of a file among the practices' DSNs.
const SOURCE: &str = "trial";

/// Where workers find the practices' DSNs.
const SOURCES: &str = "/etc/headgate/sources";

/// The pods, and what runs of them.
#[derive(Debug)]
pub struct Cluster {
    pods: Vec<Pod>,
    running: BTreeMap<String, Container>,
    /// The port of this machine at which a pod's named port is.
    ports: BTreeMap<(String, String), u16>,
    restarts: BTreeMap<String, u32>,
    changed: BTreeSet<String>,
    admin_key: PrivateKey,
    sandbox: Sandbox,
    // Behind the containers: it is dropped after them.
    folder: TempDir,
    _guardian: Guardian,
}

impl Cluster {
    /// Takes over the pods. Nothing is started.
    ///
    /// # Errors
    /// When a key or a folder cannot be made.
    pub fn new(pods: Vec<Pod>, sandbox: Sandbox) -> Result<Self> {
        // Its user's alone, as it holds secrets: containers see what is mounted out of it.
        let folder = tempfile::Builder::new().prefix("headgate-deployed-").tempdir()?;
        let guardian = Guardian::removes(folder.path())?;
        Ok(Self {
            pods,
            running: BTreeMap::new(),
            ports: BTreeMap::new(),
            restarts: BTreeMap::new(),
            changed: BTreeSet::new(),
            admin_key: PrivateKey::generate(Algorithm::Es384)?,
            sandbox,
            folder,
            _guardian: guardian,
        })
    }

    /// A pod by its workload's name.
    ///
    /// # Errors
    /// When there is none.
    pub fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods.iter().find(|pod| pod.name == name).with_context(|| format!("there is no pod {name}"))
    }

    /// What stands in a variable of a pod, or in a mounted file that the variable's `_FILE` names.
    #[must_use]
    pub fn value(pod: &Pod, variable: &str) -> Option<String> {
        let given = |name: &str| pod.environment.get(name).filter(|value| !value.is_empty());
        if let Some(value) = given(variable) {
            return Some(value.clone());
        }
        let file = Path::new(given(&format!("{variable}_FILE"))?);
        let mount = pod.mounts.iter().find(|mount| file.parent() == Some(Path::new(&mount.path)))?;
        mount.files.get(file.file_name()?.to_str()?).filter(|content| !content.is_empty()).cloned()
    }

    /// Puts the values of this machine in place of the manifests' hosts and secrets, and remembers what it changed.
    ///
    /// # Errors
    /// When there are no free ports.
    pub fn fill_in(&mut self, servers: &Servers, access_key: &str, secret: &str) -> Result<()> {
        let api_port = ports::free()?;
        let encryption_key = hex::encode(rand::random::<[u8; 32]>());
        let jwks = Jwks::new(vec![self.admin_key.public_jwk().clone()])?.to_json().to_string();
        for pod in &mut self.pods {
            let mut changed = Vec::new();
            let mut set = |pod: &mut Pod, variable: &str, value: &str| {
                if pod.set(variable, value) {
                    changed.push(variable.to_owned());
                }
            };
            for listener in LISTENERS {
                let port = if (pod.name.as_str(), listener) == ("headgate-api", "public") {
                    api_port
                } else {
                    ports::free()?
                };
                self.ports.insert((pod.name.clone(), listener.to_owned()), port);
                let variable = format!("HEADGATE__SERVER__{}_LISTEN", listener.to_uppercase());
                set(pod, &variable, &format!("127.0.0.1:{port}"));
            }
            set(pod, "HEADGATE__SERVER__PUBLIC_BASE_URL", &format!("http://127.0.0.1:{api_port}"));
            set(pod, "HEADGATE__S3__ENDPOINT", &servers.s3_endpoint());
            set(pod, "HEADGATE__S3__PATH_STYLE", "true");
            let has_keys = pod.environment.contains_key("HEADGATE__S3__ACCESS_KEY_ID");
            if !has_keys && pod.name != "headgate-migrate" {
                // What cloud identity gives a pod.
                set(pod, "AWS_ACCESS_KEY_ID", access_key);
                set(pod, "AWS_SECRET_ACCESS_KEY", secret);
            }
            if pod.name == "headgate-admin"
                && !pod.environment.contains_key("HEADGATE__ADMIN__BUILTIN_JWKS_FILE")
            {
                // There is no login server here.
                set(pod, "HEADGATE__ADMIN__BUILTIN_JWKS_FILE", "/etc/headgate/admin/jwks.json");
                let files = BTreeMap::from([("jwks.json".to_owned(), String::new())]);
                let (path, name) = ("/etc/headgate/admin".to_owned(), "headgate-admin-keys".to_owned());
                pod.mounts.push(Mount { path, name, files });
            }
            for mount in &mut pod.mounts {
                let role = ["api", "worker", "owner"]
                    .into_iter()
                    .find(|role| mount.is(&format!("headgate-database-{role}")));
                if let Some(role) = role {
                    let user =
                        if role == "owner" { "postgres".to_owned() } else { format!("headgate_{role}") };
                    mount.files.insert("url".to_owned(), servers.control_url(&user));
                } else if mount.is("headgate-sources") {
                    mount.files.insert(SOURCE.to_owned(), servers.source_url());
                } else if mount.is("headgate-admin-keys") {
                    mount.files.insert("jwks.json".to_owned(), jwks.clone());
                } else if mount.is("headgate-keys") {
                    mount.files.insert("encryption_key".to_owned(), encryption_key.clone());
                }
            }
            self.changed.extend(changed);
        }
        Ok(())
    }

    /// The variables that have another value than in the manifests; mounted secrets beside.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(String::as_str)
    }

    /// Where a practice's DSN is, as the worker sees it.
    #[must_use]
    pub fn source_file(&self) -> String {
        let inside = format!("{SOURCES}/{SOURCE}");
        if self.sandbox.is_contained() {
            return inside;
        }
        self.folder_of("headgate-worker").join(inside.trim_start_matches('/')).display().to_string()
    }

    /// Starts a pod and returns at once.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, name: &str, servers: &Servers) -> Result<()> {
        // An ended one goes first: its control group has the same name.
        self.running.remove(name);
        let container = Container::start(self.pod(name)?, &self.sandbox, servers, &self.folder_of(name))?;
        self.running.insert(name.to_owned(), container);
        Ok(())
    }

    /// A running pod's container.
    ///
    /// # Errors
    /// When it was not started.
    pub fn container(&mut self, name: &str) -> Result<&mut Container> {
        self.running.get_mut(name).with_context(|| format!("{name} does not run"))
    }

    /// How often each pod ended and was started again before it was ready.
    #[must_use]
    pub fn restarts(&self) -> &BTreeMap<String, u32> {
        &self.restarts
    }

    /// Asks a path at a pod's named port. `None`: nobody answers.
    ///
    /// # Errors
    /// When the manifest does not declare that port.
    pub async fn ask(&self, name: &str, port: &str, path: &str) -> Result<Option<(u16, String)>> {
        let pod = self.pod(name)?;
        if !pod.ports.contains_key(port) {
            bail!("{name} declares no port {port}");
        }
        let number =
            self.ports.get(&(name.to_owned(), port.to_owned())).context("the port has no number here")?;
        let Ok(answer) = answer::http()?.get(format!("http://127.0.0.1:{number}{path}")).send().await else {
            return Ok(None);
        };
        let status = answer.status().as_u16();
        Ok(Some((status, answer.text().await.unwrap_or_default())))
    }

    /// Asks as a probe does.
    ///
    /// # Errors
    /// When the pod has no such probe.
    pub async fn probe(&self, name: &str, probe: &str) -> Result<Option<u16>> {
        let asked =
            self.pod(name)?.probes.get(probe).with_context(|| format!("{name} has no {probe} probe"))?;
        Ok(self.ask(name, &asked.port, &asked.path).await?.map(|(status, _)| status))
    }

    /// Waits until a pod's probe is answered with 200; starts the pod again when it ends, as the kubelet does.
    ///
    /// # Errors
    /// When that is not so within a minute.
    pub async fn wait_for(&mut self, name: &str, probe: &str, servers: &Servers) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if self.container(name)?.exited()?.is_some() {
                *self.restarts.entry(name.to_owned()).or_default() += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.start(name, servers)?;
            }
            let answer = self.probe(name, probe).await?;
            if answer == Some(200) {
                return Ok(());
            }
            if Instant::now() > until {
                let log = self.container(name)?.log_tail();
                bail!("{name}: {probe} is answered {answer:?} after a minute:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The admin API, as an operator.
    ///
    /// # Errors
    /// When no token can be signed.
    pub fn admin(&self) -> Result<Admin> {
        let key = PrivateKey::from_jwk(&self.admin_key.to_private_jwk()?)?;
        Admin::new(answer::http()?, &self.url("headgate-admin", "admin"), key.into(), &AdminRole::Operator)
    }

    /// The URL of a pod's port on this machine, without a slash at the end.
    #[must_use]
    pub fn url(&self, name: &str, port: &str) -> String {
        let number = self.ports.get(&(name.to_owned(), port.to_owned())).copied().unwrap_or_default();
        format!("http://127.0.0.1:{number}")
    }

    /// The folder for everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn folder_of(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

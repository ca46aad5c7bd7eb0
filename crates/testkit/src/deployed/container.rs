//! A running pod.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::sandbox::{self, Sandbox};
use super::{Pod, Servers};
use crate::guardian::Guardian;
use crate::headgate::{binary, read_log, tail};

/// What an image says of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What sets the user: util-linux's.
const SETPRIV: &str = "/usr/bin/setpriv";

/// How often a container is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A pod's container. Dropping it kills it.
#[derive(Debug)]
pub struct Container {
    pod: Pod,
    child: Child,
    guardian: Option<Guardian>,
    log: PathBuf,
    group: Option<PathBuf>,
}

impl Container {
    /// Writes the secrets and starts the program; returns at once. `folder` is the pod's own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(pod: &Pod, sandbox: &Sandbox, servers: &Servers, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let log = folder.join("log");
        let group = sandbox.limit(&pod.name, pod.memory_bytes)?;
        let mut command = if sandbox.is_contained() {
            contained(pod, servers, folder, group.as_deref())?
        } else {
            plain(pod, folder)?
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", pod.name))?;
        let guardian = Some(Guardian::kills(child.id())?);
        Ok(Self { pod: pod.clone(), child, guardian, log, group })
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The end of what it has written to standard error.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&read_log(&self.log))
    }

    /// How it has ended; `None` while it runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.dismiss();
        }
        Ok(status)
    }

    /// The most memory that it has had resident so far, bytes; 0 when it has ended.
    #[must_use]
    pub fn peak_rss(&self) -> u64 {
        let kib =
            self.status_field("VmHWM").and_then(|text| text.strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// What the kernel says of the process that is not as the manifest wants it, a sentence each.
    #[must_use]
    pub fn unlike_the_manifest(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |field: &str, wanted: &str| {
            let found = self.status_field(field).unwrap_or_default();
            if found.split_whitespace().any(|word| word != wanted) || found.is_empty() {
                wrong.push(format!("{}: {field} is {found} and not {wanted}", self.pod.name));
            }
        };
        expect("Uid", &self.pod.uid.to_string());
        expect("Gid", &self.pod.gid.to_string());
        expect("NoNewPrivs", "1");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            expect(set, "0000000000000000");
        }
        let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", self.child.id())).unwrap_or_default();
        let writable = |line: &&str| {
            let mut words = line.split(' ').skip(1);
            let (place, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let options = words.next().unwrap_or_default();
            !options.split(',').any(|one| one == "ro") && kind != "proc" && !place.starts_with("/dev/")
        };
        wrong.extend(
            mounts.lines().filter(writable).map(|line| format!("{} could write to {line}", self.pod.name)),
        );
        if mounts.is_empty() {
            wrong.push(format!("{}: its mounts cannot be seen", self.pod.name));
        }
        wrong
    }

    /// SIGTERM; returns how it ended and after how long.
    ///
    /// # Errors
    /// When it does not end within `within`.
    pub async fn terminate(&mut self, within: Duration) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        let sent = Command::new("sh")
            .args(["-c", r#"kill -s TERM "$1""#, "sh", &self.child.id().to_string()])
            .stderr(Stdio::null())
            .status()?;
        if !sent.success() {
            bail!("{} has gone before it was told to", self.pod.name);
        }
        Ok((self.wait(within).await?, started.elapsed()))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("{} has not ended within {} s:\n{}", self.pod.name, within.as_secs(), self.log_tail())
    }

    /// A line of what the kernel says of the process.
    fn status_field(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    fn dismiss(&mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.child.kill().is_ok() && self.child.wait().is_ok() {
            self.dismiss();
        }
        if let Some(group) = self.group.take() {
            sandbox::remove(&group);
        }
    }
}

/// The program in a file system of its own.
fn contained(pod: &Pod, servers: &Servers, folder: &Path, group: Option<&Path>) -> Result<Command> {
    let root = folder.join("root");
    std::fs::create_dir_all(&root)?;
    let mut command = Command::new("unshare");
    command
        .env_clear()
        .envs(&pod.environment)
        .env("PATH", PATH)
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            include_str!("container.sh"),
            "container.sh",
        ])
        .arg(root)
        .arg(binary()?)
        .arg(SETPRIV)
        .args([pod.uid.to_string(), pod.gid.to_string()])
        .arg(group.unwrap_or(Path::new("")))
        .arg(servers.sockets());
    for (number, mount) in pod.mounts.iter().enumerate() {
        let source = folder.join(format!("mount-{number}"));
        write(mount, &source)?;
        // As the kubelet does for `fsGroup` and the mode 0440.
        chown(&source, None, Some(pod.gid))?;
        std::fs::set_permissions(&source, Permissions::from_mode(0o750))?;
        for name in mount.files.keys() {
            chown(source.join(name), None, Some(pod.gid))?;
            std::fs::set_permissions(source.join(name), Permissions::from_mode(0o440))?;
        }
        command.arg(source).arg(&mount.path);
    }
    command.arg("--").args(&pod.args);
    Ok(command)
}

/// The program as this process's own user; variables that name a mounted file name it where it is.
fn plain(pod: &Pod, folder: &Path) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(&pod.args).env_clear().env("PATH", PATH);
    for mount in &pod.mounts {
        write(mount, &folder.join(mount.path.trim_start_matches('/')))?;
    }
    for (name, value) in &pod.environment {
        let mounted = pod.mounts.iter().any(|mount| Path::new(value).starts_with(&mount.path));
        if mounted {
            command.env(name, folder.join(value.trim_start_matches('/')));
        } else {
            command.env(name, value);
        }
    }
    Ok(command)
}

fn write(mount: &super::Mount, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, content) in &mount.files {
        let file = folder.join(name);
        if !file.exists() {
            std::fs::write(file, content)?;
        }
    }
    Ok(())
}

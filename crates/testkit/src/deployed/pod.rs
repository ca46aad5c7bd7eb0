//! A pod as `scripts/manifests/run pods` prints it: everything resolved as the kubelet does.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// One of a workload's pods.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// The workload's name.
    pub name: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// The environment, of ConfigMaps and of the container itself.
    pub environment: BTreeMap<String, String>,
    /// `runAsUser`.
    pub uid: u32,
    /// `runAsGroup`, which is also the group of mounted secrets.
    pub gid: u32,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// The limit of memory, bytes.
    pub memory_bytes: u64,
    /// `terminationGracePeriodSeconds`.
    pub grace_s: u64,
    /// Seconds that the kubelet sleeps before it sends the signal.
    pub pre_stop_s: u64,
    /// Declared ports by name.
    pub ports: BTreeMap<String, u16>,
    /// `startup`, `liveness`, `readiness`.
    pub probes: BTreeMap<String, Probe>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
}

/// An HTTP probe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The path that is asked.
    pub path: String,
    /// The name of a declared port.
    pub port: String,
}

/// A Secret or ConfigMap, mounted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where.
    pub path: String,
    /// Its name; a generated one ends in a hash.
    pub name: String,
    /// Its files by name. Empty where the manifests do not have the value.
    pub files: BTreeMap<String, String>,
}

impl Mount {
    /// Whether this is the Secret or ConfigMap of that name, with or without a hash behind it.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.len() == 11)
    }
}

impl Pod {
    /// Sets a variable; returns whether that changes the manifest's value.
    pub fn set(&mut self, variable: &str, value: &str) -> bool {
        self.environment.insert(variable.to_owned(), value.to_owned()).as_deref() != Some(value)
    }
}

/// Reads what the script has printed.
///
/// # Errors
/// When it is not there, or is not that.
pub fn read_pods(file: &Path) -> Result<Vec<Pod>> {
    let text = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no list of pods", file.display()))
}

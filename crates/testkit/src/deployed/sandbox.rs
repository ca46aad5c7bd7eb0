//! What of a container can be had on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

/// Whether containers can be made here, and what limits memory.
#[derive(Debug, Clone)]
pub struct Sandbox {
    contained: bool,
    memory: Option<Memory>,
}

/// Control groups of either version, and where ours may be made.
#[derive(Debug, Clone, Copy)]
enum Memory {
    First,
    Second,
}

impl Sandbox {
    /// Tries what there is.
    #[must_use]
    pub fn probe() -> Self {
        let try_it = "mount -t tmpfs none /mnt && command -v chroot && command -v setpriv";
        let contained = Command::new("unshare")
            .args(["--mount", "sh", "-c", try_it])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let memory = [Memory::First, Memory::Second].into_iter().find(|memory| {
            contained
                && memory
                    .make(&format!("headgate-probe-{}", std::process::id()), 1 << 30)
                    .is_ok_and(|group| remove(&group))
        });
        Self { contained, memory }
    }

    /// Whether a container has its own file system, user and capabilities.
    #[must_use]
    pub fn is_contained(&self) -> bool {
        self.contained
    }

    /// What of the manifests is not in force here, a sentence each.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if !self.contained {
            missing.push(
                "user 10001, no capabilities, the read-only root and the mounts: this needs root, and Linux's unshare, \
                 chroot and setpriv; secrets lie in a folder, and variables name them there",
            );
        }
        if self.memory.is_none() {
            missing
                .push("the limit of memory: no control group may be made here; the peak is compared with it");
        }
        missing.push("seccomp's RuntimeDefault, network policies, and the kubelet's sleep before the signal");
        missing
    }

    /// A control group with a limit of memory; `None` where there are none.
    pub(super) fn limit(&self, name: &str, bytes: u64) -> Result<Option<PathBuf>> {
        self.memory
            .map(|memory| memory.make(&format!("headgate-{}-{name}", std::process::id()), bytes))
            .transpose()
    }
}

impl Memory {
    fn make(self, name: &str, bytes: u64) -> Result<PathBuf> {
        let (root, limit) = match self {
            Self::First => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            Self::Second => ("/sys/fs/cgroup", "memory.max"),
        };
        let group = Path::new(root).join(name);
        std::fs::create_dir(&group)?;
        let file = group.join(limit);
        let set = file.is_file() && std::fs::write(&file, bytes.to_string()).is_ok();
        if !set {
            remove(&group);
        }
        ensure!(set, "no limit can be set");
        Ok(group)
    }
}

/// Removes an empty control group.
pub(super) fn remove(group: &Path) -> bool {
    std::fs::remove_dir(group).is_ok()
}

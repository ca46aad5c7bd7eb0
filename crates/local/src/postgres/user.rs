//! The user that runs the server: this process's own, or an unprivileged one when this process is root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tokio::process::Command;

use super::{Error, at};

/// Who runs the server's programs and owns its folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerUser {
    /// The user of this process, who is not root.
    Own,
    /// Another user, chosen because this process is root.
    Other {
        /// Numeric user id.
        uid: u32,
        /// Numeric id of its group; supplementary groups are dropped.
        gid: u32,
    },
}

impl ServerUser {
    /// This process's own user; for root `postgres` if there is one, else `nobody`.
    pub(super) async fn choose() -> Result<Self, Error> {
        if !is_root().await? {
            return Ok(Self::Own);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", Some(name)).await?, id("-g", Some(name)).await?) {
                return Ok(Self::Other { uid, gid });
            }
        }
        Err(Error::NoServerUser)
    }

    /// The user a cluster from an earlier run belongs to: only its owner can serve it.
    pub(super) fn owner_of(self, data: &Path) -> Result<Self, Error> {
        let owner = fs::metadata(data).map_err(at(data))?;
        Ok(match self {
            Self::Other { .. } if owner.uid() != 0 => Self::Other { uid: owner.uid(), gid: owner.gid() },
            unchanged => unchanged,
        })
    }

    /// A command run as this user, from a folder everyone may be in, with messages in English.
    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C").env_remove("PGOPTIONS").env_remove("PGDATA");
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// What to put before a command in a shell, so that it runs as this user.
    pub(super) fn shell_prefix(self) -> String {
        match self {
            Self::Own => String::new(),
            Self::Other { uid, gid } => format!("setpriv --reuid={uid} --regid={gid} --clear-groups "),
        }
    }

    /// Gives a folder to this user, closed to everybody else.
    pub(super) fn take(self, folder: &Path) -> Result<(), Error> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at(folder))?;
        if let Self::Other { uid, gid } = self {
            std::os::unix::fs::chown(folder, Some(uid), Some(gid)).map_err(at(folder))?;
        }
        Ok(())
    }

    /// Whether this user can enter the folder, through all folders above it.
    pub(super) async fn can_enter(self, folder: &Path) -> Result<bool, Error> {
        let status = self.command("test").arg("-x").arg(folder).status().await;
        Ok(status.map_err(|source| Error::CannotRun { program: "test".to_owned(), source })?.success())
    }
}

/// Whether this process runs as root.
pub(super) async fn is_root() -> Result<bool, Error> {
    Ok(id("-u", None).await? == Some(0))
}

/// Asks `id`, which knows every source of users the system has. `None` for an unknown user.
async fn id(what: &str, name: Option<&str>) -> Result<Option<u32>, Error> {
    let output = Command::new("id").arg(what).args(name).output().await;
    let output = output.map_err(|source| Error::CannotRun { program: "id".to_owned(), source })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

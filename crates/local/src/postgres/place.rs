//! Where a cluster lies: the temporary folder of its socket, and the folder of its data.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::user::ServerUser;
use super::{Error, at};

/// Written into a data folder once `initdb` has finished, so that neither a foreign cluster nor a half-made
/// one is ever started.
const COMPLETE: &str = "headgate-cluster";

/// Longest path of the socket's folder, bytes: a socket path has at most 107, and the server adds
/// `/.s.PGSQL.5432.lock`.
const LONGEST_SOCKET_FOLDER: usize = 80;

/// The data folder of a cluster about to be started.
#[derive(Debug)]
pub(super) struct Data {
    /// Where the data really are, all links followed.
    pub(super) folder: PathBuf,
    /// Who runs the server on them.
    pub(super) user: ServerUser,
    /// Whether an earlier run has made the cluster.
    pub(super) complete: bool,
}

impl Data {
    /// The data in the temporary folder of the socket, which is deleted with them.
    pub(super) fn temporary(temporary: &Path, user: ServerUser) -> Result<Self, Error> {
        let folder = temporary.join("data");
        fs::create_dir(&folder).map_err(at(&folder))?;
        user.take(&folder)?;
        Ok(Self { folder, user, complete: false })
    }

    /// The data in a folder the caller names, made if missing. It outlives the cluster.
    ///
    /// When root names a folder that the server's user cannot enter (below `/root`, or in a private folder
    /// of `mktemp`), the data go below `/var/tmp` and the named folder becomes a link to them: opening the
    /// folders above would be worse.
    pub(super) async fn named(named: &Path, user: ServerUser) -> Result<Self, Error> {
        if fs::symlink_metadata(named).is_ok() && !named.exists() {
            // The link of an earlier run whose data were cleaned away.
            fs::remove_file(named).map_err(at(named))?;
        }
        fs::create_dir_all(named).map_err(at(named))?;
        let folder = named.canonicalize().map_err(at(named))?;
        if folder.join("PG_VERSION").exists() && folder.join(COMPLETE).exists() {
            let user = user.owner_of(&folder)?;
            if !user.can_enter(&folder).await? {
                return Err(Error::Unreachable(folder));
            }
            return Ok(Self { folder, user, complete: true });
        }
        if fs::read_dir(&folder).map_err(at(&folder))?.next().is_some() {
            return Err(Error::NotOurs(folder));
        }
        user.take(&folder)?;
        if user.can_enter(&folder).await? {
            return Ok(Self { folder, user, complete: false });
        }
        let elsewhere =
            folder_for(user, &["/var/tmp", "/tmp"].map(PathBuf::from), "headgate-pg-").await?.keep();
        fs::remove_dir(&folder).map_err(at(&folder))?;
        symlink(&elsewhere, &folder).map_err(at(&folder))?;
        Ok(Self { folder: elsewhere, user, complete: false })
    }

    /// Notes that `initdb` has finished.
    pub(super) fn mark_complete(&self) -> Result<(), Error> {
        let mark = self.folder.join(COMPLETE);
        fs::write(&mark, "This cluster was made by headgate. It may be deleted while no server runs on it.\n")
            .map_err(at(&mark))
    }

    /// The folder of the socket of a server that runs on the data, which is made for it alone.
    pub(super) fn running_socket_folder(&self) -> Option<String> {
        // PostgreSQL writes it to the fifth line.
        let pid_file = fs::read_to_string(self.folder.join("postmaster.pid")).ok()?;
        pid_file.lines().nth(4).filter(|folder| folder.starts_with('/')).map(str::to_owned)
    }

    /// The file the server logs to.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The last lines of the server's log, for an error message.
    pub(super) fn log_tail(&self) -> io::Result<String> {
        let log = fs::read_to_string(self.log())?;
        let lines: Vec<&str> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
    }
}

/// A fresh folder with a short path for the socket. It is deleted when dropped.
pub(super) async fn temporary(user: ServerUser) -> Result<TempDir, Error> {
    let roots: Vec<PathBuf> = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .filter(|root| {
            root.is_absolute() && root.as_os_str().len() < LONGEST_SOCKET_FOLDER - "/hg-123456".len()
        })
        .collect();
    folder_for(user, &roots, "hg-").await
}

/// A fresh folder of the user below the first root that allows it.
async fn folder_for(user: ServerUser, roots: &[PathBuf], prefix: &str) -> Result<TempDir, Error> {
    for root in roots {
        let private = fs::Permissions::from_mode(0o700);
        let made = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(root);
        let Ok(folder) = made else { continue };
        if user.take(folder.path()).is_ok() && user.can_enter(folder.path()).await? {
            return Ok(folder);
        }
    }
    Err(Error::NoTemporaryFolder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_with_other_files_is_not_taken_for_a_cluster() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        let refused = Data::named(folder.path(), ServerUser::Own).await.unwrap_err();
        assert!(matches!(refused, Error::NotOurs(_)), "{refused}");
    }

    #[tokio::test]
    async fn a_link_whose_data_are_gone_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("postgres");
        symlink(folder.path().join("gone"), &named).unwrap();
        let data = Data::named(&named, ServerUser::Own).await.unwrap();
        assert!(!data.complete);
        assert!(named.is_dir());
    }
}

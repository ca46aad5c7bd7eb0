//! A private PostgreSQL cluster in a folder of its own.
//!
//! [`Cluster::start`] runs `initdb` and `pg_ctl start` of the PostgreSQL that is installed. The server
//! listens on a Unix socket only, in a fresh folder that only its own user (and root) can enter; that is why
//! `trust` is enough as authentication. The socket's folder has a short path of its own, because a socket
//! path may not be longer than 107 bytes.
//!
//! PostgreSQL refuses to run as root. When this process is root, the server runs as `postgres`, or `nobody`.
//!
//! The server must not outlive this process, not even after `kill -9`, but must survive Ctrl-C at the
//! terminal, which this process may want to handle. So the server has a session of its own (`pg_ctl` sees to
//! it), and a [guardian] in another process group waits for this process to end, and then stops the server
//! and deletes the temporary folder.
//!
//! [guardian]: Cluster#life

mod apt;
mod cluster;
mod guardian;
mod installation;
mod place;
mod user;

use std::path::{Path, PathBuf};

pub use apt::{ensure_installation, install_with_apt};
pub use cluster::{Cluster, Options};
pub use installation::{Installation, find_installation};

/// Why there is no PostgreSQL cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No installation was found, and it cannot be installed from here. A command-line program exits 69.
    #[error("PostgreSQL is not installed; type: apt-get install -y postgresql")]
    NotInstalled,
    /// The package manager was allowed to run and failed.
    #[error("apt-get could not install PostgreSQL ({status}); type: apt-get install -y postgresql")]
    AptFailed {
        /// How it ended: the exit status, as the system words it.
        status: String,
    },
    /// This process is root, and there is neither a user `postgres` nor a user `nobody` to run the server.
    #[error("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it")]
    NoServerUser,
    /// No folder for the socket: too long a path, or not accessible to the user that runs the server.
    #[error("no temporary folder with a short path that the user running PostgreSQL can enter")]
    NoTemporaryFolder,
    /// The user that runs the server cannot enter the folder.
    #[error("the user that has to run PostgreSQL cannot enter {}", .0.display())]
    Unreachable(PathBuf),
    /// The given folder holds something that [`Cluster`] did not make, or did not finish making.
    #[error("{} is not empty and is no complete cluster made by Headgate; remove it or name another folder", .0.display())]
    NotOurs(PathBuf),
    /// A server already runs on the given folder.
    #[error("a PostgreSQL server is already running in {}; to stop it, type: {stop}", folder.display())]
    AlreadyRunning {
        /// The data folder.
        folder: PathBuf,
        /// The shell command that stops the server.
        stop: String,
    },
    /// A program of PostgreSQL, or of the system, could not be run at all.
    #[error("cannot run {program}")]
    CannotRun {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program of PostgreSQL ran and failed.
    #[error("{program} failed: {detail}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The end of what it wrote, or of the server's log.
        detail: String,
    },
    /// A file or folder could not be made, read or changed.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A database name that is not `[a-z_][a-z0-9_]*` of at most 63 bytes.
    #[error("a database name must match [a-z_][a-z0-9_]* and have at most 63 bytes")]
    DatabaseName,
    /// A statement failed.
    #[error("cannot {what}")]
    Database {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: sqlx::Error,
    },
}

/// Names the path an I/O error is about.
fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::File { path, source }
}

/// Quotes a word for `sh`.
fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-=+:,@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn a_word_with_a_space_or_a_quote_is_quoted_for_the_shell() {
        assert_eq!(shell_word("/tmp/hg-a1/data"), "/tmp/hg-a1/data");
        assert_eq!(shell_word("/home/a b"), "'/home/a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}

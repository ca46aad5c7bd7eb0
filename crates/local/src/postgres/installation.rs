//! Finding the programs of an installed PostgreSQL.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// The folder that Debian's packages install each major version under.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// The folder of PostgreSQL's server programs: `initdb`, `postgres` and `pg_ctl` are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    bin: PathBuf,
}

impl Installation {
    /// The folder, for example `/usr/lib/postgresql/15/bin`.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn at(bin: PathBuf) -> Option<Self> {
        ["initdb", "postgres", "pg_ctl"].iter().all(|name| bin.join(name).is_file()).then_some(Self { bin })
    }
}

/// Finds the newest PostgreSQL of Debian's packages, else the one `pg_config` or `PATH` names.
///
/// # Errors
/// [`Error::NotInstalled`] when there is none. A client alone (`psql`) is not enough.
pub fn find_installation() -> Result<Installation, Error> {
    newest_below(Path::new(DEBIAN_ROOT))
        .or_else(|| pg_config_bindir().and_then(Installation::at))
        .or_else(|| env::split_paths(&env::var_os("PATH")?).find_map(Installation::at))
        .ok_or(Error::NotInstalled)
}

fn newest_below(root: &Path) -> Option<Installation> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().find_map(|(_, bin)| Installation::at(bin))
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let bin = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(bin.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, version: &str, programs: &[&str]) {
        let bin = root.join(version).join("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in programs {
            fs::write(bin.join(name), "").unwrap();
        }
    }

    #[test]
    fn the_newest_complete_version_is_taken() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "9", &["initdb", "postgres", "pg_ctl"]);
        install(root.path(), "15", &["initdb", "postgres", "pg_ctl"]);
        install(root.path(), "17", &["psql"]);
        let found = newest_below(root.path()).unwrap();
        assert_eq!(found.bin(), root.path().join("15/bin"));
    }

    #[test]
    fn a_client_alone_is_no_installation() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "16", &["psql", "pg_config"]);
        assert_eq!(newest_below(root.path()), None);
    }
}

//! Installing PostgreSQL on Debian and its kin, without starting a cluster of Debian's own.

use std::process::Stdio;

use tokio::process::Command;

use super::installation::{Installation, find_installation};
use super::{Error, user};

/// Run by `sh` as root. Debian's package normally creates and starts a cluster on port 5432; a file keeps
/// it from creating one, and `policy-rc.d` (which answers 101, "forbidden") from starting any service
/// meanwhile.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 UCF_FORCE_CONFFOLD=1
settings=/etc/postgresql-common/createcluster.conf
policy=/usr/sbin/policy-rc.d
if [ ! -e "$settings" ]; then
  mkdir -p "${settings%/*}"
  printf '%s\n' '# Written by headgate: the package was installed for its programs only.' \
    'create_main_cluster = false' >"$settings"
fi
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get -o DPkg::Lock::Timeout=300 update || echo 'apt-get update failed; trying the lists at hand'
apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
  install -y --no-install-recommends postgresql
"#;

/// The installed PostgreSQL; where there is none, installs it first.
///
/// # Errors
/// Those of [`install_with_apt`].
pub async fn ensure_installation() -> Result<Installation, Error> {
    match find_installation() {
        Err(Error::NotInstalled) => install_with_apt().await,
        found => found,
    }
}

/// Installs the package `postgresql` with `apt-get`, as root or by a `sudo` that asks for no password.
/// No cluster is created and no service started. What `apt-get` says goes to standard error.
///
/// # Errors
/// [`Error::NotInstalled`] where this is not Debian's kin or the user may not install packages, or when the
/// package did not bring the programs; [`Error::AptFailed`] when `apt-get` failed.
pub async fn install_with_apt() -> Result<Installation, Error> {
    if !succeeds("apt-get", &["--version"]).await {
        return Err(Error::NotInstalled);
    }
    let mut install = if user::is_root().await? {
        Command::new("sh")
    } else if succeeds("sudo", &["-n", "true"]).await {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Err(Error::NotInstalled);
    };
    let status = install
        .args(["-c", INSTALL])
        .stdin(Stdio::null())
        // Standard output belongs to the caller's own result.
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .await
        .map_err(|source| Error::CannotRun { program: "apt-get".to_owned(), source })?;
    if !status.success() {
        return Err(Error::AptFailed { status: status.to_string() });
    }
    find_installation()
}

async fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    status.is_ok_and(|status| status.success())
}

//! The guardian: a small shell that outlives this process just long enough to clean up after it.
//!
//! It reads from a pipe that only this process writes to. However this process ends, the pipe then closes,
//! and the guardian stops the server and deletes the socket's folder. It runs in a process group of its
//! own, so Ctrl-C at the terminal does not reach it, and as the server's user, so it needs no privilege.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `$1` is `pg_ctl`, `$2` the data folder, `$3` the folder of the socket, which is deleted. It tries several
/// times, because this process may end while `initdb` or `pg_ctl start` still runs. The server's file
/// `postmaster.pid` names the socket's folder in its fifth line: a server that somebody else has started on
/// the same data since then is left alone.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pg_ctl=$1 data=$2 sockets=$3
read -r word || word=died
case $word in
keep) exit 0 ;;
stopped) rm -rf -- "$sockets"; exit ;;
esac
for pause in 0 1 1 2; do
  sleep $pause
  if [ "$(sed -n 5p "$data/postmaster.pid")" = "$sockets" ]; then
    "$pg_ctl" stop --pgdata="$data" --mode=immediate --timeout=20
  fi
  rm -rf -- "$sockets"
done
"#;

#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Starts watching. `command` is the shell `sh`, to be run as the server's user.
    pub(super) fn start(
        mut command: Command,
        pg_ctl: &Path,
        data: &Path,
        sockets: &Path,
    ) -> io::Result<Self> {
        let shell = command
            .args(["-c", SCRIPT, "headgate-guardian"])
            .arg(pg_ctl)
            .arg(data)
            .arg(sockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// The server is down: delete the socket's folder. Waits until that is done.
    pub(super) fn stopped(self) -> io::Result<()> {
        self.dismiss("stopped")
    }

    /// Leave the server and its folders alone from now on.
    pub(super) fn keep(self) -> io::Result<()> {
        self.dismiss("keep")
    }

    fn dismiss(mut self, word: &str) -> io::Result<()> {
        if let Some(mut pipe) = self.shell.stdin.take() {
            writeln!(pipe, "{word}")?;
        }
        self.shell.wait().map(drop)
    }
}

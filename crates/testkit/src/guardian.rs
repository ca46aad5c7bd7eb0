//! Cleaning up after this process, however it ends.
//!
//! A guardian is a small shell that reads from a pipe which only this process writes to. A line means that
//! all is well and it may go; the end of the pipe means that this process is gone, `kill -9` included. It runs
//! in a process group of its own, so that Ctrl-C at the terminal does not reach it.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Stands by until it is dismissed or this process has ended.
#[derive(Debug)]
pub(crate) struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Kills a process that this one has started.
    pub(crate) fn kills(process: u32) -> io::Result<Self> {
        Self::start(r#"kill -9 "$1""#, process.to_string().as_ref())
    }

    /// Kills a process that this one has started as the leader of a group, and the group.
    pub(crate) fn kills_group(leader: u32) -> io::Result<Self> {
        // Only in this form dash takes a group too.
        Self::start(r#"kill -s KILL -- "-$1""#, leader.to_string().as_ref())
    }

    /// Removes a folder and all in it.
    pub(crate) fn removes(folder: &Path) -> io::Result<Self> {
        // Twice, because a process that is just being killed may still write there.
        Self::start(r#"rm -rf -- "$1"; sleep 1; rm -rf -- "$1""#, folder.as_os_str())
    }

    fn start(deed: &str, what: &OsStr) -> io::Result<Self> {
        let script = format!("trap '' HUP INT TERM; read -r word && exit 0; {deed}");
        let shell = Command::new("sh")
            .args(["-c", &script, "headgate-guardian"])
            .arg(what)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Does its deed now. Waits until the shell is gone.
    pub(crate) fn strike(mut self) {
        drop(self.shell.stdin.take());
        let _gone = self.shell.wait();
    }

    /// There is nothing left to guard. Waits until the shell is gone.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            // A guardian that is gone already has nothing more to be told.
            let _told = pipe.write_all(b"dismissed\n");
        }
        let _gone = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_guardian_whose_process_is_gone_removes_the_folder_and_a_dismissed_one_does_not() {
        let (kept, removed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Guardian::removes(kept.path()).unwrap().dismiss();
        // Dropping the pipe is what the end of this process does.
        drop(Guardian::removes(removed.path()).unwrap());
        let until = Instant::now() + Duration::from_secs(10);
        while removed.path().exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!removed.path().exists());
        assert!(kept.path().exists());
    }

    #[test]
    fn a_guardian_of_a_group_kills_what_the_leader_has_started_too() {
        let mut leader = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(leader.stdout.take().unwrap()), &mut line).unwrap();
        Guardian::kills_group(leader.id()).unwrap().strike();
        assert!(!leader.wait().unwrap().success());
        // Nobody is there who is neither gone nor about to be buried.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", line.trim())).unwrap_or_default();
        let is_gone = |state: &str| state.is_empty() || state.contains(") Z ") || state.contains(") X ");
        // Its leader may be buried before it has come to its own end.
        let until = Instant::now() + Duration::from_secs(10);
        while !is_gone(&state()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(is_gone(&state()), "{}", state());
    }
}

//! Free ports.
//!
//! An API must know its public URL before it opens its port, so the port is chosen here and not by the
//! kernel. Ports are drawn below the range from which the kernel takes those of outgoing connections: so a
//! free one stays free between the choice and the use, and while a process is restarted, unless another
//! program draws the same; the caller then draws again.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use rand::Rng as _;

/// Linux gives outgoing connections ports from 32768 up.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// Those that this process has given away.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of the loopback interface that nobody listens on and that was not given away before.
pub(crate) fn free() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let port = rand::rng().random_range(RANGE);
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", RANGE.start, RANGE.end)
}

/// Whether nobody listens on a port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

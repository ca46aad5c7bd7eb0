//! The process: the OpenTelemetry semantic conventions for operating system processes.

use crate::definition::{Label, Role};
use crate::instrument::{Counter, Gauge, Total};

/// See its description.
pub static CPU_TIME: Total = Total::new(
    Role::Both,
    "process.cpu.time",
    "s",
    "Seconds of CPU that the process has used since it started.",
);

/// See its description.
pub static MEMORY_USAGE: Gauge =
    Gauge::new(Role::Both, "process.memory.usage", "By", &[], "Memory of the process that is resident.");

/// See its description.
pub static OPEN_FILES: Gauge = Gauge::new(
    Role::Both,
    "process.open_file_descriptor.count",
    "{count}",
    &[],
    "File descriptors that the process has open, sockets included.",
);

/// See its description.
pub static READY: Gauge = Gauge::new(
    Role::Both,
    "process.ready",
    "{process}",
    &[],
    "1 while /readyz says that the process can do its work, else 0; seen by itself every five seconds.",
);

/// See its description.
pub static TELEMETRY_LOST: Counter = Counter::new(
    Role::Both,
    "telemetry.lost",
    "{item}",
    &[Label::known("signal", &["traces", "logs", "metrics"])],
    "Spans, records of the log, and transmissions of metrics that the collector did not take. What does not fit into the \
     queues before it is not in it.",
);

/// See its description.
pub static UPTIME: Gauge =
    Gauge::new(Role::Both, "process.uptime", "s", &[], "Time since the process started.");

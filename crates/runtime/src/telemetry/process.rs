//! What the process uses, as the system tells it. On systems without `/proc` there is nothing of it.

use std::time::{Duration, Instant};

use headgate_metrics::process::{CPU_TIME, MEMORY_USAGE, OPEN_FILES, UPTIME};

/// How often the system is asked.
const EVERY: Duration = Duration::from_secs(5);

/// The unit of `/proc/self/stat` and the size of a page, as Linux has them on all its 64-bit machines that we build for.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE: f64 = 4096.0;

/// Measures for the rest of the process's life.
pub(super) fn watch() {
    let started = Instant::now();
    tokio::spawn(async move {
        let mut turns = tokio::time::interval(EVERY);
        loop {
            turns.tick().await;
            UPTIME.set(started.elapsed().as_secs_f64(), &[]);
            if let Some((cpu, memory)) = read() {
                CPU_TIME.advance(cpu);
                MEMORY_USAGE.set(memory, &[]);
            }
            if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
                // The folder itself is open while it is read.
                OPEN_FILES.set(open.count().saturating_sub(1) as f64, &[]);
            }
        }
    });
}

/// Seconds of CPU, and resident bytes.
fn read() -> Option<(f64, f64)> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The fields behind the name in parentheses: the 12th and 13th are the ticks in user and system mode, the 22nd the
/// resident pages (proc_pid_stat(5)).
fn parse(stat: &str) -> Option<(f64, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<f64>().ok();
    Some(((number(11)? + number(12)?) / TICKS_PER_SECOND, number(21)? * PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_line_is_understood_whatever_the_program_is_called() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 100 200000 2500 1844 1 1";
        assert_eq!(parse(line), Some((2.0, 10_240_000.0)));
        assert_eq!(parse("nothing"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let (_, memory) = read().unwrap();
        assert!(memory > 1_000_000.0);
    }
}

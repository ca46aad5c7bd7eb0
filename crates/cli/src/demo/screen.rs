//! What a person at the terminal sees: a line for each phase with the time so far, and bars for the long ones.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The terminal. Bars are on stderr, and share it with the lines.
#[derive(Debug)]
pub(super) struct Screen {
    started: Instant,
    bars: MultiProgress,
    /// Whether stdout belongs to the JSON summary, so that results for people go to stderr.
    json: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self { started: Instant::now(), bars: MultiProgress::new(), json }
    }

    /// The bars; those of others may be added. Nothing of them is shown where stderr is no terminal.
    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// A line of progress, on stderr, with the seconds so far.
    pub(super) fn line(&self, text: &str) {
        let elapsed = self.started.elapsed().as_secs_f64();
        self.write_to_stderr(format_args!("[{elapsed:6.1} s] {text}"));
    }

    /// A result for people.
    pub(super) fn say(&self, text: &str) {
        if self.json {
            self.write_to_stderr(format_args!("{text}"));
        } else {
            // A reader that went away, as `head` does, is no reason to leave servers running.
            self.bars.suspend(|| drop(writeln!(std::io::stdout(), "{text}")));
        }
    }

    /// A bar on stderr that counts `unit`s, for as long as it is not finished.
    pub(super) fn bar(&self, label: &str, unit: Unit) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let counter = match unit {
            Unit::Resources => "{human_pos} of {human_len} resources",
            Unit::Patients => "{human_pos} of {human_len} patients",
            Unit::Bytes => "{bytes} of {total_bytes}",
        };
        let template = format!("           {label} {{bar:30}} {counter} {{msg}}");
        let style = ProgressStyle::with_template(&template).expect("the template is well formed");
        self.bars.add(ProgressBar::new(0).with_style(style))
    }

    /// Whoever has closed the terminal still wants the servers stopped: a failed write is not fatal.
    fn write_to_stderr(&self, text: impl Display) {
        self.bars.suspend(|| drop(writeln!(std::io::stderr(), "{text}")));
    }
}

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// FHIR resources.
    Resources,
    /// Patients of the reference EHR.
    Patients,
    /// Bytes.
    Bytes,
}

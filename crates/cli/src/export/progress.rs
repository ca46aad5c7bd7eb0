//! Shows how far an export is, on stderr: a bar on a terminal, else a line from time to time.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

const WAITING: &str = "{prefix}{spinner} {elapsed} {wide_msg}";
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Where the progress of one export goes.
#[derive(Debug)]
pub struct Progress {
    /// Put before each line, such as `practice-a: `.
    label: String,
    sink: Sink,
    files: AtomicU64,
    files_done: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
enum Sink {
    Silent,
    Bar(ProgressBar),
    /// Until when no further line is due.
    Lines(Mutex<Option<Instant>>),
}

impl Progress {
    /// Shows nothing.
    pub fn silent() -> Self {
        Progress::new("", Sink::Silent)
    }

    /// Shows progress on stderr. `label` names the export where several run at a time (may be empty); their bars
    /// share the screen through `group`.
    pub fn on_stderr(label: &str, group: Option<&MultiProgress>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress::new(label, Sink::Lines(Mutex::new(None)));
        }
        let bar = ProgressBar::new_spinner();
        let bar = match group {
            Some(group) => group.add(bar),
            None => bar,
        };
        bar.set_style(style(WAITING));
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress::new(label, Sink::Bar(bar))
    }

    fn new(label: &str, sink: Sink) -> Self {
        let label = if label.is_empty() { String::new() } else { format!("{label}: ") };
        if let Sink::Bar(bar) = &sink {
            bar.set_prefix(label.clone());
        }
        let zero = || AtomicU64::new(0);
        Progress { label, sink, files: zero(), files_done: zero(), bytes: zero() }
    }

    /// A line that stays on the screen.
    pub(super) fn note(&self, text: &str) {
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => bar.println(format!("{}{text}", self.label)),
            Sink::Lines(_) => eprintln!("{}{text}", self.label),
        }
    }

    /// A poll said "not yet"; `text` is the server's own word on it.
    pub(super) fn waiting(&self, text: Option<&str>) {
        let text = text.unwrap_or("in progress");
        let text = match self.files.load(Ordering::Relaxed) {
            0 => text.to_owned(),
            _ => format!("{}; {text}", self.files_text()),
        };
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => bar.set_message(text),
            Sink::Lines(next) => self.line(next, || text),
        }
    }

    /// There are so many files to download by now, of so many bytes if that is known.
    pub(super) fn downloading(&self, files: u64, bytes: Option<u64>) {
        let before = self.files.swap(files, Ordering::Relaxed);
        let Sink::Bar(bar) = &self.sink else { return };
        if before == 0 {
            bar.reset();
        }
        match bytes {
            Some(bytes) => {
                bar.set_style(style("{prefix}{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}"));
                bar.set_length(bytes);
            }
            None => {
                bar.set_style(style("{prefix}{spinner} {bytes} {bytes_per_sec} {wide_msg}"));
            }
        }
        bar.set_message(self.files_text());
    }

    /// Bytes came in.
    pub(super) fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => bar.inc(bytes),
            Sink::Lines(next) => self.line(next, || self.download_text()),
        }
    }

    /// Bytes that came in before are to be fetched again.
    pub(super) fn received_in_vain(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Sink::Bar(bar) = &self.sink {
            bar.dec(bytes);
        }
    }

    /// A file is complete.
    pub(super) fn file_done(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
        if let Sink::Bar(bar) = &self.sink {
            bar.set_message(self.files_text());
        }
    }

    /// The export is over, well or not.
    pub(super) fn finished(&self) {
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => bar.finish_and_clear(),
            Sink::Lines(_) if self.files.load(Ordering::Relaxed) > 0 => {
                eprintln!("{}{}", self.label, self.download_text());
            }
            Sink::Lines(_) => {}
        }
    }

    fn files_text(&self) -> String {
        let done = HumanCount(self.files_done.load(Ordering::Relaxed));
        format!("{done} of {} files", HumanCount(self.files.load(Ordering::Relaxed)))
    }

    fn download_text(&self) -> String {
        format!("{}, {}", self.files_text(), HumanBytes(self.bytes.load(Ordering::Relaxed)))
    }

    fn line(&self, next: &Mutex<Option<Instant>>, text: impl FnOnce() -> String) {
        let now = Instant::now();
        let mut next = next.lock().expect("nothing panics while it holds the lock");
        if next.is_none_or(|due| due <= now) {
            *next = Some(now + BETWEEN_LINES);
            eprintln!("{}{}", self.label, text());
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_follows_an_export_and_its_repeated_downloads() {
        let bar = ProgressBar::hidden();
        let progress = Progress::new("a", Sink::Bar(bar.clone()));
        bar.set_style(style(WAITING));
        progress.waiting(Some("62%"));
        assert_eq!(bar.message(), "62%");
        progress.downloading(2, Some(1));
        progress.waiting(Some("80%"));
        assert_eq!(bar.message(), "0 of 2 files; 80%");
        progress.downloading(1200, None);
        progress.downloading(1200, Some(1000));
        progress.received(700);
        progress.received_in_vain(300);
        progress.file_done();
        assert_eq!((bar.position(), bar.length()), (400, Some(1000)));
        assert_eq!(bar.message(), "1 of 1,200 files");
        assert_eq!(bar.prefix(), "a: ");
        progress.finished();
        assert!(bar.is_finished());
    }
}

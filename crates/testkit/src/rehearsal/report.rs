//! What came of it.

use std::fmt;

/// What came of a rehearsal.
#[derive(Debug)]
pub struct Report {
    /// Blocks that were run.
    pub blocks: usize,
    /// Blocks and scenes that failed.
    pub failures: usize,
    /// Outputs that are not what the page says.
    pub differences: Vec<String>,
    alerts: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    alert: String,
    blocks: usize,
    seen: bool,
}

impl Report {
    pub(super) fn new(alerts: &[String]) -> Self {
        let row = |alert: &String| Row { alert: alert.clone(), blocks: 0, seen: false };
        Self { blocks: 0, failures: 0, differences: Vec::new(), alerts: alerts.iter().map(row).collect() }
    }

    pub(super) fn followed(&mut self, alert: &str, blocks: usize, seen: bool) {
        for row in self.alerts.iter_mut().filter(|row| row.alert == alert) {
            row.blocks += blocks;
            row.seen |= seen;
        }
    }

    /// Whether every block passed and printed what the page says, and every alert has a runbook that was followed.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.failures == 0 && self.differences.is_empty() && self.alerts.iter().all(|row| row.blocks > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(
                f,
                "the page shows another output (REHEARSE_UPDATE=1 writes it anew; a line that ends with … stands for any):\n{difference}\n"
            )?;
        }
        writeln!(f, "{:<32}{:>8}   condition seen", "alert", "blocks")?;
        for row in &self.alerts {
            let seen = if row.seen { "yes" } else { "not produced" };
            writeln!(f, "{:<32}{:>8}   {seen}", row.alert, row.blocks)?;
        }
        let seen = self.alerts.iter().filter(|row| row.seen).count();
        writeln!(
            f,
            "{} blocks run, {} failures, {} outputs differ",
            self.blocks,
            self.failures,
            self.differences.len()
        )?;
        write!(f, "{} alerts, the conditions of {seen} were seen", self.alerts.len())
    }
}

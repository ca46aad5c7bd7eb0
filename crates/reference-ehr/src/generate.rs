//! Synthetic practices: US-Core-shaped documents of the 20 USCDI types, for demonstrations and tests.
//!
//! The same options always give the same bytes. Nobody is described: names are combined from lists, codes
//! are common ones, values follow a patient's problems. A chart begins with who the patient is and what
//! they have, and goes on with visits over eight years; sizes are skewed as in real practices (a median of
//! about 400 resources a patient, and some with thousands).
//!
//! Documents hold what breaks careless code: escaped quotes, backslashes and line feeds, U+2028, names in
//! several scripts and with combining characters, decimals such as `7.10`, and (with
//! [`GenerateOptions::line_bytes`]) lines of any length. Each refers only to documents written before it, so
//! every reference resolves, wherever the wanted number is reached.

pub(crate) mod codes;
mod directory;
pub(crate) mod json;
pub(crate) mod moment;
pub(crate) mod names;
mod output;
mod patient;
mod plan;
pub(crate) mod rng;
mod visit;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use headgate_domain::ResourceType;
use indicatif::ProgressBar;
use serde::Serialize;

use codes::CHRONIC;
use moment::{DAY, FIRST_DAY, HOUR, LAST_DAY, MINUTE, Moment};
use output::Output;
use patient::{Person, provenance};
use plan::Plan;
use rng::Rng;
use visit::Visit;

/// How many resources a visit comes to, on average.
const VISIT_RESOURCES: i64 = 18;

/// What to generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateOptions {
    /// What makes this practice different from others.
    pub seed: u64,
    /// Exactly so many patients. Where nothing is said of patients and resources, 100.
    pub patients: Option<u32>,
    /// Exactly so many resources in all.
    pub resources: Option<u64>,
    /// Pads each shorter document with a narrative, to lines of this many bytes without the line feed.
    pub line_bytes: Option<usize>,
}

impl GenerateOptions {
    /// A practice of so many patients.
    #[must_use]
    pub fn patients(seed: u64, patients: u32) -> Self {
        Self { seed, patients: Some(patients), resources: None, line_bytes: None }
    }

    /// A practice of so many resources.
    #[must_use]
    pub fn resources(seed: u64, resources: u64) -> Self {
        Self { seed, patients: None, resources: Some(resources), line_bytes: None }
    }
}

/// What was generated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GenerateReport {
    /// Resources in all.
    pub resources: u64,
    /// Bytes of NDJSON, with line feeds.
    pub bytes: u64,
    /// Resources by type.
    pub by_type: BTreeMap<ResourceType, u64>,
}

/// Why nothing, or not everything, was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No patient was asked for.
    #[error("a practice has at least one patient")]
    NoPatients,
    /// Too few resources for the practice's directory, every type once, and the patients.
    #[error("{wanted} resources are too few: this practice has at least {least}")]
    TooFewResources {
        /// What was asked for.
        wanted: u64,
        /// The least that is possible.
        least: u64,
    },
    /// The files cannot be written.
    #[error("cannot write to {}", .folder.display())]
    Write {
        /// The folder that was asked for.
        folder: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
}

/// Generates one practice.
#[derive(Debug)]
pub struct Generator {
    options: GenerateOptions,
    plan: Plan,
}

impl Generator {
    /// Plans a practice: how many patients, and how many resources each.
    ///
    /// # Errors
    /// When no patients, or too few resources, are asked for.
    pub fn new(options: GenerateOptions) -> Result<Self, GenerateError> {
        let plan = Plan::new(&options)?;
        Ok(Self { options, plan })
    }

    /// How many resources it will be.
    #[must_use]
    pub fn resources(&self) -> u64 {
        self.plan.resources()
    }

    /// Writes `{Type}.ndjson` for each of the 20 types into a folder, which is made if it is missing; files
    /// of these names are replaced. Blocks the thread. The bar counts resources; its style and place are the
    /// caller's.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_ndjson(&self, folder: &Path, bar: &ProgressBar) -> Result<GenerateReport, GenerateError> {
        bar.set_length(self.resources());
        self.write(folder, bar).map_err(|source| GenerateError::Write { folder: folder.to_owned(), source })
    }

    fn write(&self, folder: &Path, bar: &ProgressBar) -> io::Result<GenerateReport> {
        let mut out = Output::create(folder, self.options.line_bytes, bar)?;
        out.allow(self.plan.directory.resources());
        self.plan.directory.write(&mut Rng::new(self.options.seed, 0), &mut out)?;
        for (number, size) in self.plan.charts.iter().enumerate() {
            out.allow(*size);
            // A stream of its own for each patient: one chart does not depend on the length of another.
            let mut rng = Rng::new(self.options.seed, number as u64 + 1);
            self.chart(*size, number == 0, &mut rng, &mut out)?;
        }
        let report = out.finish()?;
        bar.finish();
        Ok(report)
    }

    /// Writes one patient's chart of `size` resources. The `first` of a practice has every type.
    fn chart(&self, size: u64, first: bool, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
        let visits = i64::try_from(size).unwrap_or(i64::MAX) / VISIT_RESOURCES + 1;
        let interval = ((LAST_DAY.0 - FIRST_DAY.0) / visits).clamp(HOUR, 300 * DAY);
        let latest_start = LAST_DAY.0 - interval * visits;
        let mut at = office_hour(Moment(rng.between(FIRST_DAY.0, latest_start.max(FIRST_DAY.0 + DAY))), rng);

        let person = Person::new(rng, self.plan.directory, at);
        person.write(rng, at, out)?;
        let mut thorough = first;
        let mut is_new = true;
        while !out.is_full() {
            let encounter = rng.uuid();
            let directory = self.plan.directory;
            let mut visit = Visit { person: &person, directory, encounter, at, rng, out, thorough };
            visit.write_encounter()?;
            if is_new {
                let encounter = visit.encounter.clone();
                self.history(&person, &encounter, at, first, visit.rng, visit.out)?;
            }
            visit.write_findings()?;
            (thorough, is_new) = (false, false);
            let next = at.plus(rng.between(interval / 2, interval * 3 / 2));
            at = office_hour(
                if next < LAST_DAY { next } else { LAST_DAY.plus(-rng.between(1, 60) * DAY) },
                rng,
            );
        }
        Ok(())
    }

    /// What the first visit records once and for all.
    fn history(
        &self,
        person: &Person,
        encounter: &str,
        at: Moment,
        first: bool,
        rng: &mut Rng,
        out: &mut Output,
    ) -> io::Result<()> {
        let mut problems = Vec::new();
        for problem in &person.chronic {
            problems.push(person.condition(&CHRONIC[*problem], encounter, at, true, rng, out)?);
        }
        if rng.chance(45) || first {
            person.allergy(at, rng, out)?;
        }
        if rng.chance(60) || first {
            person.care(problems.first().map(String::as_str), at, rng, out)?;
        }
        if rng.chance(15) || first {
            person.implant(at, rng, out)?;
        }
        provenance(&[(ResourceType::Patient, &person.id)], &person.clinician, at, rng, out)
    }
}

/// The same day (of UTC), between nine and five by the practice's clock.
fn office_hour(moment: Moment, rng: &mut Rng) -> Moment {
    let day = moment.0.div_euclid(DAY) * DAY;
    Moment(day).plus(14 * HOUR).plus(rng.between(0, 95) * 5 * MINUTE)
}

#[cfg(test)]
mod tests;

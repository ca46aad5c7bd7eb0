//! The relational reference EHR: a normalised ambulatory EHR in PostgreSQL (`migrations/ehr`), and a
//! synthetic practice to fill it.
//!
//! - [`install`] makes the schemas: the EHR's tables, and the views of the source contract over them.
//! - [`populate`] fills the tables. The same number of patients and seed give the same practice.
//!
//! Nobody is described: names are combined from lists, codes are common ones, and values follow what a
//! patient has: hypertension raises blood pressure and diabetes haemoglobin A1c, children grow along the
//! charts, body mass index is computed from the height and weight beside it. The first patients of every
//! practice are of fixed kinds, and rare things come by turns, so that a practice of a hundred has all that
//! US Core asks for.

mod calendar;
mod care;
mod chart;
mod codes;
mod directory;
mod documents;
mod error;
mod family;
mod findings;
mod growth;
mod identifiers;
mod identity;
mod immunizations;
mod install;
mod keys;
mod labs;
mod life;
mod medications;
mod pdf;
mod person;
mod populate;
mod problems;
mod procedures;
mod rows;
mod screening;
mod turns;
mod visit;
mod vitals;

pub use error::PracticeError;
pub(crate) use identifiers::phone;
pub(crate) use install::SHARED_OWNER;
pub use install::{DEFAULT_EHR_SCHEMA, DEFAULT_EXPORT_SCHEMA, InstallOptions, install, is_installed};
pub use populate::{PopulateOptions, PopulateReport, populate};

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod test_ehr;
#[cfg(test)]
mod tests;

//! The reference EHR: a database that fulfils the source contract, for demonstrations, tests and for
//! practices whose own ETL writes NDJSON.
//!
//! - [`generate`] makes synthetic, US-Core-shaped documents of the 20 USCDI types: the same seed always
//!   gives the same bytes.
//! - [`load`](mod@load) fills the plain-table variant of the contract (one table per resource type, the
//!   body as `text`) from a folder of NDJSON. Bodies are stored byte for byte, so an export of such a
//!   practice must equal the files that were loaded.
//! - [`MAPPING_FILES`] are those templates.
//! - [`practice`] makes the relational EHR, whose columns row templates turn into FHIR, and fills it.
//! - [`mod@simulate`] writes to it as a practice at work does.
//! - [`reader`] makes the read-only role with which the engine reads the tables.

mod database;
pub mod generate;
pub mod load;
mod mapping;
pub mod practice;
pub mod reader;
pub mod simulate;

pub use database::DatabaseError;
pub use generate::{GenerateError, GenerateOptions, GenerateReport, Generator};
pub use load::{LoadError, LoadOptions, LoadReport, load};
pub use mapping::{MAPPING, MAPPING_FILES};
pub use practice::{
    InstallOptions, PopulateOptions, PopulateReport, PracticeError, install, is_installed, populate,
};
pub use reader::grant_reader;
pub use simulate::{SimulateOptions, SimulateReport, simulate};

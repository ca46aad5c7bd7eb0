//! What the charts are made of: common codes of SNOMED CT, ICD-10-CM, LOINC, RxNorm, CVX, NDC, CPT and the
//! rest, and what belongs to them.

pub(super) mod disorders;
pub(super) mod drugs;
pub(super) mod laboratory;
pub(super) mod people;
pub(super) mod services;
pub(super) mod surveys;
pub(super) mod vaccines;

pub(super) const SNOMED: &str = "http://snomed.info/sct";
pub(super) const LOINC: &str = "http://loinc.org";
pub(super) const NULL_FLAVOR: &str = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor";

/// A code and what it says, of a system that goes without saying where it is used.
pub(super) type Term = (&'static str, &'static str);

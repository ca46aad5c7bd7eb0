//! How patients describe themselves, their insurance, and who looks after them.

use super::Term;

/// Race: OMB category and a finer code below it, of `urn:oid:2.16.840.1.113883.6.238`.
pub(crate) static RACES: [(Term, Option<Term>, i64); 6] = [
    (("2106-3", "White"), Some(("2108-9", "European")), 55),
    (("2054-5", "Black or African American"), Some(("2058-6", "African American")), 18),
    (("2028-9", "Asian"), Some(("2047-7", "Vietnamese")), 9),
    (("2028-9", "Asian"), Some(("2034-7", "Chinese")), 8),
    (("1002-5", "American Indian or Alaska Native"), Some(("1586-7", "Shoshone")), 6),
    (("2076-8", "Native Hawaiian or Other Pacific Islander"), Some(("2079-2", "Native Hawaiian")), 4),
];

pub(crate) static HISPANIC: [Term; 3] =
    [("2148-5", "Mexican"), ("2180-8", "Puerto Rican"), ("2184-0", "Dominican")];

pub(crate) const CDC_RACE_AND_ETHNICITY: &str = "urn:oid:2.16.840.1.113883.6.238";
pub(crate) const TRIBES: &str = "http://terminology.hl7.org/CodeSystem/v3-TribalEntityUS";
pub(crate) const TRIBE: Term = ("187", "Paiute-Shoshone Tribe of the Fallon Reservation and Colony, Nevada");

/// Gender identity: SNOMED CT.
pub(crate) const IDENTIFIES_FEMALE: Term = ("446141000124107", "Identifies as female gender");
pub(crate) const IDENTIFIES_MALE: Term = ("446151000124109", "Identifies as male gender");
pub(crate) const IDENTIFIES_OTHERWISE: Term = ("446131000124102", "Identifies as non-conforming gender");

/// Sexual orientation: SNOMED CT.
pub(crate) static ORIENTATIONS: [Term; 3] =
    [("20430005", "Heterosexual"), ("38628009", "Homosexual"), ("42035005", "Bisexual")];

/// Tobacco: never, former, daily; SNOMED CT.
pub(crate) static SMOKING: [Term; 3] =
    [("266919005", "Never smoked tobacco"), ("8517006", "Ex-smoker"), ("449868002", "Smokes tobacco daily")];

/// Occupation and industry (Occupational Data for Health).
pub(crate) const OCCUPATIONS: &str = "http://terminology.hl7.org/CodeSystem/PHOccupationalDataForHealthODH";
pub(crate) const OCCUPATION: Term =
    ("31-1014.00.007136", "Certified Nursing Assistant (CNA) [Nursing Assistants]");
pub(crate) const INDUSTRY: Term = ("621610.008495", "Home nursing services");

/// Pregnancy status and intention: SNOMED CT.
pub(crate) const PREGNANT: Term = ("77386006", "Pregnant");
pub(crate) const NOT_PREGNANT: Term = ("60001007", "Not pregnant");
pub(crate) const UNSURE_OF_PREGNANCY: Term = ("454381000124105", "Not sure of desire to become pregnant");

/// Kinds of insurance (NAHDO source of payment typology).
pub(crate) const MEDICARE: Term = ("1", "Medicare");
pub(crate) const MEDICAID: Term = ("2", "Medicaid");
pub(crate) const COMMERCIAL: Term = ("512", "Commercial Managed Care - PPO");

/// Specialties (NUCC provider taxonomy), with the suffix of a clinician's name.
pub(crate) static SPECIALTIES: [(Term, &str); 5] = [
    (("207Q00000X", "Family Medicine Physician"), "MD"),
    (("207R00000X", "Internal Medicine Physician"), "MD"),
    (("208000000X", "Pediatrics Physician"), "DO"),
    (("363LF0000X", "Family Nurse Practitioner"), "NP"),
    (("363A00000X", "Physician Assistant"), "PA-C"),
];

/// Roles in a care team: SNOMED CT.
pub(crate) const PRIMARY_CARE: Term = ("453231000124104", "Primary care provider");
pub(crate) const NURSE: Term = ("106292003", "Professional nurse");
pub(crate) const PATIENT_ROLE: Term = ("116154003", "Patient");
pub(crate) const CAREGIVER: Term = ("133932002", "Caregiver");
pub(crate) const PHARMACY_ROLE: Term = ("264372000", "Pharmacy");

/// Allergens: RxNorm (else SNOMED CT), text, category, type.
pub(crate) static ALLERGENS: [(bool, Term, &str, &str); 8] = [
    (true, ("7980", "penicillin G"), "medication", "allergy"),
    (true, ("1191", "aspirin"), "medication", "intolerance"),
    (true, ("10831", "sulfamethoxazole / trimethoprim"), "medication", "allergy"),
    (false, ("300916003", "Latex allergy"), "environment", "allergy"),
    (false, ("232350006", "House dust mite allergy"), "environment", "allergy"),
    (false, ("91935009", "Allergy to peanut"), "food", "allergy"),
    (false, ("300913006", "Allergy to shellfish"), "food", "allergy"),
    (false, ("782415009", "Intolerance to lactose"), "food", "intolerance"),
];

pub(crate) const NO_KNOWN_ALLERGY: Term = ("716186003", "No known allergy");

pub(crate) static REACTIONS: [Term; 5] = [
    ("271807003", "Eruption of skin"),
    ("126485001", "Urticaria"),
    ("422587007", "Nausea"),
    ("56018004", "Wheezing"),
    ("39579001", "Anaphylaxis"),
];

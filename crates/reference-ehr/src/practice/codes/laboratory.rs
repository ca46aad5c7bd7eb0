//! Laboratory panels, and the specimens that they take.

use crate::generate::codes::{PANELS as SAMPLE_PANELS, Test, loinc, test};

use super::Term;

/// What a test without a number finds: SNOMED CT.
#[derive(Debug)]
pub(crate) struct Qualitative {
    pub loinc: &'static str,
    pub text: &'static str,
}

/// A panel that is ordered as one.
pub(crate) struct Panel {
    pub loinc: &'static str,
    pub text: &'static str,
    /// SNOMED CT, below 123038009 (specimen).
    pub specimen: Term,
    /// SNOMED CT, body structure.
    pub site: Option<Term>,
    pub tests: &'static [Test],
    pub qualitative: &'static [Qualitative],
}

const SERUM: Term = ("119364003", "Serum specimen");
const BLOOD: Term = ("119297000", "Blood specimen");
const URINE: Term = ("122575003", "Urine specimen");
const THROAT: Term = ("258529004", "Throat swab");

const ARM: Option<Term> = Some(("368208006", "Left upper arm structure"));
const PHARYNX: Option<Term> = Some(("54066008", "Pharyngeal structure"));

const fn panel(loinc: &'static str, text: &'static str, specimen: Term, tests: &'static [Test]) -> Panel {
    Panel { loinc, text, specimen, site: ARM, tests, qualitative: &[] }
}

// Places in PANELS of those that are chosen by what a patient has.
pub(crate) const METABOLIC: usize = 0;
pub(crate) const LIPIDS: usize = 1;
pub(crate) const BLOOD_COUNT: usize = 2;
pub(crate) const A1C: usize = 3;
pub(crate) const THYROID: usize = 4;
pub(crate) const URINALYSIS: usize = 5;
pub(crate) const STREP: usize = 6;
pub(crate) const INR: usize = 7;
pub(crate) const LEAD: usize = 8;
pub(crate) const CRP: usize = 9;

/// The tests that what a patient has raises.
pub(crate) const GLUCOSE: [&str; 2] = ["2339-0", "2345-7"];
pub(crate) const HEMOGLOBIN_A1C: &str = "4548-4";
pub(crate) const CREATININE: &str = "38483-4";
pub(crate) const CHOLESTEROLS: [&str; 2] = ["2093-3", "18262-6"];
pub(crate) const THYROTROPIN: &str = "3016-3";
pub(crate) const PROTHROMBIN: &str = "6301-6";

pub(crate) static PANELS: [Panel; 10] = [
    panel("51990-0", "Basic metabolic panel - Blood", BLOOD, SAMPLE_PANELS[0].tests),
    panel("57698-3", "Lipid panel with direct LDL - Serum or Plasma", SERUM, SAMPLE_PANELS[1].tests),
    panel("58410-2", "CBC panel - Blood by Automated count", BLOOD, SAMPLE_PANELS[2].tests),
    panel(
        "55454-3",
        "Hemoglobin A1c in Blood",
        BLOOD,
        &[test(loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), "%", 2, 480, 570)],
    ),
    panel(
        "24348-5",
        "Free T4 and TSH panel - Serum or Plasma",
        SERUM,
        &[
            test(loinc("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), "m[IU]/L", 2, 45, 410),
            test(
                loinc("3024-7", "Thyroxine (T4) free [Mass/volume] in Serum or Plasma"),
                "ng/dL",
                2,
                80,
                180,
            ),
        ],
    ),
    Panel {
        loinc: "24356-8",
        text: "Urinalysis complete panel - Urine",
        specimen: URINE,
        site: None,
        tests: &[
            test(loinc("5803-2", "pH of Urine by Test strip"), "[pH]", 1, 50, 80),
            test(loinc("5811-5", "Specific gravity of Urine by Test strip"), "{ratio}", 3, 1005, 1030),
        ],
        qualitative: &[
            Qualitative { loinc: "5792-7", text: "Glucose [Mass/volume] in Urine by Test strip" },
            Qualitative { loinc: "5799-2", text: "Leukocyte esterase [Presence] in Urine by Test strip" },
            Qualitative { loinc: "5802-4", text: "Nitrite [Presence] in Urine by Test strip" },
        ],
    },
    Panel {
        loinc: "78012-2",
        text: "Streptococcus pyogenes Ag [Presence] in Throat by Rapid immunoassay",
        specimen: THROAT,
        site: PHARYNX,
        tests: &[],
        qualitative: &[Qualitative {
            loinc: "78012-2",
            text: "Streptococcus pyogenes Ag [Presence] in Throat by Rapid immunoassay",
        }],
    },
    panel(
        "34528-0",
        "PT panel - Platelet poor plasma by Coagulation assay",
        BLOOD,
        &[
            test(loinc("5902-2", "Prothrombin time (PT)"), "s", 1, 110, 135),
            test(loinc("6301-6", "INR in Platelet poor plasma by Coagulation assay"), "{INR}", 1, 9, 12),
        ],
    ),
    panel(
        "5671-3",
        "Lead [Mass/volume] in Blood",
        BLOOD,
        &[test(loinc("5671-3", "Lead [Mass/volume] in Blood"), "ug/dL", 1, 0, 35)],
    ),
    panel(
        "1988-5",
        "C reactive protein [Mass/volume] in Serum or Plasma",
        SERUM,
        &[test(loinc("1988-5", "C reactive protein [Mass/volume] in Serum or Plasma"), "mg/L", 1, 0, 80)],
    ),
];

/// What qualitative tests find: SNOMED CT.
pub(crate) const NEGATIVE: Term = ("260385009", "Negative");
pub(crate) const POSITIVE: Term = ("10828004", "Positive");

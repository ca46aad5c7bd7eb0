//! Visits, procedures, reports and devices.

use super::Term;

/// A kind of visit: SNOMED CT and text.
pub(crate) const GENERAL_EXAM: Term = ("162673000", "General examination of patient");
pub(crate) const WELL_CHILD: Term = ("410620009", "Well child visit");
pub(crate) const FOLLOW_UP: Term = ("390906007", "Follow-up encounter");
pub(crate) const SYMPTOM: Term = ("185345009", "Encounter for symptom");

/// A procedure: CPT or HCPCS, SNOMED CT, text, minutes.
#[derive(Debug)]
pub(crate) struct Service {
    pub cpt: &'static str,
    pub snomed: &'static str,
    pub text: &'static str,
    pub minutes: i64,
}

const fn service(cpt: &'static str, snomed: &'static str, text: &'static str, minutes: i64) -> Service {
    Service { cpt, snomed, text, minutes }
}

/// Done in the office.
pub(crate) static OFFICE: [Service; 6] = [
    service("36415", "82078001", "Collection of blood specimen for laboratory", 5),
    service("94010", "127783003", "Spirometry", 15),
    service("96127", "171207006", "Depression screening", 5),
    service("92551", "398171003", "Hearing examination", 10),
    service("17000", "26782000", "Cryotherapy", 10),
    service("11102", "240977001", "Biopsy of skin", 20),
];

/// Ordered first, done after: counselling and education.
pub(crate) static COUNSELLING: [Service; 2] = [
    service("97802", "11816003", "Diet education", 30),
    service("99406", "225323000", "Smoking cessation education", 10),
];

/// An operation, its device (SNOMED CT, text), and the lateral site.
pub(crate) static OPERATIONS: [(Service, Term, Term); 4] = [
    (
        service("33208", "307280005", "Implantation of cardiac pacemaker", 90),
        ("706004007", "Implantable cardiac pacemaker"),
        ("80891009", "Heart structure"),
    ),
    (
        service("33249", "395218007", "Insertion of implantable cardioverter-defibrillator", 110),
        ("72506001", "Implantable defibrillator"),
        ("80891009", "Heart structure"),
    ),
    (
        service("27447", "609588000", "Total replacement of knee joint", 120),
        ("109228008", "Knee joint prosthesis"),
        ("72696002", "Knee region structure"),
    ),
    (
        service("27130", "52734007", "Total replacement of hip", 130),
        ("468063009", "Coated femoral stem prosthesis, modular"),
        ("24136001", "Hip joint structure"),
    ),
];

/// An examination that ends with a report: category of the order (SNOMED CT), category of the report (LOINC),
/// type of the document (LOINC), whether there is an image, and what the report says.
#[derive(Debug)]
pub(crate) struct Study {
    pub service: Service,
    pub order: Term,
    pub category: &'static str,
    pub loinc: &'static str,
    pub title: &'static str,
    pub has_image: bool,
    pub impression: &'static str,
}

const IMAGING: Term = ("363679005", "Imaging");
const EVALUATION: Term = ("386053000", "Evaluation procedure");

pub(crate) const RADIOLOGY: &str = "LP29684-5";
pub(crate) const CARDIOLOGY: &str = "LP29708-2";
const PATHOLOGY: &str = "LP7839-6";

pub(crate) static STUDIES: [Study; 4] = [
    Study {
        service: service("71046", "399208008", "Plain chest X-ray", 10),
        order: IMAGING,
        category: RADIOLOGY,
        loinc: "36643-5",
        title: "XR Chest 2 Views",
        has_image: true,
        impression: "No acute cardiopulmonary abnormality.",
    },
    Study {
        service: service("93000", "29303009", "Electrocardiographic procedure", 10),
        order: EVALUATION,
        category: CARDIOLOGY,
        loinc: "11524-6",
        title: "EKG study",
        has_image: true,
        impression: "Normal sinus rhythm. No ST-T changes.",
    },
    Study {
        service: service("88305", "71388002", "Histopathology examination", 30),
        order: EVALUATION,
        category: PATHOLOGY,
        loinc: "11529-5",
        title: "Surgical pathology study",
        has_image: false,
        impression: "Benign; margins free. (See comment.)",
    },
    Study {
        service: service("77067", "24623002", "Screening mammography", 15),
        order: IMAGING,
        category: RADIOLOGY,
        loinc: "24606-6",
        title: "MG Breast Screening",
        has_image: true,
        impression: "BI-RADS 1: negative.",
    },
];

/// Types of notes: LOINC and title.
pub(crate) const PROGRESS_NOTE: Term = ("11506-3", "Progress note");
pub(crate) const HISTORY_AND_PHYSICAL: Term = ("34117-2", "History and physical note");
pub(crate) const PROCEDURE_NOTE: Term = ("28570-0", "Procedure note");
pub(crate) const CONSULT_NOTE: Term = ("11488-4", "Consult note");
pub(crate) const DISCHARGE_SUMMARY: Term = ("18842-5", "Discharge summary");
pub(crate) const VISIT_SUMMARY: Term = ("34133-9", "Summary of episode note");

/// Categories of orders: SNOMED CT.
pub(crate) const LABORATORY_ORDER: Term = ("108252007", "Laboratory procedure");
pub(crate) const COUNSELLING_ORDER: Term = ("409063005", "Counselling");
pub(crate) const SURGERY_ORDER: Term = ("387713003", "Surgical procedure");
pub(crate) const SOCIAL_ORDER: Term = ("410606002", "Social service procedure");

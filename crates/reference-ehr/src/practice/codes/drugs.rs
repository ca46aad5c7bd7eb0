//! The practice's drugs and how they are taken.

use crate::generate::json::Decimal;

use super::Term;

/// A drug as it is prescribed.
#[derive(Debug)]
pub(crate) struct Drug {
    pub rxnorm: &'static str,
    pub ndc: Option<&'static str>,
    pub name: &'static str,
    /// SNOMED CT, below 736542009 (pharmaceutical dose form).
    pub form: Option<Term>,
    /// SNOMED CT, below 284009009 (route of administration).
    pub route: &'static str,
    pub sig: &'static str,
    pub dose: Decimal,
    /// UCUM; things that are counted are annotations.
    pub unit: &'static str,
    /// So many times in a period of so many units.
    pub times: i64,
    pub period: i64,
    pub period_unit: &'static str,
    pub as_needed: bool,
    pub days: i64,
}

const TABLET: Option<Term> = Some(("385055001", "Tablet"));
const CAPSULE: Option<Term> = Some(("385049006", "Capsule"));
const CREAM: Option<Term> = Some(("385099005", "Cutaneous cream"));
const INJECTION: Option<Term> = Some(("385220007", "Suspension for injection"));

const ORAL: &str = "26643006";
const TOPICAL: &str = "6064005";
const INHALED: &str = "447694001";
const SUBCUTANEOUS: &str = "34206005";

type Name = (&'static str, &'static str, &'static str);

/// Tablets by mouth, so many a day.
const fn tablet((rxnorm, ndc, name): Name, sig: &'static str, times: i64, days: i64) -> Drug {
    Drug {
        rxnorm,
        ndc: if ndc.is_empty() { None } else { Some(ndc) },
        name,
        form: TABLET,
        route: ORAL,
        sig,
        dose: Decimal(1, 0),
        unit: "{tbl}",
        times,
        period: 1,
        period_unit: "d",
        as_needed: false,
        days,
    }
}

const fn capsule(name: Name, sig: &'static str, times: i64, days: i64) -> Drug {
    Drug { form: CAPSULE, unit: "{capsule}", ..tablet(name, sig, times, days) }
}

const fn inhaler(name: Name, sig: &'static str, times: i64, days: i64) -> Drug {
    Drug { form: None, route: INHALED, dose: Decimal(2, 0), unit: "{puff}", ..tablet(name, sig, times, days) }
}

const ONCE: &str = "Take 1 tablet by mouth once daily.";
const TWICE: &str = "Take 1 tablet by mouth twice daily with meals.";

/// All of them.
pub(crate) static DRUGS: [Drug; 28] = [
    tablet(("314076", "68180098001", "lisinopril 10 MG Oral Tablet"), ONCE, 1, 90),
    tablet(("197361", "00069153068", "amlodipine 5 MG Oral Tablet"), ONCE, 1, 90),
    tablet(("310798", "00172208380", "hydrochlorothiazide 25 MG Oral Tablet"), ONCE, 1, 90),
    tablet(("866436", "", "24 HR metoprolol succinate 50 MG Extended Release Oral Tablet"), ONCE, 1, 90),
    tablet(("861007", "65862000801", "metformin hydrochloride 500 MG Oral Tablet"), TWICE, 2, 90),
    tablet(("312961", "", "simvastatin 20 MG Oral Tablet"), "Take 1 tablet by mouth at bedtime.", 1, 90),
    tablet(("617310", "00378395177", "atorvastatin 20 MG Oral Tablet"), ONCE, 1, 90),
    tablet(
        ("966222", "", "levothyroxine sodium 0.075 MG Oral Tablet"),
        "Take 1 tablet by mouth every morning on an empty stomach.",
        1,
        90,
    ),
    tablet(("312941", "00049490066", "sertraline 50 MG Oral Tablet"), ONCE, 1, 30),
    tablet(
        ("855332", "00056017270", "warfarin sodium 5 MG Oral Tablet"),
        "Take 1 tablet by mouth every evening, or as directed by the anticoagulation clinic.",
        1,
        30,
    ),
    capsule(
        ("198051", "", "omeprazole 20 MG Delayed Release Oral Capsule"),
        "Take 1 capsule by mouth daily, 30 minutes before breakfast.",
        1,
        30,
    ),
    capsule(
        ("310431", "00071080524", "gabapentin 300 MG Oral Capsule"),
        "Take 1 capsule by mouth three times daily.",
        3,
        30,
    ),
    capsule(
        ("308191", "00093310905", "amoxicillin 500 MG Oral Capsule"),
        "Take 1 capsule by mouth three times daily until gone.",
        3,
        10,
    ),
    capsule(
        ("308182", "", "amoxicillin 250 MG Oral Capsule"),
        "1 capsule three times daily for 10 days.",
        3,
        10,
    ),
    tablet(
        ("562251", "", "amoxicillin 250 MG / clavulanate 125 MG Oral Tablet"),
        "Take 1 tablet by mouth every 12 hours for 7 days.",
        2,
        7,
    ),
    tablet(("308460", "", "azithromycin 250 MG Oral Tablet"), "Two tablets on day 1, then 1 daily.", 1, 5),
    Drug {
        as_needed: true,
        period: 6,
        period_unit: "h",
        ..tablet(
            ("198440", "", "acetaminophen 500 MG Oral Tablet"),
            "1 tablet every 6 hours as needed.",
            1,
            10,
        )
    },
    Drug {
        as_needed: true,
        period: 8,
        period_unit: "h",
        ..tablet(("197806", "", "ibuprofen 600 MG Oral Tablet"), "1 tablet every 8 hours with food.", 1, 10)
    },
    Drug {
        as_needed: true,
        period: 6,
        period_unit: "h",
        ..tablet(
            ("313820", "", "acetaminophen 160 MG Chewable Tablet"),
            "Chew 1 tablet every 6 h for fever.",
            1,
            5,
        )
    },
    tablet(("997488", "", "fexofenadine hydrochloride 30 MG Oral Tablet"), TWICE, 2, 30),
    tablet(("1014676", "", "cetirizine hydrochloride 5 MG Oral Tablet"), ONCE, 1, 30),
    tablet(("243670", "", "aspirin 81 MG Oral Tablet"), ONCE, 1, 90),
    tablet(("849574", "", "naproxen sodium 220 MG Oral Tablet"), "1 tablet twice daily with food.", 2, 14),
    Drug {
        as_needed: true,
        period: 4,
        period_unit: "h",
        ..inhaler(
            ("745679", "", "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"),
            "Inhale 2 puffs every 4 hours as needed for wheezing.",
            1,
            30,
        )
    },
    inhaler(
        ("895994", "", "120 ACTUAT fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler"),
        "Inhale 2 puffs twice daily; rinse the mouth afterwards.",
        2,
        30,
    ),
    Drug {
        form: CREAM,
        route: TOPICAL,
        dose: Decimal(5, 1),
        unit: "g",
        ..tablet(("106258", "", "hydrocortisone 10 MG/ML Topical Cream"), "Thin layer twice daily.", 2, 14)
    },
    Drug {
        form: INJECTION,
        route: SUBCUTANEOUS,
        dose: Decimal(12, 0),
        unit: "[iU]",
        ..tablet(
            (
                "106892",
                "00002871501",
                "insulin human, isophane 70 UNT/ML / Regular Insulin, Human 30 UNT/ML Injectable Suspension [Humulin]",
            ),
            "Inject 12 units under the skin before breakfast and before supper.",
            2,
            30,
        )
    },
    Drug {
        period: 1,
        period_unit: "wk",
        ..tablet(
            ("904420", "", "alendronic acid 10 MG Oral Tablet"),
            "1 tablet weekly with a full glass of water; stay upright for 30 minutes.",
            1,
            84,
        )
    },
];

/// The place of a drug in [`DRUGS`].
pub(crate) fn place(rxnorm: &str) -> usize {
    DRUGS.iter().position(|drug| drug.rxnorm == rxnorm).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::disorders::{ACUTE, CHRONIC};
    use super::*;

    #[test]
    fn every_drug_that_a_disorder_names_is_there() {
        for disorder in CHRONIC.iter().map(|c| &c.disorder).chain(&ACUTE) {
            for rxnorm in disorder.drugs {
                assert_eq!(DRUGS[place(rxnorm)].rxnorm, *rxnorm);
            }
        }
    }
}

//! The codes that the documents use: common ones of SNOMED CT, LOINC, RxNorm, CVX, ICD-10-CM and HL7.

/// One code of a code system.
#[derive(Debug)]
pub(crate) struct Code {
    pub system: &'static str,
    pub code: &'static str,
    pub display: &'static str,
}

pub(crate) const fn code(system: &'static str, code: &'static str, display: &'static str) -> Code {
    Code { system, code, display }
}

pub(crate) const fn snomed(c: &'static str, display: &'static str) -> Code {
    code("http://snomed.info/sct", c, display)
}

pub(crate) const fn loinc(c: &'static str, display: &'static str) -> Code {
    code("http://loinc.org", c, display)
}

pub(crate) const fn rxnorm(c: &'static str, display: &'static str) -> Code {
    code("http://www.nlm.nih.gov/research/umls/rxnorm", c, display)
}

pub(crate) const fn icd10(c: &'static str) -> Code {
    code("http://hl7.org/fhir/sid/icd-10-cm", c, "")
}

pub(crate) const fn cvx(c: &'static str, display: &'static str) -> Code {
    code("http://hl7.org/fhir/sid/cvx", c, display)
}

/// A code of a code system below `http://terminology.hl7.org/CodeSystem/`.
macro_rules! hl7 {
    ($system:literal, $code:literal) => {
        hl7!($system, $code, "")
    };
    ($system:literal, $code:literal, $display:literal) => {
        $crate::generate::codes::Code {
            system: concat!("http://terminology.hl7.org/CodeSystem/", $system),
            code: $code,
            display: $display,
        }
    };
}
pub(crate) use hl7;

/// A problem: its SNOMED code, its ICD-10-CM code and the formulary's drug for it.
pub(crate) struct Problem {
    pub snomed: Code,
    pub icd10: Code,
    pub drug: usize,
}

pub(crate) const fn problem(snomed: Code, icd: &'static str, drug: usize) -> Problem {
    Problem { snomed, icd10: icd10(icd), drug }
}

/// The first two decide the course of blood pressure and blood sugar.
pub(crate) const HYPERTENSION: usize = 0;
pub(crate) const DIABETES: usize = 1;
pub(crate) static CHRONIC: [Problem; 10] = [
    problem(snomed("59621000", "Hypertension"), "I10", 0),
    problem(snomed("44054006", "Diabetes mellitus type 2"), "E11.9", 1),
    problem(snomed("55822004", "Hyperlipidemia"), "E78.5", 2),
    problem(snomed("195967001", "Asthma"), "J45.909", 3),
    problem(snomed("162864005", "Body mass index 30+ - obesity (finding)"), "E66.9", 1),
    problem(snomed("40930008", "Hypothyroidism"), "E03.9", 4),
    problem(snomed("278860009", "Chronic low back pain (finding)"), "M54.50", 5),
    problem(snomed("9014002", "Psoriasis"), "L40.9", 6),
    problem(snomed("49436004", "Atrial fibrillation"), "I48.91", 7),
    problem(snomed("235595009", "Gastroesophageal reflux disease"), "K21.9", 8),
];

pub(crate) static ACUTE: [Problem; 10] = [
    problem(snomed("444814009", "Viral sinusitis (disorder)"), "J01.90", 9),
    problem(snomed("195662009", "Acute viral pharyngitis (disorder)"), "J02.9", 9),
    problem(snomed("10509002", "Acute bronchitis (disorder)"), "J20.9", 10),
    problem(snomed("65363002", "Otitis media"), "H66.90", 11),
    problem(snomed("25064002", "Headache (finding)"), "R51.9", 9),
    problem(snomed("201101007", "Actinic keratosis"), "L57.0", 6),
    problem(snomed("24079001", "Atopic dermatitis"), "L20.9", 6),
    problem(snomed("68566005", "Urinary tract infectious disease"), "N39.0", 11),
    problem(snomed("254701007", "Basal cell carcinoma of skin"), "C44.91", 5),
    problem(snomed("57676002", "Joint pain (finding)"), "M25.50", 5),
];

/// The practice's formulary: what its Medication rows hold.
pub(crate) static FORMULARY: [Code; 12] = [
    rxnorm("314076", "lisinopril 10 MG Oral Tablet"),
    rxnorm("860975", "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet"),
    rxnorm("312961", "Simvastatin 20 MG Oral Tablet"),
    rxnorm(
        "896209",
        "60 ACTUAT Fluticasone propionate 0.25 MG/ACTUAT / salmeterol 0.05 MG/ACTUAT Dry Powder Inhaler",
    ),
    rxnorm("966222", "Levothyroxine Sodium 0.075 MG Oral Tablet"),
    rxnorm("206905", "Ibuprofen 400 MG Oral Tablet [Ibu]"),
    rxnorm("106258", "Hydrocortisone 10 MG/ML Topical Cream"),
    rxnorm("855332", "Warfarin Sodium 5 MG Oral Tablet"),
    rxnorm("198051", "Omeprazole 20 MG Delayed Release Oral Capsule"),
    rxnorm("198440", "Acetaminophen 500 MG Oral Tablet"),
    rxnorm("308460", "Azithromycin 250 MG Oral Tablet"),
    rxnorm("562251", "Amoxicillin 250 MG / Clavulanate 125 MG Oral Tablet"),
];

pub(crate) static VACCINES: [Code; 7] = [
    cvx("140", "Influenza, seasonal, injectable, preservative free"),
    cvx("113", "Td (adult) preservative free"),
    cvx("133", "Pneumococcal conjugate PCV 13"),
    cvx("121", "zoster"),
    cvx("52", "Hep A, adult"),
    cvx("43", "Hep B, adult"),
    cvx("115", "Tdap"),
];

pub(crate) static PROCEDURES: [Code; 7] = [
    snomed("430193006", "Medication Reconciliation (procedure)"),
    snomed("76601001", "Intramuscular injection"),
    snomed("127783003", "Spirometry (procedure)"),
    snomed("171207006", "Depression screening"),
    snomed("73761001", "Colonoscopy"),
    snomed("398171003", "Hearing examination (procedure)"),
    snomed("399208008", "Plain chest X-ray (procedure)"),
];

/// An allergen and its FHIR category.
pub(crate) static ALLERGENS: [(Code, &str); 6] = [
    (snomed("300916003", "Latex allergy"), "environment"),
    (snomed("232350006", "House dust mite allergy"), "environment"),
    (snomed("418689008", "Allergy to grass pollen"), "environment"),
    (snomed("91935009", "Allergy to peanuts"), "food"),
    (snomed("300913006", "Shellfish allergy"), "food"),
    (rxnorm("7980", "penicillin G"), "medication"),
];

pub(crate) static REACTIONS: [Code; 4] = [
    snomed("271807003", "Eruption of skin"),
    snomed("126485001", "Urticaria"),
    snomed("422587007", "Nausea"),
    snomed("56018004", "Wheezing (finding)"),
];

pub(crate) static DEVICES: [Code; 2] = [
    snomed("706004007", "Implantable cardiac pacemaker (physical object)"),
    snomed("72506001", "Implantable defibrillator, device (physical object)"),
];

/// A care plan, its activity and the goal that comes with it.
pub(crate) static PLANS: [(Code, Code, &str); 3] = [
    (
        snomed("443402002", "Lifestyle education regarding hypertension"),
        snomed("386463000", "Prescribed activity/exercise education"),
        "Blood pressure below 130/80 mm[Hg] at home",
    ),
    (
        snomed("698360004", "Diabetes self management plan"),
        snomed("160670007", "Diabetic diet"),
        "Hemoglobin A1c below 7.0 %",
    ),
    (
        snomed("384758001", "Self-care interventions (procedure)"),
        snomed("229065009", "Exercise therapy"),
        "Able to climb two flights of stairs without a rest",
    ),
];

pub(crate) static VISIT_TYPES: [Code; 4] = [
    snomed("162673000", "General examination of patient (procedure)"),
    snomed("185345009", "Encounter for symptom"),
    snomed("390906007", "Follow-up encounter"),
    snomed("185347001", "Encounter for problem"),
];

pub(crate) static NOTE_TYPES: [Code; 3] = [
    loinc("11506-3", "Progress note"),
    loinc("34117-2", "History and physical note"),
    loinc("11488-4", "Consult note"),
];

pub(crate) static SMOKING: [Code; 3] = [
    snomed("266919005", "Never smoked tobacco (finding)"),
    snomed("8517006", "Ex-smoker (finding)"),
    snomed("449868002", "Smokes tobacco daily (finding)"),
];

/// A laboratory test: code, unit, decimals, and the ordinary range in the last decimal.
pub(crate) struct Test {
    pub code: Code,
    pub unit: &'static str,
    pub decimals: u32,
    pub low: i64,
    pub high: i64,
}

pub(crate) const fn test(code: Code, unit: &'static str, decimals: u32, low: i64, high: i64) -> Test {
    Test { code, unit, decimals, low, high }
}

/// A panel: its code and its tests.
pub(crate) struct Panel {
    pub code: Code,
    pub tests: &'static [Test],
}

/// The first panel holds the glucose and A1c that diabetes raises.
pub(crate) static PANELS: [Panel; 3] = [
    Panel {
        code: loinc("51990-0", "Basic metabolic panel - Blood"),
        tests: &[
            test(loinc("2339-0", "Glucose [Mass/volume] in Blood"), "mg/dL", 0, 72, 104),
            test(loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), "%", 2, 480, 570),
            test(loinc("6299-2", "Urea nitrogen [Mass/volume] in Blood"), "mg/dL", 1, 70, 200),
            test(loinc("38483-4", "Creatinine [Mass/volume] in Blood"), "mg/dL", 2, 60, 120),
            test(loinc("49765-1", "Calcium [Mass/volume] in Blood"), "mg/dL", 2, 850, 1020),
            test(loinc("2947-0", "Sodium [Moles/volume] in Blood"), "mmol/L", 0, 136, 144),
            test(loinc("6298-4", "Potassium [Moles/volume] in Blood"), "mmol/L", 1, 37, 52),
            test(loinc("2069-3", "Chloride [Moles/volume] in Blood"), "mmol/L", 0, 101, 111),
            test(loinc("20565-8", "Carbon dioxide, total [Moles/volume] in Blood"), "mmol/L", 0, 20, 29),
        ],
    },
    Panel {
        code: loinc("57698-3", "Lipid panel with direct LDL - Serum or Plasma"),
        tests: &[
            test(loinc("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 140, 260),
            test(loinc("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 70, 220),
            test(loinc("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 38, 80),
            test(
                loinc("18262-6", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by Direct assay"),
                "mg/dL",
                0,
                70,
                170,
            ),
        ],
    },
    Panel {
        code: loinc("58410-2", "CBC panel - Blood by Automated count"),
        tests: &[
            test(loinc("6690-2", "Leukocytes [#/volume] in Blood by Automated count"), "10*3/uL", 1, 40, 110),
            test(
                loinc("789-8", "Erythrocytes [#/volume] in Blood by Automated count"),
                "10*6/uL",
                2,
                420,
                590,
            ),
            test(loinc("718-7", "Hemoglobin [Mass/volume] in Blood"), "g/dL", 1, 120, 172),
            test(
                loinc("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count"),
                "%",
                1,
                360,
                500,
            ),
            test(loinc("787-2", "MCV [Entitic volume] by Automated count"), "fL", 1, 800, 960),
            test(loinc("785-6", "MCH [Entitic mass] by Automated count"), "pg", 1, 270, 330),
            test(loinc("777-3", "Platelets [#/volume] in Blood by Automated count"), "10*3/uL", 0, 150, 400),
        ],
    },
];

/// A specialty of the NUCC provider taxonomy.
pub(crate) static SPECIALTIES: [Code; 4] = [
    code("http://nucc.org/provider-taxonomy", "207Q00000X", "Family Medicine Physician"),
    code("http://nucc.org/provider-taxonomy", "207R00000X", "Internal Medicine Physician"),
    code("http://nucc.org/provider-taxonomy", "207N00000X", "Dermatology Physician"),
    code("http://nucc.org/provider-taxonomy", "363LF0000X", "Family Nurse Practitioner"),
];

//! What patients have.

/// A disorder: its codes and the drugs (RxNorm) that are given for it.
#[derive(Debug)]
pub(crate) struct Disorder {
    pub snomed: &'static str,
    pub icd10: &'static str,
    pub text: &'static str,
    pub drugs: &'static [&'static str],
}

const fn disorder(
    snomed: &'static str,
    icd10: &'static str,
    text: &'static str,
    drugs: &'static [&'static str],
) -> Disorder {
    Disorder { snomed, icd10, text, drugs }
}

/// A disorder that stays, and how many of a hundred have it at an age of 20, 50 and 80.
#[derive(Debug)]
pub(crate) struct Chronic {
    pub disorder: Disorder,
    pub at_20: i64,
    pub at_50: i64,
    pub at_80: i64,
}

const fn chronic(disorder: Disorder, at_20: i64, at_50: i64, at_80: i64) -> Chronic {
    Chronic { disorder, at_20, at_50, at_80 }
}

impl Chronic {
    /// How many of a hundred have it at an age.
    pub(crate) fn prevalence(&self, age: i64) -> i64 {
        match age {
            ..2 => 0,
            2..20 => self.at_20 * (age + 10) / 30,
            20..50 => self.at_20 + (self.at_50 - self.at_20) * (age - 20) / 30,
            _ => self.at_50 + (self.at_80 - self.at_50) * (age.min(85) - 50) / 30,
        }
    }
}

// Places in CHRONIC of those that decide about values elsewhere.
pub(crate) const HYPERTENSION: usize = 0;
pub(crate) const DIABETES: usize = 1;
pub(crate) const HYPERLIPIDEMIA: usize = 2;
pub(crate) const OBESITY: usize = 3;
pub(crate) const HYPOTHYROIDISM: usize = 4;
pub(crate) const KIDNEY_DISEASE: usize = 5;
pub(crate) const ATRIAL_FIBRILLATION: usize = 6;
pub(crate) const COPD: usize = 7;
pub(crate) const DEPRESSION: usize = 8;

pub(crate) static CHRONIC: [Chronic; 18] = [
    chronic(
        disorder("59621000", "I10", "Essential hypertension", &["314076", "197361", "310798"]),
        4,
        35,
        65,
    ),
    chronic(disorder("44054006", "E11.9", "Diabetes mellitus type 2", &["861007", "106892"]), 1, 14, 24),
    chronic(disorder("55822004", "E78.5", "Hyperlipidemia", &["312961", "617310"]), 2, 30, 48),
    chronic(disorder("414916001", "E66.9", "Obesity", &[]), 12, 30, 20),
    chronic(disorder("40930008", "E03.9", "Hypothyroidism", &["966222"]), 1, 6, 12),
    chronic(disorder("709044004", "N18.9", "Chronic kidney disease", &["314076"]), 0, 3, 20),
    chronic(disorder("49436004", "I48.91", "Atrial fibrillation", &["855332", "866436"]), 0, 1, 12),
    chronic(
        disorder("13645005", "J44.9", "Chronic obstructive pulmonary disease", &["745679", "895994"]),
        0,
        5,
        14,
    ),
    chronic(disorder("370143000", "F32.9", "Major depressive disorder", &["312941"]), 9, 11, 8),
    chronic(disorder("195967001", "J45.909", "Asthma", &["745679", "895994"]), 10, 8, 6),
    chronic(disorder("197480006", "F41.9", "Anxiety disorder", &["312941"]), 10, 9, 5),
    chronic(disorder("278860009", "M54.50", "Chronic low back pain", &["197806", "310431"]), 4, 16, 22),
    chronic(disorder("9014002", "L40.9", "Psoriasis", &["106258"]), 2, 3, 3),
    chronic(disorder("24079001", "L20.9", "Atopic dermatitis", &["106258"]), 9, 4, 2),
    chronic(disorder("235595009", "K21.9", "Gastroesophageal reflux disease", &["198051"]), 3, 14, 18),
    chronic(disorder("396275006", "M19.90", "Osteoarthritis", &["198440", "849574"]), 0, 12, 40),
    chronic(disorder("64859006", "M81.0", "Osteoporosis", &["904420"]), 0, 3, 22),
    chronic(disorder("37796009", "G43.909", "Migraine", &["849574"]), 8, 9, 3),
];

/// What a visit may be about, and then is over.
pub(crate) static ACUTE: [Disorder; 16] = [
    disorder("444814009", "J01.90", "Viral sinusitis", &["198440"]),
    disorder("195662009", "J02.9", "Acute viral pharyngitis", &[]),
    disorder("43878008", "J02.0", "Streptococcal sore throat", &["308191"]),
    disorder("10509002", "J20.9", "Acute bronchitis", &["308460"]),
    disorder("54150009", "J06.9", "Upper respiratory infection", &[]),
    disorder("65363002", "H66.90", "Otitis media", &["308191"]),
    disorder("68566005", "N39.0", "Urinary tract infectious disease", &["562251"]),
    disorder("25064002", "R51.9", "Headache", &["198440"]),
    disorder("57676002", "M25.50", "Joint pain", &["197806"]),
    disorder("44465007", "S93.409A", "Sprain of ankle", &["197806"]),
    disorder("9826008", "H10.9", "Conjunctivitis", &[]),
    disorder("271807003", "R21", "Eruption of skin", &["106258"]),
    disorder("62315008", "R19.7", "Diarrhea", &[]),
    disorder("404640003", "R42", "Dizziness", &[]),
    disorder("6142004", "J11.1", "Influenza", &["198440"]),
    disorder("840539006", "U07.1", "Disease caused by severe acute respiratory syndrome coronavirus 2", &[]),
];

/// Concerns about how a patient lives: SNOMED CT, ICD-10-CM, text, category of the screening that finds them.
pub(crate) static CONCERNS: [(&str, &str, &str, &str); 5] = [
    ("733423003", "Z59.41", "Food insecurity", "sdoh"),
    ("1156191002", "Z59.819", "Housing instability", "sdoh"),
    ("713458007", "Z59.82", "Lack of access to transportation", "sdoh"),
    ("161898004", "R29.6", "Falls", "functional-status"),
    ("386807006", "R41.3", "Memory impairment", "cognitive-status"),
];

//! Vaccines and when they are due.

/// A vaccine: CVX, NDC of a product, name as CVX says it, and the volume of a dose in hundredths of a
/// millilitre.
#[derive(Debug)]
pub(crate) struct Vaccine {
    pub cvx: &'static str,
    pub ndc: &'static str,
    pub text: &'static str,
    pub dose: i64,
}

const fn vaccine(cvx: &'static str, ndc: &'static str, text: &'static str, dose: i64) -> Vaccine {
    Vaccine { cvx, ndc, text, dose }
}

static HEPATITIS_B: Vaccine = vaccine("08", "58160-0820-11", "Hep B, adolescent or pediatric", 50);
static ROTAVIRUS: Vaccine = vaccine("119", "58160-0854-52", "rotavirus, monovalent", 100);
static DTAP: Vaccine = vaccine("20", "58160-0810-11", "DTaP", 50);
static HIB: Vaccine = vaccine("49", "00006-4897-00", "Hib (PRP-OMP)", 50);
static PNEUMOCOCCAL: Vaccine = vaccine("133", "00005-1971-02", "Pneumococcal conjugate PCV 13", 50);
static POLIO: Vaccine = vaccine("10", "49281-0860-10", "IPV", 50);
static MMR: Vaccine = vaccine("03", "00006-4681-00", "MMR", 50);
static VARICELLA: Vaccine = vaccine("21", "00006-4827-00", "varicella", 50);
static HEPATITIS_A: Vaccine = vaccine("83", "58160-0825-11", "Hep A, ped/adol, 2 dose", 50);
static HPV: Vaccine = vaccine("165", "00006-4119-03", "HPV9", 50);
static MENINGOCOCCAL: Vaccine = vaccine("114", "49281-0589-05", "meningococcal MCV4P", 50);
pub(crate) static TDAP: Vaccine = vaccine("115", "58160-0842-11", "Tdap", 50);
pub(crate) static INFLUENZA: Vaccine =
    vaccine("150", "49281-0421-50", "Influenza, injectable, quadrivalent, preservative free", 50);
pub(crate) static ZOSTER: Vaccine = vaccine("187", "58160-0823-11", "zoster recombinant", 50);
pub(crate) static PNEUMOCOCCAL_OLD: Vaccine =
    vaccine("33", "00006-4943-00", "pneumococcal polysaccharide PPV23", 50);
pub(crate) static COVID: Vaccine = vaccine(
    "207",
    "80777-0273-10",
    "COVID-19, mRNA, LNP-S, PF, 100 mcg/0.5mL dose or 50 mcg/0.25mL dose",
    50,
);

/// What is due at which age in months.
pub(crate) static SCHEDULE: [(i64, &[&Vaccine]); 10] = [
    (0, &[&HEPATITIS_B]),
    (2, &[&HEPATITIS_B, &ROTAVIRUS, &DTAP, &HIB, &PNEUMOCOCCAL, &POLIO]),
    (4, &[&ROTAVIRUS, &DTAP, &HIB, &PNEUMOCOCCAL, &POLIO]),
    (6, &[&HEPATITIS_B, &DTAP, &PNEUMOCOCCAL, &POLIO]),
    (12, &[&MMR, &VARICELLA, &HEPATITIS_A, &PNEUMOCOCCAL]),
    (15, &[&DTAP, &HIB]),
    (18, &[&HEPATITIS_A]),
    (48, &[&DTAP, &POLIO, &MMR, &VARICELLA]),
    (132, &[&TDAP, &HPV, &MENINGOCOCCAL]),
    (192, &[&MENINGOCOCCAL]),
];

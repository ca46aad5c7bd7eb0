//! The practice itself: organizations, sites, clinicians, drugs, groups. None of it belongs to a patient.

use uuid::Uuid;

use super::codes::drugs::DRUGS;
use super::codes::people::SPECIALTIES;
use super::identifiers::{clia, naic, npi, phone};
use super::rows::Rows;
use crate::generate::json::Decimal;
use crate::generate::names::{CITIES, FAMILY, FEMALE, MALE, STREETS};
use crate::generate::rng::Rng;

/// What patients' records refer to.
pub(super) struct Directory {
    pub practice: Uuid,
    pub laboratory: Uuid,
    pub pharmacy: Uuid,
    /// Medicare, Medicaid, and the private ones.
    pub payers: Vec<Uuid>,
    pub facilities: Vec<Uuid>,
    pub providers: Vec<Uuid>,
    /// The role of the provider at the same place.
    pub roles: Vec<Uuid>,
    /// The drug at the same place of [`DRUGS`].
    pub drugs: Vec<Uuid>,
    /// The groups of [`GROUPS`].
    pub groups: Vec<Uuid>,
}

/// Groups of patients.
pub(super) const GROUPS: [&str; 4] =
    ["Diabetes registry", "Medicare attribution", "Pediatrics", "Everyone seen since 2024"];

/// City, site and coordinates in millionths of a degree.
const SITES: [(&str, i64, i64); 6] = [
    ("Springfield", 42_101_483, -72_589_811),
    ("Worcester", 42_262_593, -71_802_293),
    ("Cañon City", 38_440_979, -105_242_450),
    ("Boca Raton", 26_358_687, -80_083_098),
    ("Española", 35_991_130, -106_080_818),
    ("Madison", 43_073_051, -89_401_230),
];

impl Directory {
    /// Writes the directory of a practice with so many patients.
    pub(super) fn write(patients: u64, rng: &mut Rng, rows: &mut Rows) -> Self {
        let practice = organization("practice", "Cañon Ridge Medical Group, P.C.", rng, rows);
        let laboratory = organization("laboratory", "Tri-County Reference Laboratory", rng, rows);
        let pharmacy = organization("pharmacy", "Main Street Pharmacy", rng, rows);
        let payers = ["Medicare", "MassHealth (Medicaid)", "Bay Colony Health Plan", "Gulf & Prairie Mutual"];
        let payers = payers.iter().map(|name| organization("payer", name, rng, rows)).collect();
        let facilities: Vec<Uuid> =
            (0..(2 + patients / 1000).min(40)).map(|number| facility(number, practice, rng, rows)).collect();
        let providers: Vec<Uuid> =
            (0..(5 + patients / 60).min(400)).map(|number| provider(number, rng, rows)).collect();
        let roles = providers
            .iter()
            .enumerate()
            .map(|(number, provider)| role(number, *provider, practice, *rng.pick(&facilities), rng, rows))
            .collect();
        let drugs = (0..DRUGS.len()).map(|place| drug(place, rows)).collect();
        let groups = GROUPS
            .iter()
            .map(|name| {
                let id = rows.key();
                rows.record("patient_group", id, &[("name", name), ("active", &true)]);
                id
            })
            .collect();
        Self { practice, laboratory, pharmacy, payers, facilities, providers, roles, drugs, groups }
    }

    pub(super) fn provider(&self, rng: &mut Rng) -> Uuid {
        *rng.pick(&self.providers)
    }
}

/// A postal address.
#[derive(Clone)]
pub(super) struct Address {
    pub line1: String,
    pub line2: Option<String>,
    pub city: &'static str,
    pub state: &'static str,
    pub zip: &'static str,
}

impl Address {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let (city, state, zip) = *rng.pick(&CITIES);
        Self {
            line1: format!("{} {}", rng.between(1, 990), rng.word(&STREETS)),
            line2: rng.chance(25).then(|| format!("Apt. {}", rng.between(1, 60))),
            city,
            state,
            zip,
        }
    }
}

fn organization(kind: &'static str, name: &str, rng: &mut Rng, rows: &mut Rows) -> Uuid {
    let (id, address) = (rows.key(), Address::new(rng));
    rows.record(
        "organization",
        id,
        &[
            ("kind", &kind),
            ("name", &name),
            ("npi", &(kind != "payer").then(|| npi(rng))),
            ("clia", &matches!(kind, "laboratory" | "practice").then(|| clia(rng))),
            ("naic", &(kind == "payer").then(|| naic(rng))),
            ("phone", &phone(rng)),
            ("email", &format!("office@{kind}.example.org")),
            ("line1", &address.line1),
            ("line2", &address.line2),
            ("city", &address.city),
            ("state", &address.state),
            ("zip", &address.zip),
        ],
    );
    id
}

fn facility(number: u64, practice: Uuid, rng: &mut Rng, rows: &mut Rows) -> Uuid {
    let place = usize::try_from(number).unwrap_or(0) % CITIES.len();
    let ((city, state, zip), (_, latitude, longitude)) = (CITIES[place], SITES[place]);
    let is_outpatient = number % 4 == 3;
    let id = rows.key();
    rows.record(
        "facility",
        id,
        &[
            ("practice_id", &practice),
            ("site_number", &format!("{}", number + 1)),
            ("name", &format!("Cañon Ridge {city}, site {}", number + 1)),
            ("type_code", &(if is_outpatient { "OF" } else { "PC" })),
            ("pos_code", &(if is_outpatient { "22" } else { "11" })),
            ("phone", &phone(rng)),
            ("line1", &format!("{} {}", rng.between(1, 990), rng.word(&STREETS))),
            ("city", &city),
            ("state", &state),
            ("zip", &zip),
            ("latitude", &Decimal(latitude, 6)),
            ("longitude", &Decimal(longitude, 6)),
            ("active", &(number == 0 || number % 9 != 8)),
        ],
    );
    id
}

fn provider(number: u64, rng: &mut Rng, rows: &mut Rows) -> Uuid {
    let female = rng.chance(55);
    let names = if female { &FEMALE } else { &MALE };
    let (_, suffix) = SPECIALTIES[usize::try_from(number).unwrap_or(0) % SPECIALTIES.len()];
    let (id, address) = (rows.key(), Address::new(rng));
    rows.record(
        "provider",
        id,
        &[
            ("npi", &npi(rng)),
            ("last_name", &rng.word(&FAMILY)),
            ("first_name", &rng.word(names)),
            ("middle_name", &rng.chance(40).then(|| rng.word(names))),
            ("prefix", &matches!(suffix, "MD" | "DO").then_some("Dr.")),
            ("suffix", &suffix),
            ("gender", &(if female { "female" } else { "male" })),
            ("phone", &phone(rng)),
            ("email", &format!("clinician{}@practice.example.org", number + 1)),
            ("line1", &address.line1),
            ("line2", &address.line2),
            ("city", &address.city),
            ("state", &address.state),
            ("zip", &address.zip),
            ("active", &(number % 20 != 19)),
        ],
    );
    id
}

fn role(
    number: usize,
    provider: Uuid,
    practice: Uuid,
    facility: Uuid,
    rng: &mut Rng,
    rows: &mut Rows,
) -> Uuid {
    let ((code, text), _) = SPECIALTIES[number % SPECIALTIES.len()];
    let id = rows.key();
    rows.record(
        "provider_role",
        id,
        &[
            ("provider_id", &provider),
            ("practice_id", &practice),
            ("facility_id", &facility),
            ("role_nucc", &code),
            ("role_text", &text),
            ("specialty_nucc", &code),
            ("specialty_text", &text),
            ("phone", &phone(rng)),
            ("email", &format!("desk{}@practice.example.org", number + 1)),
            (
                "direct_address",
                &number.is_multiple_of(2).then(|| format!("clinician{}@direct.example.org", number + 1)),
            ),
            ("active", &(number % 20 != 19)),
        ],
    );
    id
}

fn drug(place: usize, rows: &mut Rows) -> Uuid {
    let (drug, id) = (&DRUGS[place], rows.key());
    rows.record(
        "drug",
        id,
        &[
            ("rxnorm", &drug.rxnorm),
            ("ndc", &drug.ndc),
            ("name", &drug.name),
            ("form_snomed", &drug.form.map(|(code, _)| code)),
            ("form_text", &drug.form.map(|(_, text)| text)),
            ("active", &true),
        ],
    );
    id
}

//! The practice itself: its organizations, sites, clinicians and formulary. None of it belongs to a
//! patient.

use std::io;

use headgate_domain::ResourceType as T;

use super::codes::{FORMULARY, SPECIALTIES, hl7};
use super::json::Json;
use super::moment::{FIRST_DAY, YEAR};
use super::names::{CITIES, FAMILY, FEMALE, MALE, STREETS};
use super::output::Output;
use super::rng::Rng;

/// The id of the practice's own organization; the laboratory is [`LABORATORY`].
pub(super) const PRACTICE: &str = "org-1";
/// The id of the laboratory's organization.
pub(super) const LABORATORY: &str = "org-2";

/// How much directory a practice of a size has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    sites: u64,
    clinicians: u64,
}

impl Directory {
    pub(super) fn for_patients(patients: u64) -> Self {
        Self { sites: (2 + patients / 1000).min(40), clinicians: (3 + patients / 60).min(400) }
    }

    /// How many resources it is.
    pub(super) fn resources(self) -> u64 {
        2 + self.sites + 2 * self.clinicians + FORMULARY.len() as u64
    }

    pub(super) fn clinician(self, rng: &mut Rng) -> String {
        clinician_id(rng.next() % self.clinicians)
    }

    pub(super) fn site(self, rng: &mut Rng) -> String {
        site_id(rng.next() % self.sites)
    }

    /// Writes all of it.
    pub(super) fn write(self, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
        organization(PRACTICE, "Cañon Ridge Medical Group, P.C.", "prov", rng, out)?;
        organization(LABORATORY, "Tri-County Reference Laboratory", "other", rng, out)?;
        for number in 0..self.sites {
            site(number, rng, out)?;
        }
        for number in 0..self.clinicians {
            clinician(number, rng, out)?;
            role(number, self, rng, out)?;
        }
        for drug in &FORMULARY {
            let id = medication_id(drug.code);
            out.resource(T::Medication, &id, FIRST_DAY, "us-core-medication", |json| {
                json.concept("code", drug);
                json.text("status", "active");
            })?;
        }
        Ok(())
    }
}

/// The id of the Medication of an RxNorm code.
pub(super) fn medication_id(rxnorm: &str) -> String {
    format!("rx-{rxnorm}")
}

fn clinician_id(number: u64) -> String {
    format!("prac-{}", number + 1)
}

fn site_id(number: u64) -> String {
    format!("site-{}", number + 1)
}

fn organization(id: &str, name: &str, kind: &'static str, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
    out.resource(T::Organization, id, FIRST_DAY, "us-core-organization", |json| {
        npi(json, rng);
        json.bool("active", true);
        json.one("type", |kind_of| {
            kind_of.one("coding", |coding| {
                coding.text("system", hl7!("organization-type", "").system);
                coding.text("code", kind);
            });
        });
        json.text("name", name);
        telecom(json, rng);
        json.list("address", |list| list.item(|address| address_members(address, rng)));
    })
}

fn site(number: u64, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
    let (city, _, _) = CITIES[usize::try_from(number).unwrap_or(0) % CITIES.len()];
    out.resource(T::Location, &site_id(number), FIRST_DAY, "us-core-location", |json| {
        json.text("status", "active");
        json.text("name", &format!("Cañon Ridge {city}, site {}", number + 1));
        telecom(json, rng);
        json.object("address", |address| address_members(address, rng));
        json.reference("managingOrganization", T::Organization, PRACTICE);
    })
}

fn clinician(number: u64, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
    let female = rng.chance(55);
    let updated = FIRST_DAY.plus(rng.between(0, 7 * YEAR));
    out.resource(T::Practitioner, &clinician_id(number), updated, "us-core-practitioner", |json| {
        npi(json, rng);
        json.bool("active", true);
        json.one("name", |name| {
            name.text("family", rng.word(&FAMILY));
            name.list("given", |given| given.string(&[rng.word(if female { &FEMALE } else { &MALE })]));
            name.list("prefix", |prefix| prefix.string(&["Dr."]));
        });
        telecom(json, rng);
        json.list("address", |list| list.item(|address| address_members(address, rng)));
        json.text("gender", if female { "female" } else { "male" });
    })
}

fn role(number: u64, directory: Directory, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
    let specialty = rng.pick(&SPECIALTIES);
    let site = directory.site(rng);
    let id = format!("role-{}", number + 1);
    out.resource(T::PractitionerRole, &id, FIRST_DAY, "us-core-practitionerrole", |json| {
        json.bool("active", true);
        json.reference("practitioner", T::Practitioner, &clinician_id(number));
        json.reference("organization", T::Organization, PRACTICE);
        json.concepts("code", &hl7!("practitioner-role", "doctor", "Doctor"));
        json.concepts("specialty", specialty);
        json.one("location", |location| location.target(T::Location, &site));
        telecom(json, rng);
    })
}

pub(super) fn telecom(json: &mut Json, rng: &mut Rng) {
    json.one("telecom", |telecom| {
        telecom.text("system", "phone");
        telecom.text("value", &format!("({}) 555-01{}", rng.between(201, 989), rng.digits(2)));
        telecom.text("use", "work");
    });
}

pub(super) fn address_members(json: &mut Json, rng: &mut Rng) {
    let (city, state, zip) = *rng.pick(&CITIES);
    json.list("line", |line| line.string(&[&rng.between(1, 990).to_string(), " ", rng.word(&STREETS)]));
    json.text("city", city);
    json.text("state", state);
    json.text("postalCode", zip);
    json.text("country", "US");
}

/// A National Provider Identifier: ten digits, the last a Luhn check digit over `80840` and the other nine
/// (45 CFR 162.406; US Core, us-core-16 and us-core-17).
fn npi(json: &mut Json, rng: &mut Rng) {
    let nine = format!("1{}", rng.digits(8));
    let sum: u32 = format!("80840{nine}")
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    json.one("identifier", |identifier| {
        identifier.text("system", "http://hl7.org/fhir/sid/us-npi");
        identifier.text("value", &format!("{nine}{}", (10 - sum % 10) % 10));
    });
}

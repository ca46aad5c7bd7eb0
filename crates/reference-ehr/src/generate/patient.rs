//! A patient: who they are, what they have, and the documents that a chart begins with.

use std::io;

use headgate_domain::ResourceType as T;

use super::codes::{
    ALLERGENS, CHRONIC, Code, DEVICES, DIABETES, HYPERTENSION, PLANS, Problem, REACTIONS, hl7, snomed,
};
use super::directory::{Directory, PRACTICE, address_members};
use super::json::Json;
use super::moment::{DAY, Moment, YEAR};
use super::names::{ETHNICITIES, FAMILY, FEMALE, LANGUAGES, MALE, NOTES, RACES};
use super::output::Output;
use super::rng::Rng;

/// What the documents of one patient have in common.
pub(super) struct Person {
    pub id: String,
    pub female: bool,
    pub born: Moment,
    /// The clinician who usually sees them.
    pub clinician: String,
    /// Indexes into [`CHRONIC`].
    pub chronic: Vec<usize>,
    pub smoking: usize,
    /// Height in millimetres, weight in units of 100 g.
    pub height_mm: i64,
    pub weight_hg: i64,
}

impl Person {
    pub(super) fn new(rng: &mut Rng, directory: Directory, first_visit: Moment) -> Self {
        let female = rng.chance(52);
        let age = rng.between(19, 88);
        let mut chronic: Vec<usize> = Vec::new();
        // The older, the more: one try per thirty years, and one for luck.
        for _ in 0..=age / 30 {
            let problem = rng.index(CHRONIC.len());
            if !chronic.contains(&problem) {
                chronic.push(problem);
            }
        }
        let height_mm = rng.between(1500, 1750) + if female { 0 } else { 120 };
        let bmi = rng.between(19, 28) + if chronic.contains(&DIABETES) { 7 } else { 0 };
        Self {
            id: rng.uuid(),
            female,
            born: first_visit.plus(-age * YEAR - rng.between(0, 364) * DAY),
            clinician: directory.clinician(rng),
            chronic,
            smoking: rng.index(3),
            height_mm,
            weight_hg: bmi * height_mm * height_mm / 100_000,
        }
    }

    pub(super) fn has(&self, problem: usize) -> bool {
        self.chronic.contains(&problem)
    }

    /// The document of the patient.
    pub(super) fn write(&self, rng: &mut Rng, updated: Moment, out: &mut Output) -> io::Result<()> {
        let (race, ethnicity, language) = (*rng.pick(&RACES), *rng.pick(&ETHNICITIES), *rng.pick(&LANGUAGES));
        out.resource(T::Patient, &self.id, updated, "us-core-patient", |json| {
            json.list("extension", |extensions| {
                omb_extension(extensions, "us-core-race", race);
                omb_extension(extensions, "us-core-ethnicity", ethnicity);
                extensions.item(|sex| {
                    sex.text("url", "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex");
                    sex.text("valueCode", if self.female { "F" } else { "M" });
                });
            });
            json.one("identifier", |identifier| {
                identifier.text("use", "usual");
                identifier.concept("type", &hl7!("v2-0203", "MR", "Medical record number"));
                identifier.text("system", "urn:oid:2.16.840.1.113883.19.5");
                identifier.text("value", &format!("MRN{}", rng.digits(8)));
            });
            json.bool("active", true);
            json.one("name", |name| {
                name.text("use", "official");
                name.text("family", rng.word(&FAMILY));
                name.list("given", |given| {
                    let names = if self.female { &FEMALE } else { &MALE };
                    given.string(&[rng.word(names)]);
                    given.string(&[rng.word(names)]);
                });
            });
            phone_and_mail(json, rng);
            json.text("gender", if self.female { "female" } else { "male" });
            json.date("birthDate", self.born);
            json.one("address", |address| {
                address.text("use", "home");
                address_members(address, rng);
            });
            json.one("communication", |communication| {
                let (code, display) = language;
                communication.concept("language", &Code { system: "urn:ietf:bcp:47", code, display });
                communication.bool("preferred", true);
            });
            json.one("generalPractitioner", |gp| gp.target(T::Practitioner, &self.clinician));
            json.reference("managingOrganization", T::Organization, PRACTICE);
        })
    }

    /// A Condition: on the problem list, or what one visit was about. Returns its id.
    pub(super) fn condition(
        &self,
        problem: &Problem,
        encounter: &str,
        at: Moment,
        is_chronic: bool,
        rng: &mut Rng,
        out: &mut Output,
    ) -> io::Result<String> {
        let id = rng.uuid();
        let profile = if is_chronic {
            "us-core-condition-problems-health-concerns"
        } else {
            "us-core-condition-encounter-diagnosis"
        };
        let over = !is_chronic && rng.chance(80);
        out.resource(T::Condition, &id, at, profile, |json| {
            let status = match over {
                true => hl7!("condition-clinical", "resolved"),
                false => hl7!("condition-clinical", "active"),
            };
            json.concept("clinicalStatus", &status);
            json.concept("verificationStatus", &hl7!("condition-ver-status", "confirmed"));
            json.concepts(
                "category",
                &match is_chronic {
                    true => hl7!("condition-category", "problem-list-item", "Problem List Item"),
                    false => hl7!("condition-category", "encounter-diagnosis", "Encounter Diagnosis"),
                },
            );
            json.object("code", |code| code.concept_of(&[&problem.snomed, &problem.icd10]));
            json.reference("subject", T::Patient, &self.id);
            json.reference("encounter", T::Encounter, encounter);
            json.local("onsetDateTime", at.plus(-rng.between(1, 20) * DAY));
            if over {
                json.local("abatementDateTime", at.plus(rng.between(3, 20) * DAY));
            }
            json.date("recordedDate", at);
            json.reference("recorder", T::Practitioner, &self.clinician);
            if rng.chance(30) {
                json.one("note", |note| note.text("text", rng.word(&NOTES)));
            }
        })?;
        Ok(id)
    }

    pub(super) fn allergy(&self, at: Moment, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
        let (allergen, category) = rng.pick(&ALLERGENS);
        let id = rng.uuid();
        out.resource(T::AllergyIntolerance, &id, at, "us-core-allergyintolerance", |json| {
            json.concept("clinicalStatus", &hl7!("allergyintolerance-clinical", "active", "Active"));
            json.concept("verificationStatus", &hl7!("allergyintolerance-verification", "confirmed"));
            json.text("type", "allergy");
            json.list("category", |list| list.string(&[category]));
            json.text("criticality", if rng.chance(20) { "high" } else { "low" });
            json.concept("code", allergen);
            json.reference("patient", T::Patient, &self.id);
            json.local("recordedDate", at);
            json.one("reaction", |reaction| {
                reaction.concepts("manifestation", rng.pick(&REACTIONS));
                reaction.text("severity", if rng.chance(70) { "mild" } else { "moderate" });
            });
        })
    }

    /// The care team, a goal and the plan that ties them together. `about` is the problem they are for.
    pub(super) fn care(
        &self,
        about: Option<&str>,
        at: Moment,
        rng: &mut Rng,
        out: &mut Output,
    ) -> io::Result<()> {
        let (plan, activity, aim) = match (self.has(HYPERTENSION), self.has(DIABETES)) {
            (true, _) => &PLANS[0],
            (_, true) => &PLANS[1],
            _ => &PLANS[2],
        };
        let (team, goal, care_plan) = (rng.uuid(), rng.uuid(), rng.uuid());
        out.resource(T::CareTeam, &team, at, "us-core-careteam", |json| {
            json.text("status", "active");
            json.reference("subject", T::Patient, &self.id);
            json.list("participant", |list| {
                member(list, &snomed("116154003", "Patient"), T::Patient, &self.id);
                let role = snomed("446050000", "Primary care physician (occupation)");
                member(list, &role, T::Practitioner, &self.clinician);
                let role = snomed("224891009", "Healthcare services (qualifier value)");
                member(list, &role, T::Organization, PRACTICE);
            });
        })?;
        out.resource(T::Goal, &goal, at, "us-core-goal", |json| {
            json.text("lifecycleStatus", "active");
            json.object("description", |description| description.text("text", aim));
            json.reference("subject", T::Patient, &self.id);
            json.date("startDate", at);
            json.one("target", |target| target.date("dueDate", at.plus(180 * DAY)));
            about
                .into_iter()
                .for_each(|id| json.one("addresses", |problem| problem.target(T::Condition, id)));
        })?;
        let narrate = !out.is_padded();
        out.resource(T::CarePlan, &care_plan, at, "us-core-careplan", |json| {
            if narrate {
                let (title, step) = (plan.display, activity.display);
                json.narrative(&format!("{title}: <ul><li>{step}</li></ul>Aim &amp; measure: \"{aim}\""));
            }
            json.text("status", "active");
            json.text("intent", "plan");
            json.list("category", |list| {
                let assess = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category";
                let assess = Code { system: assess, code: "assess-plan", display: "" };
                list.item(|category| category.concept_of(&[&assess]));
                list.item(|category| category.concept_of(&[plan]));
            });
            json.reference("subject", T::Patient, &self.id);
            json.object("period", |period| period.local("start", at));
            json.one("careTeam", |of| of.target(T::CareTeam, &team));
            about
                .into_iter()
                .for_each(|id| json.one("addresses", |problem| problem.target(T::Condition, id)));
            json.one("goal", |of| of.target(T::Goal, &goal));
            json.one("activity", |list| {
                list.object("detail", |detail| {
                    detail.concept("code", activity);
                    detail.text("status", "in-progress");
                });
            });
        })
    }

    /// An implant with its unique device identifier (GS1: device identifier, dates, lot, serial number).
    pub(super) fn implant(&self, at: Moment, rng: &mut Rng, out: &mut Output) -> io::Result<()> {
        let (di, lot, serial) = (format!("0{}", rng.digits(13)), rng.digits(8), rng.digits(10));
        let id = rng.uuid();
        out.resource(T::Device, &id, at, "us-core-implantable-device", |json| {
            json.one("udiCarrier", |udi| {
                udi.text("deviceIdentifier", &di);
                udi.text("carrierHRF", &format!("(01){di}(11)190102(17)290101(10){lot}(21){serial}"));
            });
            json.text("status", "active");
            json.text("distinctIdentifier", &di);
            json.text("manufactureDate", "2019-01-02");
            json.text("expirationDate", "2029-01-01");
            json.text("lotNumber", &lot);
            json.text("serialNumber", &serial);
            json.concept("type", rng.pick(&DEVICES));
            json.reference("patient", T::Patient, &self.id);
        })
    }
}

/// The author and transmitter of one or more records. It names as its target the Patient, or only a
/// record of the patient's: whoever reads it must be able to tell the owner either way.
pub(super) fn provenance(
    targets: &[(T, &str)],
    clinician: &str,
    at: Moment,
    rng: &mut Rng,
    out: &mut Output,
) -> io::Result<()> {
    let id = format!("prov-{}", rng.uuid());
    let us_core_type = "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type";
    let transmitter = Code { system: us_core_type, code: "transmitter", display: "Transmitter" };
    out.resource(T::Provenance, &id, at, "us-core-provenance", |json| {
        json.list("target", |list| {
            targets.iter().for_each(|(t, id)| list.item(|target| target.target(*t, id)));
        });
        json.instant("recorded", at);
        json.list("agent", |agents| {
            agents.item(|author| {
                author.concept("type", &hl7!("provenance-participant-type", "author", "Author"));
                author.reference("who", T::Practitioner, clinician);
                author.reference("onBehalfOf", T::Organization, PRACTICE);
            });
            agents.item(|agent| {
                agent.concept("type", &transmitter);
                agent.reference("who", T::Organization, PRACTICE);
            });
        });
    })
}

fn member(list: &mut Json, role: &Code, t: T, id: &str) {
    list.item(|participant| {
        participant.concepts("role", role);
        participant.reference("member", t, id);
    });
}

fn phone_and_mail(json: &mut Json, rng: &mut Rng) {
    json.list("telecom", |list| {
        list.item(|phone| {
            phone.text("system", "phone");
            phone.text("value", &format!("({}) 555-01{}", rng.between(201, 989), rng.digits(2)));
            phone.text("use", "mobile");
        });
        list.item(|mail| {
            mail.text("system", "email");
            mail.text("value", &format!("p{}@example.com", rng.digits(6)));
        });
    });
}

fn omb_extension(extensions: &mut Json, name: &str, (code, display): (&str, &str)) {
    extensions.item(|extension| {
        extension.text("url", &format!("http://hl7.org/fhir/us/core/StructureDefinition/{name}"));
        extension.list("extension", |parts| {
            parts.item(|category| {
                category.text("url", "ombCategory");
                category.object("valueCoding", |coding| {
                    coding.text("system", "urn:oid:2.16.840.1.113883.6.238");
                    coding.text("code", code);
                    coding.text("display", display);
                });
            });
            parts.item(|text| {
                text.text("url", "text");
                text.text("valueString", display);
            });
        });
    });
}

//! One visit: the encounter and what was measured, found, done, prescribed and written down.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headgate_domain::ResourceType as T;

use super::codes::{
    ACUTE, CHRONIC, Code, DIABETES, FORMULARY, HYPERTENSION, NOTE_TYPES, PANELS, PROCEDURES, SMOKING, Test,
    VACCINES, VISIT_TYPES, hl7, loinc,
};
use super::directory::{Directory, LABORATORY, PRACTICE, medication_id};
use super::json::{Decimal, Json};
use super::moment::{DAY, HOUR, MINUTE, Moment};
use super::names::NOTES;
use super::output::Output;
use super::patient::{Person, provenance};
use super::rng::Rng;

/// A visit being written. Everything in it refers only to what is written already.
pub(super) struct Visit<'a> {
    pub person: &'a Person,
    pub directory: Directory,
    pub encounter: String,
    pub at: Moment,
    pub rng: &'a mut Rng,
    pub out: &'a mut Output,
    /// Whether everything happens that can: the first chart has every type.
    pub thorough: bool,
}

impl Visit<'_> {
    fn happens(&mut self, percent: i64) -> bool {
        self.rng.chance(percent) || self.thorough
    }

    /// The Encounter itself, which the rest refers to.
    pub(super) fn write_encounter(&mut self) -> io::Result<()> {
        let (person, at) = (self.person, self.at);
        let end = at.plus(self.rng.between(10, 50) * MINUTE);
        let site = self.directory.site(self.rng);
        let class = match self.rng.chance(12) {
            true => hl7!("v3-ActCode", "VR", "virtual"),
            false => hl7!("v3-ActCode", "AMB", "ambulatory"),
        };
        let kind = self.rng.pick(&VISIT_TYPES);
        self.out.resource(T::Encounter, &self.encounter, end, "us-core-encounter", |json| {
            json.one("identifier", |identifier| {
                identifier.text("system", "urn:oid:2.16.840.1.113883.19.6");
                identifier.text("value", &self.encounter);
            });
            json.text("status", "finished");
            json.object("class", |coding| {
                coding.text("system", class.system);
                coding.text("code", class.code);
                coding.text("display", class.display);
            });
            json.concepts("type", kind);
            json.reference("subject", T::Patient, &person.id);
            json.one("participant", |participant| {
                let performer = hl7!("v3-ParticipationType", "PPRF", "primary performer");
                participant.concepts("type", &performer);
                participant.period("period", at, end);
                participant.reference("individual", T::Practitioner, &person.clinician);
            });
            json.period("period", at, end);
            json.one("location", |location| location.reference("location", T::Location, &site));
            json.reference("serviceProvider", T::Organization, PRACTICE);
        })
    }

    /// Everything else of the visit.
    pub(super) fn write_findings(&mut self) -> io::Result<()> {
        self.vital_signs()?;
        if self.happens(30) {
            self.smoking_status()?;
        }
        if self.happens(60) {
            self.laboratory()?;
        }
        if self.happens(33) {
            let problem = self.rng.pick(&ACUTE);
            self.person.condition(problem, &self.encounter, self.at, false, self.rng, self.out)?;
            self.prescription(problem.drug)?;
        }
        if self.happens(75) && !self.person.chronic.is_empty() {
            let problem = *self.rng.pick(&self.person.chronic);
            self.prescription(CHRONIC[problem].drug)?;
        }
        for percent in [55, 25] {
            if self.happens(percent) {
                self.procedure()?;
            }
        }
        if self.happens(33) {
            self.immunization()?;
        }
        let document = self.note()?;
        let encounter = self.encounter.clone();
        let targets = [(T::Encounter, encounter.as_str()), (T::DocumentReference, document.as_str())];
        provenance(&targets, &self.person.clinician, self.at.plus(HOUR), self.rng, self.out)
    }

    fn vital_signs(&mut self) -> io::Result<()> {
        let (tense, weight) =
            (self.person.has(HYPERTENSION), self.person.weight_hg + self.rng.between(-20, 20));
        let height = self.person.height_mm;
        let systolic = self.rng.between(104, 128) + if tense { 22 } else { 0 };
        let diastolic = self.rng.between(64, 82) + if tense { 12 } else { 0 };
        let signs = [
            ("us-core-body-height", loinc("8302-2", "Body height"), Decimal(height, 1), "cm"),
            ("us-core-body-weight", loinc("29463-7", "Body weight"), Decimal(weight, 1), "kg"),
            (
                "us-core-bmi",
                loinc("39156-5", "Body mass index (BMI) [Ratio]"),
                Decimal(weight * 10_000_000 / (height * height), 2),
                "kg/m2",
            ),
            (
                "us-core-heart-rate",
                loinc("8867-4", "Heart rate"),
                Decimal(self.rng.between(56, 96), 0),
                "/min",
            ),
            (
                "us-core-respiratory-rate",
                loinc("9279-1", "Respiratory rate"),
                Decimal(self.rng.between(12, 20), 0),
                "/min",
            ),
            (
                "us-core-body-temperature",
                loinc("8310-5", "Body temperature"),
                Decimal(self.rng.between(362, 378), 1),
                "Cel",
            ),
        ];
        for (profile, code, value, unit) in &signs {
            let id = self.rng.uuid();
            self.observation(&id, profile, "vital-signs", &[code], |json| {
                json.quantity("valueQuantity", *value, unit)
            })?;
        }
        let oxygen = [
            &loinc("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
            &loinc("2708-6", "Oxygen saturation in Arterial blood"),
        ];
        let saturation = Decimal(self.rng.between(94, 100), 0);
        let id = self.rng.uuid();
        self.observation(&id, "us-core-pulse-oximetry", "vital-signs", &oxygen, |json| {
            json.quantity("valueQuantity", saturation, "%");
        })?;
        let pressure = loinc("85354-9", "Blood pressure panel with all children optional");
        let id = format!("{}-bp", self.rng.uuid());
        self.observation(&id, "us-core-blood-pressure", "vital-signs", &[&pressure], |json| {
            json.list("component", |list| {
                for (code, value) in [
                    (loinc("8480-6", "Systolic blood pressure"), systolic),
                    (loinc("8462-4", "Diastolic blood pressure"), diastolic),
                ] {
                    list.item(|component| {
                        component.concept("code", &code);
                        component.quantity("valueQuantity", Decimal(value, 0), "mm[Hg]");
                    });
                }
            });
        })
    }

    fn smoking_status(&mut self) -> io::Result<()> {
        let code = loinc("72166-2", "Tobacco smoking status");
        let status = &SMOKING[self.person.smoking];
        let id = self.rng.uuid();
        self.observation(&id, "us-core-smokingstatus", "social-history", &[&code], |json| {
            json.concept("valueCodeableConcept", status);
        })
    }

    /// A panel's results, and the report that lists them.
    fn laboratory(&mut self) -> io::Result<()> {
        let panel = self.rng.pick(&PANELS);
        let mut results = Vec::with_capacity(panel.tests.len());
        for test in panel.tests {
            let id = self.rng.uuid();
            self.result(&id, test)?;
            results.push(id);
        }
        let (person, at) = (self.person, self.at);
        let id = self.rng.uuid();
        self.out.resource(T::DiagnosticReport, &id, at.plus(DAY), "us-core-diagnosticreport-lab", |json| {
            json.text("status", "final");
            json.concepts("category", &hl7!("v2-0074", "LAB", "Laboratory"));
            json.concept("code", &panel.code);
            json.reference("subject", T::Patient, &person.id);
            json.reference("encounter", T::Encounter, &self.encounter);
            json.local("effectiveDateTime", at);
            json.instant("issued", at.plus(DAY));
            json.one("performer", |performer| performer.target(T::Organization, LABORATORY));
            json.list("result", |list| {
                results.iter().for_each(|id| list.item(|result| result.target(T::Observation, id)));
            });
        })
    }

    /// One result with its reference range; diabetes raises glucose and A1c.
    fn result(&mut self, id: &str, test: &Test) -> io::Result<()> {
        let mut value = self.rng.between(test.low, test.high);
        if self.person.has(DIABETES) && matches!(test.code.code, "2339-0" | "4548-4") {
            value = value * 3 / 2;
        }
        self.observation(id, "us-core-observation-lab", "laboratory", &[&test.code], |json| {
            json.quantity("valueQuantity", Decimal(value, test.decimals), test.unit);
            if value > test.high {
                json.concepts("interpretation", &hl7!("v3-ObservationInterpretation", "H", "High"));
            }
            json.one("referenceRange", |range| {
                range.quantity("low", Decimal(test.low, test.decimals), test.unit);
                range.quantity("high", Decimal(test.high, test.decimals), test.unit);
            });
        })
    }

    /// An Observation of the visit; `value` writes what was found.
    fn observation(
        &mut self,
        id: &str,
        profile: &str,
        category: &'static str,
        codes: &[&Code],
        value: impl FnOnce(&mut Json),
    ) -> io::Result<()> {
        let (person, at) = (self.person, self.at);
        self.out.resource(T::Observation, id, at.plus(5 * MINUTE), profile, |json| {
            json.text("status", "final");
            let system = hl7!("observation-category", "").system;
            json.concepts("category", &Code { system, code: category, display: category });
            json.object("code", |code| code.concept_of(codes));
            json.reference("subject", T::Patient, &person.id);
            json.reference("encounter", T::Encounter, &self.encounter);
            json.local("effectiveDateTime", at);
            json.instant("issued", at.plus(5 * MINUTE));
            json.one("performer", |performer| performer.target(T::Practitioner, &person.clinician));
            value(json);
        })
    }

    /// A prescription, most of them of a drug of the formulary by reference, some with the drug inline.
    fn prescription(&mut self, drug: usize) -> io::Result<()> {
        let (person, at, drug) = (self.person, self.at, &FORMULARY[drug]);
        let (inline, daily) = (self.rng.chance(20), self.rng.between(1, 3));
        let id = self.rng.uuid();
        self.out.resource(T::MedicationRequest, &id, at, "us-core-medicationrequest", |json| {
            json.text("status", if self.rng.chance(60) { "active" } else { "completed" });
            json.text("intent", "order");
            json.concepts("category", &hl7!("medicationrequest-category", "outpatient", "Outpatient"));
            if inline {
                json.concept("medicationCodeableConcept", drug);
            } else {
                json.reference("medicationReference", T::Medication, &medication_id(drug.code));
            }
            json.reference("subject", T::Patient, &person.id);
            json.reference("encounter", T::Encounter, &self.encounter);
            json.local("authoredOn", at);
            json.reference("requester", T::Practitioner, &person.clinician);
            json.one("dosageInstruction", |dosage| {
                dosage.text("text", &format!("Take 1 {daily}x daily \"with food\""));
                dosage.object("timing", |timing| {
                    timing.object("repeat", |repeat| {
                        repeat.decimal("frequency", Decimal(daily, 0));
                        repeat.decimal("period", Decimal(10, 1));
                        repeat.text("periodUnit", "d");
                    });
                });
            });
            json.object("dispenseRequest", |dispense| {
                dispense.decimal("numberOfRepeatsAllowed", Decimal(self.rng.between(0, 5), 0));
                dispense.quantity("quantity", Decimal(daily * 30, 0), "{tbl}");
            });
        })
    }

    fn procedure(&mut self) -> io::Result<()> {
        let (person, at) = (self.person, self.at);
        let id = self.rng.uuid();
        let code = self.rng.pick(&PROCEDURES);
        self.out.resource(T::Procedure, &id, at.plus(HOUR), "us-core-procedure", |json| {
            json.text("status", "completed");
            json.concept("code", code);
            json.reference("subject", T::Patient, &person.id);
            json.reference("encounter", T::Encounter, &self.encounter);
            json.period("performedPeriod", at, at.plus(20 * MINUTE));
            json.one("performer", |list| list.reference("actor", T::Practitioner, &person.clinician));
        })
    }

    fn immunization(&mut self) -> io::Result<()> {
        let (person, at) = (self.person, self.at);
        let id = self.rng.uuid();
        let vaccine = self.rng.pick(&VACCINES);
        self.out.resource(T::Immunization, &id, at, "us-core-immunization", |json| {
            json.text("status", "completed");
            json.concept("vaccineCode", vaccine);
            json.reference("patient", T::Patient, &person.id);
            json.reference("encounter", T::Encounter, &self.encounter);
            json.local("occurrenceDateTime", at);
            json.bool("primarySource", true);
            json.text("lotNumber", &self.rng.digits(6));
        })
    }

    /// The note of the visit, as document and, most of the time, as report. Returns the document's id.
    fn note(&mut self) -> io::Result<String> {
        let (person, at) = (self.person, self.at);
        let kind = self.rng.pick(&NOTE_TYPES);
        let summary = self.rng.word(&NOTES);
        let text = format!(
            "# {}\n\n{summary}\n{}\n{}\n",
            kind.display,
            self.rng.word(&NOTES),
            self.rng.word(&NOTES)
        );
        let data = BASE64.encode(text.repeat(2));
        let id = self.rng.uuid();
        let end = at.plus(HOUR);
        self.out.resource(T::DocumentReference, &id, end, "us-core-documentreference", |json| {
            json.one("identifier", |identifier| {
                identifier.text("system", "urn:ietf:rfc:3986");
                identifier.text("value", &format!("urn:uuid:{id}"));
            });
            json.text("status", "current");
            json.concept("type", kind);
            let system = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category";
            json.concepts("category", &Code { system, code: "clinical-note", display: "Clinical Note" });
            json.reference("subject", T::Patient, &person.id);
            json.instant("date", end);
            json.one("author", |author| author.target(T::Practitioner, &person.clinician));
            json.reference("custodian", T::Organization, PRACTICE);
            json.text("description", summary);
            json.one("content", |content| {
                content.object("attachment", |attachment| {
                    attachment.text("contentType", "text/plain; charset=utf-8");
                    attachment.text("data", &data);
                });
            });
            json.object("context", |context| {
                context.one("encounter", |encounter| encounter.target(T::Encounter, &self.encounter));
                context.period("period", at, end);
            });
        })?;
        if self.happens(60) {
            self.note_report(kind, &data)?;
        }
        Ok(id)
    }

    fn note_report(&mut self, kind: &Code, data: &str) -> io::Result<()> {
        let (person, at) = (self.person, self.at);
        let id = self.rng.uuid();
        let profile = "us-core-diagnosticreport-note";
        self.out.resource(T::DiagnosticReport, &id, at.plus(HOUR), profile, |json| {
            json.text("status", "final");
            json.concepts("category", &loinc("LP29708-2", "Cardiology"));
            json.concept("code", kind);
            json.reference("subject", T::Patient, &person.id);
            json.reference("encounter", T::Encounter, &self.encounter);
            json.local("effectiveDateTime", at);
            json.instant("issued", at.plus(HOUR));
            json.one("performer", |performer| performer.target(T::Practitioner, &person.clinician));
            json.one("presentedForm", |form| {
                form.text("contentType", "text/plain; charset=utf-8");
                form.text("data", data);
            });
        })
    }
}

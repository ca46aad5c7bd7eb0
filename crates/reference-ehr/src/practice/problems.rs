//! Problems, diagnoses, concerns and allergies.

use chrono::NaiveDate;
use uuid::Uuid;

use super::calendar::plus_days;
use super::chart::Chart;
use super::codes::disorders::{CHRONIC, CONCERNS, Disorder};
use super::codes::people::{ALLERGENS, NO_KNOWN_ALLERGY, REACTIONS};
use super::visit::Visit;

/// A problem of the list, as later records refer to it.
#[derive(Clone, Copy)]
pub(super) struct Problem {
    pub id: Uuid,
    /// Place in [`CHRONIC`].
    pub place: usize,
}

/// What distinguishes one row of `problem` from another.
struct Row<'a> {
    kind: &'static str,
    screening: Option<&'static str>,
    codes: (&'a str, &'a str, &'a str),
    severity: Option<&'static str>,
    clinical: &'static str,
    onset: NaiveDate,
    abated: Option<NaiveDate>,
}

impl Chart<'_> {
    /// The problem list, written at the first visit.
    pub(super) fn problem_list(&mut self, visit: &Visit) -> Vec<Problem> {
        let chronic = self.person.chronic.clone();
        chronic.into_iter().map(|place| Problem { id: self.chronic(place, visit), place }).collect()
    }

    fn chronic(&mut self, place: usize, visit: &Visit) -> Uuid {
        let Disorder { snomed, icd10, text, .. } = CHRONIC[place].disorder;
        let onset = plus_days(visit.day, -self.rng.between(20, 3000)).max(self.person.born);
        let severity = self.happens(40).then(|| self.rng.word(&["255604002", "6736007", "24484000"]));
        let over = self.turn("problem over", 9);
        let clinical = match over {
            true => self.rng.word(&["inactive", "remission", "resolved"]),
            false if self.turn("recurrence", 40) => "recurrence",
            false => "active",
        };
        let abated = over.then(|| plus_days(visit.day, self.rng.between(10, 300)).min(self.person.last_day));
        let id = self.rows.key();
        let row = Row {
            kind: "problem-list-item",
            screening: None,
            codes: (snomed, icd10, text),
            severity,
            clinical,
            onset,
            abated,
        };
        self.problem(id, &row, visit);
        id
    }

    /// What a visit was about, and its diagnosis. Most are over soon.
    pub(super) fn diagnosis(&mut self, id: Uuid, disorder: &Disorder, visit: &Visit) {
        let over = self.happens(85);
        let row = Row {
            kind: "encounter-diagnosis",
            screening: None,
            codes: (disorder.snomed, disorder.icd10, disorder.text),
            severity: None,
            clinical: if over { "resolved" } else { "active" },
            onset: plus_days(visit.day, -self.rng.between(1, 14)).max(self.person.born),
            abated: over.then(|| plus_days(visit.day, self.rng.between(3, 21))),
        };
        self.problem(id, &row, visit);
    }

    /// A concern about how the patient lives; `found` is its place among them.
    pub(super) fn concern(&mut self, found: usize, visit: &Visit) -> Uuid {
        let (snomed, icd10, text, category) = CONCERNS[found];
        let id = self.rows.key();
        let row = Row {
            kind: if found.is_multiple_of(2) { "health-concern" } else { "problem-list-item" },
            screening: Some(category),
            codes: (snomed, icd10, text),
            severity: None,
            clinical: "active",
            onset: visit.day,
            abated: None,
        };
        self.problem(id, &row, visit);
        id
    }

    fn problem(&mut self, id: Uuid, row: &Row<'_>, visit: &Visit) {
        // An error is neither active nor over (con-5, con-4).
        let is_error = self.turn("problem in error", 70);
        let verification = match is_error {
            true => "entered-in-error",
            false if self.turn("provisional", 30) => "provisional",
            false => "confirmed",
        };
        let (snomed, icd10, text) = row.codes;
        let asserted = self.happens(60).then_some(row.onset);
        let recorded = visit.later(&mut self.rng);
        let values: &super::chart::Values<'_> = &[
            ("encounter_id", &visit.id),
            ("recorder_id", &visit.provider),
            ("kind", &row.kind),
            ("screening_category", &row.screening),
            ("snomed", &snomed),
            ("icd10", &icd10),
            ("text", &text),
            ("severity_snomed", &row.severity),
            ("clinical_status", &(!is_error).then_some(row.clinical)),
            ("verification", &verification),
            ("onset", &row.onset),
            ("abated", &row.abated.filter(|_| !is_error)),
            ("asserted", &asserted),
            ("recorded_at", &recorded),
            ("deleted", &false),
        ];
        self.record_as(id, "problem", Some(visit.provider), recorded, values);
        if self.turn("problem deleted", 60) {
            let mut values = values.to_vec();
            if let Some(last) = values.last_mut() {
                last.1 = &true;
            }
            self.deleted("problem", &values);
        }
    }

    /// Allergies and intolerances, or that none is known.
    pub(super) fn allergies(&mut self, visit: &Visit) {
        if !self.happens(35) {
            if self.happens(40) {
                let (snomed, text) = NO_KNOWN_ALLERGY;
                self.allergy(visit, (None, Some(snomed), text), None, false);
            }
            return;
        }
        for _ in 0..self.rng.between(1, 3) {
            let (is_drug, (code, text), category, kind) = *self.rng.pick(&ALLERGENS);
            let codes = (is_drug.then_some(code), (!is_drug).then_some(code), text);
            self.allergy(visit, codes, Some((category, kind)), true);
        }
    }

    fn allergy(
        &mut self,
        visit: &Visit,
        (rxnorm, snomed, text): (Option<&'static str>, Option<&'static str>, &'static str),
        what: Option<(&'static str, &'static str)>,
        has_reactions: bool,
    ) {
        let is_error = self.turn("allergy in error", 30);
        let (clinical, verification) = match is_error {
            true => (None, "entered-in-error"),
            false if self.turn("allergy over", 20) => (Some("resolved"), "confirmed"),
            false if self.happens(20) => (Some("active"), "unconfirmed"),
            false => (Some("active"), "confirmed"),
        };
        let onset = self.happens(50).then(|| plus_days(visit.day, -self.rng.between(30, 6000)));
        let onset = onset.map(|day| day.max(self.person.born));
        let recorded = visit.later(&mut self.rng);
        let criticality = what.map(|_| self.rng.word(&["low", "low", "high", "unable-to-assess"]));
        let deleted = has_reactions && self.turn("allergy deleted", 40);
        let values: &super::chart::Values<'_> = &[
            ("encounter_id", &visit.id),
            ("recorder_id", &visit.provider),
            ("type", &what.map(|(_, kind)| kind)),
            ("category", &what.map(|(category, _)| category)),
            ("criticality", &criticality),
            ("rxnorm", &rxnorm),
            ("snomed", &snomed),
            ("text", &text),
            ("clinical_status", &clinical),
            ("verification", &verification),
            ("onset", &onset),
            ("recorded_at", &recorded),
            ("deleted", &deleted),
        ];
        if deleted {
            self.deleted("allergy", values);
            return;
        }
        let id = self.record("allergy", Some(visit.provider), recorded, values);
        if has_reactions {
            let first = self.rng.index(REACTIONS.len());
            for place in 0..1 + self.rng.index(2) {
                let (snomed, text) = REACTIONS[(first + place) % REACTIONS.len()];
                let severity = self.rng.word(&["mild", "mild", "moderate", "severe"]);
                self.rows.add(
                    "allergy_reaction",
                    &[("allergy_id", &id), ("snomed", &snomed), ("text", &text), ("severity", &severity)],
                );
            }
        }
    }
}

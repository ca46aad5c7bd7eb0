//! Immunizations: children's by schedule, influenza in autumn, and what adults need.

use chrono::Datelike as _;

use super::calendar::plus_days;
use super::chart::Chart;
use super::codes::vaccines::{COVID, INFLUENZA, PNEUMOCOCCAL_OLD, SCHEDULE, TDAP, Vaccine, ZOSTER};
use super::visit::{Kind, Visit};
use crate::generate::json::Decimal;
use crate::generate::moment::MINUTE;

impl Chart<'_> {
    /// Gives what is due at a visit. `since` is the age in months at the last one.
    pub(super) fn immunizations(&mut self, visit: &Visit, since: i64) {
        if visit.kind == Kind::Telehealth {
            return;
        }
        for (months, vaccines) in &SCHEDULE {
            let is_due = *months <= visit.months && *months >= since && visit.months < 216;
            if is_due && visit.kind != Kind::Sick {
                vaccines.iter().for_each(|vaccine| self.immunization(vaccine, visit));
            }
        }
        if matches!(visit.day.month(), 9..=12) && visit.months >= 6 && self.happens(45) {
            self.immunization(&INFLUENZA, visit);
        }
        if !matches!(visit.kind, Kind::First | Kind::Physical) {
            return;
        }
        let years = visit.months / 12;
        for (vaccine, percent) in [
            (&TDAP, if years >= 19 { 20 } else { 0 }),
            (&ZOSTER, if years >= 50 { 30 } else { 0 }),
            (&PNEUMOCOCCAL_OLD, if years >= 65 { 25 } else { 0 }),
            (&COVID, if visit.day.year() >= 2021 && years >= 12 { 40 } else { 0 }),
        ] {
            if self.happens(percent) {
                self.immunization(vaccine, visit);
            }
        }
    }

    fn immunization(&mut self, vaccine: &Vaccine, visit: &Visit) {
        let refused = self.turn("vaccine refused", 15);
        let elsewhere = !refused && self.turn("vaccine given elsewhere", 9);
        let status = match refused {
            true => "not-done",
            false if self.turn("immunization in error", 90) => "entered-in-error",
            false => "completed",
        };
        let is_given = !refused && !elsewhere;
        let given = match elsewhere {
            true => super::calendar::at(
                plus_days(visit.day, -self.rng.between(20, 300)).max(self.person.born),
                720,
            ),
            false => visit.end.plus(-self.rng.between(1, 5) * MINUTE),
        };
        let reason = refused.then(|| self.rng.word(&["PATOBJ", "PATOBJ", "MEDPREC", "OSTOCK"]));
        let lot = is_given.then(|| format!("{}{}", self.rng.word(&["U", "AB", "X9"]), self.rng.digits(4)));
        let site = is_given.then(|| self.rng.word(&["LA", "RA", "LT", "RT"]));
        self.record(
            "immunization",
            is_given.then_some(visit.provider),
            visit.end,
            &[
                ("encounter_id", &visit.id),
                ("facility_id", &is_given.then_some(visit.facility)),
                ("performer_id", &is_given.then_some(visit.provider)),
                ("cvx", &vaccine.cvx),
                ("ndc", &(!elsewhere).then_some(vaccine.ndc)),
                ("text", &vaccine.text),
                ("status", &status),
                ("status_reason", &reason),
                ("given_at", &given),
                ("primary_source", &!elsewhere),
                ("lot", &lot),
                ("expires", &is_given.then(|| plus_days(visit.day, 200))),
                ("site_code", &site),
                ("route_code", &is_given.then_some("IM")),
                ("dose", &is_given.then_some(Decimal(vaccine.dose, 2))),
                ("dose_ucum", &is_given.then_some("mL")),
            ],
        );
    }
}

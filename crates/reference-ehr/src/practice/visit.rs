//! One visit: the encounter, and the order in which everything else of it comes.

use chrono::NaiveDate;
use uuid::Uuid;

use super::calendar::{at, office_day, plus_days};
use super::chart::Chart;
use super::codes::disorders::{ACUTE, Disorder};
use super::codes::services::{FOLLOW_UP, GENERAL_EXAM, SYMPTOM, WELL_CHILD};
use super::problems::Problem;
use crate::generate::moment::{HOUR, MINUTE, Moment};
use crate::generate::rng::Rng;

/// What brings the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    First,
    Physical,
    WellChild,
    FollowUp,
    Sick,
    Telehealth,
}

/// A visit, as what happens in it refers to it.
pub(super) struct Visit {
    /// The id of the encounter.
    pub id: Uuid,
    /// From 0.
    pub number: u32,
    pub kind: Kind,
    pub day: NaiveDate,
    pub at: Moment,
    pub end: Moment,
    /// The patient's age in months.
    pub months: i64,
    pub provider: Uuid,
    pub facility: Uuid,
    /// What a sick visit is about.
    pub disorder: Option<&'static Disorder>,
}

impl Visit {
    /// Some time after the visit, on the same day.
    pub(super) fn later(&self, rng: &mut Rng) -> Moment {
        self.end.plus(rng.between(0, 50) * MINUTE + rng.between(0, 59))
    }
}

impl Chart<'_> {
    /// Draws what happens on a day.
    pub(super) fn plan_visit(&mut self, number: u32, day: NaiveDate, kind: Kind) -> Visit {
        let day = office_day(day);
        let at = at(day, 480 + 5 * self.rng.between(0, 105));
        let minutes = if kind == Kind::First { self.rng.between(30, 60) } else { self.rng.between(10, 35) };
        let elsewhere = self.happens(15);
        Visit {
            id: self.rows.key(),
            number,
            kind,
            day,
            at,
            end: at.plus(minutes * MINUTE),
            months: self.person.age_months(day),
            provider: if elsewhere { self.directory.provider(&mut self.rng) } else { self.person.pcp },
            facility: if elsewhere {
                *self.rng.pick(&self.directory.facilities)
            } else {
                self.person.facility
            },
            disorder: (kind == Kind::Sick).then(|| self.rng.pick(&ACUTE)),
        }
    }

    /// Writes the encounter and its diagnosis.
    pub(super) fn encounter(&mut self, visit: &Visit, problems: &[Problem]) {
        let diagnosis = visit.disorder.map(|disorder| (self.rows.key(), disorder));
        let (class, discharge) = self.class(visit.kind);
        let (cpt, (snomed, text)) = self.visit_type(visit);
        let routine = (visit.kind == Kind::FollowUp).then(|| problems.first()).flatten();
        let reason = diagnosis.map(|(id, _)| id).or(routine.map(|problem| problem.id));
        let reason_text = match (visit.disorder, visit.kind) {
            (Some(disorder), _) => Some(disorder.text),
            (None, Kind::FollowUp | Kind::Telehealth) => Some("Review of chronic conditions"),
            _ => self.rng.chance(30).then_some("Annual \"check-up\""),
        };
        let status = if self.turn("encounter in error", 150) { "entered-in-error" } else { "finished" };
        let by = Some(visit.provider);
        self.appointment(
            visit.id,
            by,
            visit.end,
            &Appointment {
                status,
                class,
                codes: (Some(cpt), Some(snomed), text),
                facility: visit.facility,
                starts: Some(visit.at),
                ends: Some(visit.end),
                reason_snomed: visit.disorder.map(|disorder| disorder.snomed),
                reason_text,
                reason,
                discharge,
            },
        );
        if let Some((id, disorder)) = diagnosis {
            self.diagnosis(id, disorder, visit);
        }
    }

    fn class(&mut self, kind: Kind) -> (&'static str, Option<&'static str>) {
        match kind {
            Kind::Telehealth => ("VR", None),
            Kind::Sick if self.turn("emergency", 15) => {
                ("EMER", Some(self.rng.word(&["home", "home", "other-hcf", "snf", "aama"])))
            }
            Kind::FollowUp if self.turn("at home", 25) => ("HH", None),
            _ => ("AMB", None),
        }
    }

    fn visit_type(&mut self, visit: &Visit) -> (&'static str, (&'static str, &'static str)) {
        match (visit.kind, visit.months / 12) {
            (Kind::First, _) => (self.rng.word(&["99203", "99204"]), GENERAL_EXAM),
            (Kind::WellChild, ..1) => ("99391", WELL_CHILD),
            (Kind::WellChild, 1..5) => ("99392", WELL_CHILD),
            (Kind::WellChild, 5..12) => ("99393", WELL_CHILD),
            (Kind::WellChild | Kind::Physical, ..18) => ("99394", WELL_CHILD),
            (Kind::Physical, ..40) => ("99395", GENERAL_EXAM),
            (Kind::Physical, ..65) => ("99396", GENERAL_EXAM),
            (Kind::Physical | Kind::WellChild, _) => ("99397", GENERAL_EXAM),
            (Kind::FollowUp | Kind::Telehealth, _) => (self.rng.word(&["99213", "99214"]), FOLLOW_UP),
            (Kind::Sick, _) => ("99213", SYMPTOM),
        }
    }

    /// Appointments that are not, or not yet, visits.
    pub(super) fn appointments(&mut self) {
        if self.turn("cancelled", 8) {
            let starts = at(office_day(plus_days(self.person.first_day, 40)), 600);
            self.only_planned("cancelled", starts);
        }
        if self.person.died.is_none() && self.turn("planned", 8) {
            let day = plus_days(self.person.last_day, self.rng.between(3, 60));
            let starts = at(office_day(day), 480 + 5 * self.rng.between(0, 100));
            self.only_planned("planned", starts);
        }
    }

    fn only_planned(&mut self, status: &'static str, starts: Moment) {
        let (id, facility) = (self.rows.key(), self.person.facility);
        let (_, text) = FOLLOW_UP;
        self.appointment(
            id,
            Some(self.person.pcp),
            starts.plus(-200 * HOUR),
            &Appointment {
                status,
                class: "AMB",
                codes: (None, None, text),
                facility,
                starts: Some(starts),
                ends: None,
                reason_snomed: None,
                reason_text: None,
                reason: None,
                discharge: None,
            },
        );
    }

    fn appointment(&mut self, id: Uuid, by: Option<Uuid>, recorded: Moment, what: &Appointment) {
        let practice = self.directory.practice;
        let (cpt, snomed, text) = what.codes;
        let number = format!("V{}", 1_000_000 + self.turns.count("visit"));
        self.record_as(
            id,
            "encounter",
            by,
            recorded,
            &[
                ("practice_id", &practice),
                ("facility_id", &what.facility),
                ("provider_id", &by),
                ("visit_number", &number),
                ("status", &what.status),
                ("class_code", &what.class),
                ("visit_cpt", &cpt),
                ("visit_snomed", &snomed),
                ("visit_text", &text),
                ("starts_at", &what.starts),
                ("ends_at", &what.ends),
                ("reason_snomed", &what.reason_snomed),
                ("reason_text", &what.reason_text),
                ("reason_problem_id", &what.reason),
                ("discharge_code", &what.discharge),
            ],
        );
    }
}

/// The columns of an encounter that differ.
struct Appointment {
    status: &'static str,
    class: &'static str,
    codes: (Option<&'static str>, Option<&'static str>, &'static str),
    facility: Uuid,
    starts: Option<Moment>,
    ends: Option<Moment>,
    reason_snomed: Option<&'static str>,
    reason_text: Option<&'static str>,
    reason: Option<Uuid>,
    discharge: Option<&'static str>,
}

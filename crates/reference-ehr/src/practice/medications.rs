//! Prescriptions, what the patient takes besides, and what was handed over.

use uuid::Uuid;

use super::calendar::{at, plus_days};
use super::chart::Chart;
use super::codes::disorders::CHRONIC;
use super::codes::drugs::{DRUGS, Drug, place};
use super::problems::Problem;
use super::visit::{Kind, Visit};
use crate::generate::json::Decimal;
use crate::generate::moment::{HOUR, MINUTE, Moment};

/// Why a drug is given.
#[derive(Default, Clone, Copy)]
struct Reason {
    problem: Option<Uuid>,
    codes: Option<(&'static str, &'static str, &'static str)>,
}

/// What distinguishes one prescription from another.
struct Order {
    drug: &'static Drug,
    /// The row of the practice's list; None: named in the prescription itself.
    listed: Option<Uuid>,
    status: &'static str,
    intent: &'static str,
    reported: bool,
    reason: Reason,
}

impl Chart<'_> {
    /// What a visit prescribes: for the problems of the list at first and then by and by, and for what
    /// brought the patient.
    pub(super) fn medications(&mut self, visit: &Visit, problems: &[Problem]) {
        for problem in problems {
            let drugs = CHRONIC[problem.place].disorder.drugs;
            let is_due = visit.kind == Kind::First || self.happens(22);
            if drugs.is_empty() || !is_due {
                continue;
            }
            let reason = Reason { problem: Some(problem.id), codes: None };
            let first = if self.happens(70) { 0 } else { self.rng.index(drugs.len()) };
            self.prescribe(drugs[first], reason, visit);
        }
        if let Some(disorder) = visit.disorder.filter(|disorder| !disorder.drugs.is_empty()) {
            let codes = Some((disorder.snomed, disorder.icd10, disorder.text));
            self.prescribe(disorder.drugs[0], Reason { problem: None, codes }, visit);
        }
        if visit.kind == Kind::First && self.happens(30) || self.turn("reported drug", 25) {
            self.reported(visit);
        }
    }

    fn prescribe(&mut self, rxnorm: &str, reason: Reason, visit: &Visit) {
        let place = place(rxnorm);
        let drug = &DRUGS[place];
        let is_recent = plus_days(visit.day, drug.days * 3) > self.person.last_day;
        let status = match drug.days > 20 && is_recent {
            _ if self.turn("prescription in error", 100) => "entered-in-error",
            _ if self.turn("prescription cancelled", 40) => "cancelled",
            _ if self.turn("prescription stopped", 20) => "stopped",
            true if self.turn("prescription on hold", 40) => "on-hold",
            true => "active",
            false => "completed",
        };
        let listed = (!self.turn("drug not listed", 20)).then_some(self.directory.drugs[place]);
        let intent = if self.turn("standing prescription", 30) { "instance-order" } else { "order" };
        let order = Order { drug, listed, status, intent, reported: false, reason };
        let id = self.prescription(&order, visit);
        if !matches!(status, "entered-in-error" | "cancelled") && self.happens(55) {
            self.dispenses(id, &order, visit);
        }
    }

    /// What the patient takes without prescription: a plan, not an order (us-core-21).
    fn reported(&mut self, visit: &Visit) {
        let drug = &DRUGS[place(self.rng.word(&["243670", "849574", "997488", "1014676"]))];
        let order = Order {
            drug,
            listed: None,
            status: "active",
            intent: "plan",
            reported: true,
            reason: Reason::default(),
        };
        self.prescription(&order, visit);
    }

    fn prescription(&mut self, order: &Order, visit: &Visit) -> Uuid {
        let drug = order.drug;
        let written = visit.later(&mut self.rng);
        let stopped = (order.status == "stopped")
            .then(|| at(plus_days(visit.day, self.rng.between(5, 40)).min(self.person.last_day), 700));
        let adherence = self.turn("adherence", 12);
        let prescriber = (!order.reported).then_some(visit.provider);
        let by_provider = order.reported && self.turn("reported by provider", 3);
        let quantity = drug.days * drug.times.max(1) * drug.dose.0.min(2);
        let refills = if drug.days > 20 { self.rng.between(0, 5) } else { 0 };
        let (snomed, icd10, text) = match order.reason.codes {
            Some((snomed, icd10, text)) => (Some(snomed), Some(icd10), Some(text)),
            None => (None, None, None),
        };
        self.record(
            "prescription",
            prescriber,
            written,
            &[
                ("encounter_id", &visit.id),
                ("prescriber_id", &prescriber),
                ("drug_id", &order.listed),
                ("rxnorm", &order.listed.is_none().then_some(drug.rxnorm)),
                ("drug_text", &order.listed.is_none().then_some(drug.name)),
                ("status", &order.status),
                ("intent", &order.intent),
                ("category", &(if order.reported { "community" } else { "outpatient" })),
                ("reported", &order.reported),
                ("reported_by_id", &by_provider.then_some(visit.provider)),
                ("sig", &drug.sig),
                ("dose", &drug.dose),
                ("dose_ucum", &drug.unit),
                ("route_snomed", &drug.route),
                ("freq_count", &drug.times),
                ("freq_period", &Decimal(drug.period, 0)),
                ("freq_unit", &drug.period_unit),
                ("as_needed", &drug.as_needed),
                ("quantity", &(!order.reported).then_some(quantity)),
                ("quantity_ucum", &(!order.reported).then_some(drug.unit)),
                ("refills", &(!order.reported).then_some(refills)),
                ("days_supply", &(!order.reported).then_some(drug.days)),
                ("written_at", &written),
                ("stopped_at", &stopped),
                ("reason_snomed", &snomed),
                ("reason_icd10", &icd10),
                ("reason_text", &text),
                ("reason_problem_id", &order.reason.problem),
                ("adherence_snomed", &adherence.then_some("275928001")),
                ("adherence_asserted_at", &adherence.then_some(written)),
                ("adherence_source", &adherence.then_some("ONESELF")),
            ],
        )
    }

    fn dispenses(&mut self, prescription: Uuid, order: &Order, visit: &Visit) {
        let fills = if order.drug.days > 20 { self.rng.between(1, 3) } else { 1 };
        for fill in 0..fills {
            let day = plus_days(visit.day, fill * order.drug.days + self.rng.between(0, 2));
            if day > self.person.last_day {
                return;
            }
            let handed_over = match day == visit.day {
                true => visit.end.plus(2 * HOUR + self.rng.between(0, 90) * MINUTE),
                false => at(day, self.rng.between(540, 1140)),
            };
            self.dispense(prescription, order, fill, handed_over, visit);
        }
    }

    fn dispense(&mut self, prescription: Uuid, order: &Order, fill: i64, handed_over: Moment, visit: &Visit) {
        let drug = order.drug;
        // Samples are handed over in the office itself.
        let in_office = self.turn("dispensed in the office", 12);
        let is_done = !self.turn("dispense in progress", 40);
        let quantity = drug.days * drug.times.max(1) * drug.dose.0.min(2);
        self.record(
            "dispense",
            None,
            handed_over,
            &[
                ("encounter_id", &visit.id),
                ("prescription_id", &prescription),
                ("pharmacy_id", &(!in_office).then_some(self.directory.pharmacy)),
                ("dispenser_id", &in_office.then_some(visit.provider)),
                ("drug_id", &order.listed),
                ("rxnorm", &order.listed.is_none().then_some(drug.rxnorm)),
                ("drug_text", &order.listed.is_none().then_some(drug.name)),
                ("status", &(if is_done { "completed" } else { "in-progress" })),
                ("type_code", &(if fill == 0 { "FF" } else { "RF" })),
                ("quantity", &quantity),
                ("quantity_ucum", &drug.unit),
                ("days_supply", &drug.days),
                ("handed_over_at", &is_done.then_some(handed_over)),
                ("sig", &drug.sig),
                ("dose", &drug.dose),
                ("dose_ucum", &drug.unit),
                ("freq_count", &drug.times),
                ("freq_period", &Decimal(drug.period, 0)),
                ("freq_unit", &drug.period_unit),
            ],
        );
    }
}

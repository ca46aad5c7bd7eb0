//! Procedures, the orders they follow from, implants, and studies that end with a report.

use uuid::Uuid;

use super::calendar::plus_days;
use super::chart::Chart;
use super::codes::Term;
use super::codes::services::{
    CARDIOLOGY, COUNSELLING, COUNSELLING_ORDER, OFFICE, OPERATIONS, RADIOLOGY, SOCIAL_ORDER, STUDIES,
    SURGERY_ORDER, Service, Study,
};
use super::findings::Finding;
use super::identifiers::gtin;
use super::problems::Problem;
use super::visit::{Kind, Visit};
use crate::generate::json::Decimal;
use crate::generate::moment::{HOUR, MINUTE};

/// What distinguishes one order from another.
struct Order<'a> {
    category: Term,
    service: &'a Service,
    status: &'static str,
    intent: &'static str,
    problem: Option<Uuid>,
    reason: Option<(&'static str, &'static str, &'static str)>,
}

/// What a procedure follows from.
#[derive(Default, Clone, Copy)]
pub(super) struct Cause {
    pub order: Option<Uuid>,
    pub care_plan: Option<Uuid>,
    pub problem: Option<Uuid>,
}

impl Chart<'_> {
    /// What is done at a visit, and what is ordered.
    pub(super) fn procedures(&mut self, visit: &Visit, problems: &[Problem]) {
        if visit.kind == Kind::Telehealth {
            return;
        }
        let problem = problems.first().map(|problem| problem.id);
        if self.happens(22) {
            let service = self.rng.pick(&OFFICE);
            self.procedure(service, Cause { problem, ..Cause::default() }, None, visit);
        }
        if problem.is_some() && self.happens(6) {
            let service = self.rng.pick(&COUNSELLING);
            let order = self.order(service, COUNSELLING_ORDER, problem, visit);
            self.procedure(service, Cause { order: Some(order), problem, care_plan: None }, None, visit);
        }
        let years = visit.months / 12;
        if years >= 55 && self.turn("operation", 25) {
            self.operation(problem, visit);
        }
        if years >= 12 && (self.happens(7) || self.turn("study", 25)) {
            let place = if self.person.female && years >= 40 { 4 } else { 3 };
            let study = &STUDIES[self.rng.index(place)];
            self.study(study, problem, visit);
        }
    }

    fn order(&mut self, service: &Service, category: Term, problem: Option<Uuid>, visit: &Visit) -> Uuid {
        let reason =
            self.turn("order with a coded reason", 6).then_some(("57676002", "M25.50", "Joint pain"));
        let is_open = self.turn("order open", 12);
        let order = Order {
            category,
            service,
            status: if is_open { "active" } else { "completed" },
            intent: if self.turn("order by plan", 20) { "plan" } else { "order" },
            problem: problem.filter(|_| reason.is_none()),
            reason,
        };
        self.service_order(&order, visit)
    }

    /// A referral to who helps with food.
    pub(super) fn food_pantry(&mut self, concern: Uuid, visit: &Visit) {
        let service = Service {
            cpt: "",
            snomed: "467771000124109",
            text: "Assistance with application for food pantry program",
            minutes: 0,
        };
        let order = Order {
            category: SOCIAL_ORDER,
            service: &service,
            status: "active",
            intent: "order",
            problem: Some(concern),
            reason: None,
        };
        self.service_order(&order, visit);
    }

    fn service_order(&mut self, order: &Order<'_>, visit: &Visit) -> Uuid {
        let ordered = visit.at.plus(self.rng.between(6, 12) * MINUTE);
        let occurs = ordered.plus(self.rng.between(0, 3) * HOUR);
        let (category, category_text) = order.category;
        let service = order.service;
        let (snomed, icd10, text) = match order.reason {
            Some((snomed, icd10, text)) => (Some(snomed), Some(icd10), Some(text)),
            None => (None, None, None),
        };
        self.record(
            "service_order",
            Some(visit.provider),
            ordered,
            &[
                ("encounter_id", &visit.id),
                ("requester_id", &visit.provider),
                ("status", &order.status),
                ("intent", &order.intent),
                ("category_snomed", &category),
                ("category_text", &category_text),
                ("loinc", &None::<&str>),
                ("cpt", &Some(service.cpt).filter(|cpt| !cpt.is_empty())),
                ("snomed", &service.snomed),
                ("text", &service.text),
                ("ordered_at", &ordered),
                ("occurs_at", &occurs),
                ("reason_snomed", &snomed),
                ("reason_icd10", &icd10),
                ("reason_text", &text),
                ("reason_problem_id", &order.problem),
            ],
        )
    }

    /// A procedure at the end of a visit. Returns its id.
    pub(super) fn procedure(
        &mut self,
        service: &Service,
        cause: Cause,
        site: Option<&'static str>,
        visit: &Visit,
    ) -> Uuid {
        let status = match site {
            None if self.turn("procedure not done", 25) => "not-done",
            None if self.turn("procedure in error", 60) => "entered-in-error",
            _ => "completed",
        };
        let starts = visit.end.plus(self.rng.between(0, 5) * MINUTE);
        let is_done = status != "not-done";
        let ends = (is_done && service.minutes > 9).then(|| starts.plus(service.minutes * MINUTE));
        let reason = visit.disorder.filter(|_| cause.problem.is_none());
        self.record(
            "procedure_done",
            Some(visit.provider),
            starts,
            &[
                ("encounter_id", &visit.id),
                ("performer_id", &visit.provider),
                ("facility_id", &visit.facility),
                ("order_id", &cause.order),
                ("care_plan_id", &cause.care_plan),
                ("cpt", &service.cpt),
                ("snomed", &service.snomed),
                ("text", &service.text),
                ("status", &status),
                ("starts_at", &is_done.then_some(starts)),
                ("ends_at", &ends),
                ("site_snomed", &site),
                ("reason_snomed", &reason.map(|disorder| disorder.snomed)),
                ("reason_text", &reason.map(|disorder| disorder.text)),
                ("reason_problem_id", &cause.problem),
            ],
        )
    }

    fn operation(&mut self, problem: Option<Uuid>, visit: &Visit) {
        let (service, device, (site, _)) = self.rng.pick(&OPERATIONS);
        let order = self.order(service, SURGERY_ORDER, problem, visit);
        let cause = Cause { order: Some(order), problem, care_plan: None };
        let procedure = self.procedure(service, cause, Some(site), visit);
        self.implant(*device, procedure, visit);
    }

    /// A device with its unique identifier, as GS1 writes it: (01) device, (11) made, (17) expires, (10) lot,
    /// (21) serial number.
    fn implant(&mut self, (snomed, text): Term, procedure: Uuid, visit: &Visit) {
        let (device, serial) = (gtin(&mut self.rng), format!("SN{}", self.rng.digits(7)));
        let lot = format!("L{}", self.rng.digits(5));
        let made = plus_days(visit.day, -self.rng.between(60, 500));
        let expires = plus_days(visit.day, self.rng.between(300, 1500));
        let label = format!(
            "(01){device}(11){}(17){}(10){lot}(21){serial}",
            made.format("%y%m%d"),
            expires.format("%y%m%d")
        );
        let has_label = !self.turn("implant without a label", 5);
        let distinct = self.turn("donation number", 3).then(|| format!("W{}", self.rng.digits(12)));
        let status = if self.turn("implant in error", 12) { "entered-in-error" } else { "active" };
        self.record(
            "implant",
            None,
            visit.end.plus(3 * HOUR),
            &[
                ("procedure_id", &procedure),
                ("snomed", &snomed),
                ("text", &text),
                ("status", &status),
                ("udi_hrf", &has_label.then_some(label)),
                ("udi_di", &has_label.then_some(device)),
                ("distinct_id", &distinct),
                ("lot", &has_label.then_some(lot)),
                ("serial", &serial),
                ("manufactured", &made),
                ("expires", &expires),
            ],
        );
    }

    fn study(&mut self, study: &Study, problem: Option<Uuid>, visit: &Visit) {
        let order = self.order(&study.service, study.order, problem, visit);
        let cause = Cause { order: Some(order), problem, care_plan: None };
        self.procedure(&study.service, cause, None, visit);
        let document = self.study_report(study, order, visit);
        let narrative = |loinc, text, category| Finding {
            category,
            loinc: Some(loinc),
            text,
            document: Some(document),
            ..Finding::default()
        };
        match study.category {
            CARDIOLOGY => {
                for (loinc, text, low, high) in [
                    ("8625-6", "P-R Interval", 128, 196),
                    ("8633-0", "QRS duration", 78, 108),
                    ("8634-8", "Q-T interval", 350, 430),
                ] {
                    let number = Some(Decimal(self.rng.between(low, high), 0));
                    let unit = Some("ms");
                    self.finding(visit, &Finding { number, unit, ..narrative(loinc, text, "procedure") });
                }
            }
            RADIOLOGY => {
                let value_text = Some(study.impression);
                let finding =
                    narrative("19005-8", "Radiology Imaging study [Impression] (narrative)", "imaging");
                self.finding(visit, &Finding { value_text, ..finding });
            }
            _ => {
                let value_text = Some(study.impression);
                let finding =
                    narrative("22637-3", "Pathology report final diagnosis Narrative", "laboratory");
                self.finding(visit, &Finding { value_text, ..finding });
            }
        }
    }
}

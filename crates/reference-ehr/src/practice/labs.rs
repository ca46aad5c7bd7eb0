//! Laboratory: order, specimen, report, results.

use uuid::Uuid;

use super::chart::Chart;
use super::codes::disorders::{
    ATRIAL_FIBRILLATION, DIABETES, HYPERLIPIDEMIA, HYPOTHYROIDISM, KIDNEY_DISEASE,
};
use super::codes::laboratory::{
    A1C, BLOOD_COUNT, CHOLESTEROLS, CREATININE, CRP, GLUCOSE, HEMOGLOBIN_A1C, INR, LEAD, LIPIDS, METABOLIC,
    NEGATIVE, PANELS, POSITIVE, PROTHROMBIN, Panel, STREP, THYROID, THYROTROPIN, URINALYSIS,
};
use super::codes::services::LABORATORY_ORDER;
use super::codes::{SNOMED, Term};
use super::problems::Problem;
use super::visit::{Kind, Visit};
use crate::generate::codes::Test;
use crate::generate::json::Decimal;
use crate::generate::moment::{DAY, HOUR, MINUTE, Moment};

/// What the results of a report share with it.
struct Report {
    id: Uuid,
    visit: Uuid,
    ordering: Uuid,
    /// None: done in the office.
    laboratory: Option<Uuid>,
    specimen: Uuid,
    collected: Moment,
    issued: Moment,
    status: &'static str,
}

/// What a result found.
#[derive(Default)]
struct Value {
    number: Option<Decimal>,
    comparator: Option<&'static str>,
    unit: Option<&'static str>,
    coded: Option<Term>,
    text: Option<&'static str>,
    low: Option<Decimal>,
    high: Option<Decimal>,
    normal: Option<&'static str>,
    flag: Option<&'static str>,
    absent: Option<&'static str>,
}

impl Chart<'_> {
    /// Orders what the visit calls for.
    pub(super) fn laboratory(&mut self, visit: &Visit, problems: &[Problem]) {
        for place in self.due_panels(visit) {
            self.panel(&PANELS[place], place, visit, problems);
        }
    }

    fn due_panels(&mut self, visit: &Visit) -> Vec<usize> {
        let mut due = Vec::new();
        let snomed = visit.disorder.map(|disorder| disorder.snomed);
        match visit.kind {
            Kind::Telehealth => return due,
            Kind::Sick => {
                match snomed {
                    Some("43878008" | "195662009") => due.push(STREP),
                    Some("68566005") => due.push(URINALYSIS),
                    _ if self.happens(15) => due.push(CRP),
                    _ => {}
                }
                return due;
            }
            Kind::WellChild => {
                if matches!(visit.months, 12..15 | 24..30) {
                    due.extend([LEAD, BLOOD_COUNT]);
                }
                return due;
            }
            _ => {}
        }
        let is_full = matches!(visit.kind, Kind::First | Kind::Physical);
        for (place, is_due) in [
            (METABOLIC, is_full && self.happens(60) || self.person.has(KIDNEY_DISEASE)),
            (LIPIDS, is_full && self.happens(50) || self.person.has(HYPERLIPIDEMIA) && self.happens(40)),
            (BLOOD_COUNT, is_full && self.happens(45)),
            (A1C, self.person.has(DIABETES) && self.happens(70)),
            (THYROID, self.person.has(HYPOTHYROIDISM) && self.happens(60)),
            (INR, self.person.has(ATRIAL_FIBRILLATION) && self.happens(80)),
            (URINALYSIS, is_full && self.happens(15)),
        ] {
            if is_due {
                due.push(place);
            }
        }
        due
    }

    fn panel(&mut self, panel: &Panel, place: usize, visit: &Visit, problems: &[Problem]) {
        let (loinc, text) = (panel.loinc, panel.text);
        let reason = self.happens(50).then(|| problems.first()).flatten().map(|problem| problem.id);
        let ordered = visit.at.plus(8 * MINUTE);
        let collected = visit.end.plus(self.rng.between(5, 40) * MINUTE);
        let (category, category_text) = LABORATORY_ORDER;
        let order = self.record(
            "service_order",
            Some(visit.provider),
            ordered,
            &[
                ("encounter_id", &visit.id),
                ("requester_id", &visit.provider),
                ("status", &"completed"),
                ("intent", &"order"),
                ("category_snomed", &category),
                ("category_text", &category_text),
                ("loinc", &Some(loinc)),
                ("cpt", &None::<&str>),
                ("snomed", &None::<&str>),
                ("text", &text),
                ("ordered_at", &ordered),
                ("occurs_at", &Some(collected)),
                ("reason_snomed", &None::<&str>),
                ("reason_icd10", &None::<&str>),
                ("reason_text", &None::<&str>),
                ("reason_problem_id", &reason),
            ],
        );
        let in_office = place == STREP || place == URINALYSIS;
        let specimen = self.specimen(panel, order, collected, visit);
        let hours = if in_office { 1 } else { self.rng.between(20, 60) };
        let report = Report {
            id: self.rows.key(),
            visit: visit.id,
            ordering: visit.provider,
            laboratory: (!in_office).then_some(self.directory.laboratory),
            specimen,
            collected,
            issued: collected.plus(hours * HOUR + self.rng.between(0, 3599)),
            status: self.report_status(),
        };
        self.report(&report, order, panel);
        if report.status != "registered" {
            self.results(&report, panel);
        }
    }

    fn report_status(&mut self) -> &'static str {
        if self.turn("report in error", 150) {
            "entered-in-error"
        } else if self.turn("report registered", 90) {
            "registered"
        } else if self.turn("report preliminary", 60) {
            "preliminary"
        } else if self.turn("report corrected", 70) {
            "corrected"
        } else {
            "final"
        }
    }

    fn specimen(&mut self, panel: &Panel, order: Uuid, collected: Moment, visit: &Visit) -> Uuid {
        let (snomed, text) = panel.specimen;
        let number = format!("SP{}", self.rng.digits(8));
        let accession = format!("{}-{}", self.rng.digits(8), self.rng.digits(5));
        let condition = self.turn("hemolyzed", 40).then_some("HEM");
        self.record(
            "specimen",
            Some(visit.provider),
            collected,
            &[
                ("order_id", &order),
                ("collector_id", &visit.provider),
                ("specimen_number", &number),
                ("accession_number", &accession),
                ("status", &(if condition.is_some() { "unsatisfactory" } else { "available" })),
                ("snomed", &snomed),
                ("text", &text),
                ("collected_at", &collected),
                ("site_snomed", &panel.site.map(|(code, _)| code)),
                ("site_text", &panel.site.map(|(_, text)| text)),
                ("condition_code", &condition),
            ],
        )
    }

    fn report(&mut self, report: &Report, order: Uuid, panel: &Panel) {
        let is_out = report.status != "registered";
        let conclusion =
            self.turn("conclusion", 10).then_some("Within expected limits; \"repeat in 3 months\".");
        self.record_as(
            report.id,
            "lab_report",
            Some(report.ordering),
            report.issued,
            &[
                ("encounter_id", &report.visit),
                ("order_id", &order),
                ("ordering_id", &report.ordering),
                ("lab_id", &report.laboratory),
                ("specimen_id", &report.specimen),
                ("loinc", &panel.loinc),
                ("text", &panel.text),
                ("status", &report.status),
                ("collected_at", &report.collected),
                ("issued_at", &is_out.then_some(report.issued)),
                ("conclusion", &conclusion.filter(|_| is_out)),
            ],
        );
    }

    fn results(&mut self, report: &Report, panel: &Panel) {
        for test in panel.tests {
            let value = self.measure(test);
            self.result(report, test.code.code, test.code.display, &value);
        }
        for test in panel.qualitative {
            let is_positive = self.happens(20);
            let value = Value {
                coded: Some(if is_positive { POSITIVE } else { NEGATIVE }),
                flag: Some(if is_positive { "POS" } else { "NEG" }),
                normal: Some("Negative"),
                ..Value::default()
            };
            self.result(report, test.loinc, test.text, &value);
        }
        if panel.loinc == PANELS[URINALYSIS].loinc {
            let value =
                Value { text: Some(self.rng.word(&["Yellow", "Straw", "Amber"])), ..Value::default() };
            self.result(report, "5778-6", "Color of Urine", &value);
        }
    }

    /// A number within the ordinary range, moved by what the patient has.
    fn measure(&mut self, test: &Test) -> Value {
        let (low, high) = (test.low, test.high);
        let scaled = |number| Some(Decimal(number, test.decimals));
        let range = Value { unit: Some(test.unit), low: scaled(low), high: scaled(high), ..Value::default() };
        if self.turn("result absent", 250) {
            return Value { absent: Some("not-performed"), unit: None, ..range };
        }
        if test.code.code == PANELS[CRP].loinc && self.happens(40) {
            return Value { number: scaled(3), comparator: Some("<"), flag: Some("N"), ..range };
        }
        let mut number = self.rng.between(low - (high - low) / 20, high + (high - low) / 12).max(0);
        let code = test.code.code;
        if self.person.has(DIABETES) && GLUCOSE.contains(&code) {
            number = number * 3 / 2;
        } else if code == HEMOGLOBIN_A1C {
            number = self.person.a1c + self.rng.between(-30, 30);
        } else if self.person.has(KIDNEY_DISEASE) && code == CREATININE {
            number *= 2;
        } else if self.person.has(HYPERLIPIDEMIA) && CHOLESTEROLS.contains(&code) {
            number = number * 5 / 4;
        } else if self.person.has(HYPOTHYROIDISM) && code == THYROTROPIN {
            number = number * 3 / 2;
        } else if self.person.has(ATRIAL_FIBRILLATION) && code == PROTHROMBIN {
            number = self.rng.between(18, 34);
        }
        let flag = match number {
            n if n > high + high / 2 => "HH",
            n if n > high => "H",
            n if n < low / 2 => "LL",
            n if n < low => "L",
            _ => "N",
        };
        Value { number: scaled(number), flag: Some(flag), ..range }
    }

    fn result(&mut self, report: &Report, loinc: &'static str, text: &'static str, value: &Value) {
        let status = match report.status {
            "final" if self.turn("result in error", 300) => "entered-in-error",
            status => status,
        };
        let observed = report.collected;
        let issued = report.issued.min(report.collected.plus(4 * DAY));
        self.record(
            "lab_result",
            Some(report.ordering),
            issued,
            &[
                ("lab_report_id", &report.id),
                ("encounter_id", &report.visit),
                ("ordering_id", &report.ordering),
                ("lab_id", &report.laboratory),
                ("specimen_id", &report.specimen),
                ("observed_at", &observed),
                ("issued_at", &issued),
                ("loinc", &loinc),
                ("text", &text),
                ("status", &status),
                ("value_num", &value.number),
                ("comparator", &value.comparator),
                ("ucum", &value.unit),
                ("value_system", &value.coded.map(|_| SNOMED)),
                ("value_code", &value.coded.map(|(code, _)| code)),
                ("value_text", &value.coded.map(|(_, text)| text).or(value.text)),
                ("ref_low", &value.low),
                ("ref_high", &value.high),
                ("ref_text", &value.normal),
                ("abnormal_flag", &value.flag),
                ("absent_reason", &value.absent),
            ],
        );
    }
}

//! Vital signs: what is taken depends on the visit, what it comes to on the patient.

use super::chart::Chart;
use super::codes::disorders::{COPD, HYPERTENSION};
use super::growth::{BMI_MONTHS, GROWN_MONTHS, HEAD_MONTHS, Median, bmi_tenths, median, percentile, spread};
use super::visit::{Kind, Visit};
use crate::generate::json::Decimal;
use crate::generate::moment::MINUTE;

/// One set of signs; numbers in tenths, weight in units of 10 g.
#[derive(Default)]
struct Signs {
    systolic: Option<i64>,
    diastolic: Option<i64>,
    heart_rate: Option<i64>,
    resp_rate: Option<i64>,
    temperature: Option<i64>,
    spo2: Option<i64>,
    o2_flow: Option<i64>,
    o2_concentration: Option<i64>,
    height: Option<i64>,
    weight: Option<i64>,
    bmi: Option<i64>,
    head: Option<i64>,
    bmi_percentile: Option<i64>,
    head_percentile: Option<i64>,
    weight_for_length: Option<i64>,
}

impl Chart<'_> {
    /// Takes the vital signs of a visit; nobody does over the telephone.
    pub(super) fn vital_signs(&mut self, visit: &Visit) {
        if visit.kind == Kind::Telehealth {
            return;
        }
        let mut signs = self.circulation(visit);
        self.growth(visit, &mut signs);
        let at = visit.at.plus(self.rng.between(3, 9) * MINUTE + self.rng.between(0, 59));
        let is_error = self.turn("vital signs in error", 70);
        let id = self.rows.key();
        let by = visit.provider;
        let tenths = |value: Option<i64>| value.map(|value| Decimal(value, 1));
        self.write(
            "vital_set",
            id,
            &[
                ("encounter_id", &visit.id),
                ("taken_by_id", &by),
                ("taken_at", &at),
                ("systolic", &tenths(signs.systolic)),
                ("diastolic", &tenths(signs.diastolic)),
                ("heart_rate", &tenths(signs.heart_rate)),
                ("resp_rate", &tenths(signs.resp_rate)),
                ("temp_c", &tenths(signs.temperature)),
                ("spo2", &tenths(signs.spo2)),
                ("o2_flow", &tenths(signs.o2_flow)),
                ("o2_concentration", &tenths(signs.o2_concentration)),
                ("height_cm", &tenths(signs.height)),
                ("weight_kg", &signs.weight.map(|dag| Decimal(dag, 2))),
                ("bmi", &tenths(signs.bmi)),
                ("head_cm", &tenths(signs.head)),
                ("bmi_pct", &tenths(signs.bmi_percentile)),
                ("head_pct", &tenths(signs.head_percentile)),
                ("wfl_pct", &tenths(signs.weight_for_length)),
                ("entered_in_error", &is_error),
            ],
        );
        let targets = [
            ("bp", signs.systolic.or(signs.diastolic)),
            ("hr", signs.heart_rate),
            ("rr", signs.resp_rate),
            ("temp", signs.temperature),
            ("spo2", signs.spo2),
            ("height", signs.height),
            ("weight", signs.weight),
            ("bmi", signs.bmi),
            ("head", signs.head),
            ("bmi-pct", signs.bmi_percentile),
            ("head-pct", signs.head_percentile),
            ("wfl-pct", signs.weight_for_length),
        ];
        let targets: Vec<String> = targets
            .iter()
            .filter(|(_, value)| value.is_some())
            .map(|(suffix, _)| format!("Observation/{id}-{suffix}"))
            .collect();
        self.author(id, &targets.join(","), Some(by), at);
    }

    /// Blood pressure, pulse, breathing, temperature, oxygen.
    fn circulation(&mut self, visit: &Visit) -> Signs {
        let mut signs = Signs::default();
        let years = visit.months / 12;
        let is_sick = visit.kind == Kind::Sick;
        if years >= 3 {
            let (systolic, diastolic) = self.pressure(visit, years);
            signs.systolic = (!self.turn("systolic missing", 180)).then_some(systolic * 10);
            signs.diastolic = (!self.turn("diastolic missing", 150)).then_some(diastolic * 10);
        }
        let rest = (130 - years * 4).max(72);
        let fever = if is_sick { self.rng.between(2, 22) } else { 0 };
        signs.heart_rate = Some((rest + self.rng.between(-12, 14) + fever / 2) * 10);
        signs.resp_rate = self.happens(75).then(|| ((34 - years).max(15) + self.rng.between(-2, 4)) * 10);
        signs.temperature = (is_sick || self.happens(70)).then(|| 366 + self.rng.between(-4, 5) + fever);
        if is_sick || self.person.has(COPD) || self.happens(45) {
            let low = if self.person.has(COPD) { 6 } else { 0 };
            signs.spo2 = Some((99 - self.rng.between(0, 3) - low) * 10);
            if low > 0 && self.happens(50) || self.turn("oxygen", 40) {
                // Of some only the flow was noted, of some only the share of oxygen.
                let flow = self.rng.between(2, 8) * 5;
                signs.o2_flow = (!self.turn("flow missing", 5)).then_some(flow);
                let is_noted = signs.o2_flow.is_none() || !self.turn("concentration missing", 5);
                signs.o2_concentration = is_noted.then_some(200 + flow * 4);
            }
        }
        signs
    }

    /// Hypertension is treated, and falls with the visits.
    fn pressure(&mut self, visit: &Visit, years: i64) -> (i64, i64) {
        let base = if years < 18 { 88 + years * 2 } else { 112 + (years - 18) / 8 };
        let (systolic, diastolic) =
            (base + self.rng.between(-8, 10), base * 6 / 10 + self.rng.between(-3, 10));
        match self.person.has(HYPERTENSION) {
            true => {
                let raised = (34 - 3 * i64::from(visit.number)).max(10);
                (systolic + raised, diastolic + raised / 2)
            }
            false => (systolic, diastolic),
        }
    }

    /// Height, weight, head, and what follows from them.
    fn growth(&mut self, visit: &Visit, signs: &mut Signs) {
        let Median { height_mm, weight_dag, head_mm } = self.person.body(visit.day);
        let is_full = matches!(visit.kind, Kind::Physical | Kind::WellChild | Kind::First);
        if is_full || self.happens(30) {
            signs.height = Some(height_mm + self.rng.between(-4, 4));
        }
        if is_full || self.happens(80) {
            signs.weight = Some(weight_dag + weight_dag * self.rng.between(-20, 20) / 1000);
        }
        let middle = median(self.person.female, visit.months);
        if is_full && visit.months <= HEAD_MONTHS {
            let head = head_mm + self.rng.between(-2, 2);
            signs.head = Some(head);
            signs.head_percentile = Some(percentile(head, middle.head_mm, 30) * 10);
        }
        let (Some(height), Some(weight)) = (signs.height, signs.weight) else { return };
        if visit.months >= BMI_MONTHS {
            let bmi = bmi_tenths(height, weight);
            signs.bmi = Some(bmi);
            if visit.months < GROWN_MONTHS {
                let middle = bmi_tenths(middle.height_mm, middle.weight_dag);
                signs.bmi_percentile = Some(percentile(bmi, middle, 110) * 10);
            }
        }
        if visit.months <= HEAD_MONTHS {
            // Weight goes with length about as its square does at this age.
            let ratio = (height - middle.height_mm) * 20_000 / middle.height_mm;
            let expected = spread(middle.weight_dag, ratio, 1);
            signs.weight_for_length = Some(percentile(weight, expected, 110) * 10);
        }
    }
}

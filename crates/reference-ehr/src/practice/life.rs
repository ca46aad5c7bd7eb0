//! The course of a patient's care: how often they come and what for, and the order in which a chart is
//! written.

use chrono::NaiveDate;

use super::calendar::{office_day, plus_days, plus_months};
use super::chart::Chart;
use super::person::Archetype;
use super::visit::Kind;

/// Visits of a patient at these percentiles; in between it is interpolated. Most come a few times, few come
/// very often.
const VISITS: [(i64, i64); 8] = [(0, 0), (8, 1), (25, 2), (50, 4), (75, 8), (90, 14), (97, 25), (100, 80)];

/// Ages in months at which a healthy child is seen.
const WELL_CHILD: [u32; 18] = [0, 1, 2, 4, 6, 9, 12, 15, 18, 24, 30, 36, 48, 60, 72, 96, 120, 144];

impl Chart<'_> {
    /// Writes all of the chart.
    pub(super) fn write_all(&mut self) {
        let name = self.register();
        if self.turn("duplicate", 30) {
            self.duplicate(&name);
        }
        self.join_groups();
        if self.person.archetype == Archetype::Blank {
            return;
        }
        let relative = self.relative(&name);
        if self.happens(92) {
            self.insurance();
        }
        self.appointments();
        let mut problems = Vec::new();
        let mut last_months = None;
        for (number, (day, kind)) in (0..).zip(self.visit_days()) {
            let visit = self.plan_visit(number, day, kind);
            if number == 0 {
                // The encounter of the first visit comes before the problem list that is taken at it.
                self.encounter(&visit, &[]);
                problems = self.problem_list(&visit);
                self.allergies(&visit);
            } else {
                self.encounter(&visit, &problems);
            }
            self.vital_signs(&visit);
            self.screening(&visit);
            self.findings(&visit);
            self.laboratory(&visit, &problems);
            self.medications(&visit, &problems);
            self.immunizations(&visit, last_months.map_or(visit.months, |months| months + 1));
            self.procedures(&visit, &problems);
            if number == 0 {
                self.care(&visit, &problems, relative);
            } else if self.turn("concern", 60) {
                let found = 1 + self.rng.index(4);
                self.concern(found, &visit);
            }
            self.documents(&visit, &problems);
            last_months = Some(visit.months);
        }
    }

    /// The days of the visits and what they are for, in order and at most one a day.
    fn visit_days(&mut self) -> Vec<(NaiveDate, Kind)> {
        let (first, last) = (self.person.first_day, self.person.last_day);
        let count = self.visit_count();
        let span = (last - first).num_days();
        let mut days: Vec<(NaiveDate, Option<Kind>)> = Vec::new();
        if self.person.age_months(first) < 144 {
            let days_due =
                WELL_CHILD.iter().map(|months| plus_days(plus_months(self.person.born, *months), 4));
            days.extend(days_due.filter(|day| *day >= first).map(|day| (day, Some(Kind::WellChild))));
        }
        let is_child = !days.is_empty();
        for _ in 0..if is_child { count / 3 } else { count } {
            let day = plus_days(first, self.rng.between(0, span.max(1)));
            days.push((day, is_child.then_some(Kind::Sick)));
        }
        let mut days: Vec<(NaiveDate, Option<Kind>)> = days
            .into_iter()
            .map(|(day, kind)| (office_day(day), kind))
            .filter(|(day, _)| *day <= last)
            .collect();
        days.sort_by_key(|(day, _)| *day);
        days.dedup_by_key(|(day, _)| *day);
        let mut last_physical = None::<NaiveDate>;
        days.into_iter()
            .enumerate()
            .map(|(number, (day, kind))| {
                let kind = kind.unwrap_or_else(|| match number {
                    0 => Kind::First,
                    _ => self.kind(last_physical.is_none_or(|last| (day - last).num_days() > 330)),
                });
                if matches!(kind, Kind::First | Kind::Physical) {
                    last_physical = Some(day);
                }
                (day, kind)
            })
            .collect()
    }

    fn kind(&mut self, physical_is_due: bool) -> Kind {
        if physical_is_due && self.happens(60) {
            return Kind::Physical;
        }
        let is_ill = !self.person.chronic.is_empty();
        match self.rng.between(1, 100) {
            ..=10 => Kind::Telehealth,
            11..=60 if is_ill => Kind::FollowUp,
            _ => Kind::Sick,
        }
    }

    fn visit_count(&mut self) -> i64 {
        match self.person.archetype {
            Archetype::Elder | Archetype::Mother | Archetype::Deceased => return 14,
            Archetype::Infant | Archetype::Child | Archetype::Teenager => return 9,
            Archetype::Blank => return 0,
            Archetype::Drawn => {}
        }
        let at = self.rng.between(0, 9999);
        let above = VISITS.iter().position(|(percent, _)| percent * 100 > at).unwrap_or(VISITS.len() - 1);
        let ((low_percent, low), (high_percent, high)) = (VISITS[above - 1], VISITS[above]);
        low + (high - low) * (at - low_percent * 100) / ((high_percent - low_percent) * 100)
    }
}

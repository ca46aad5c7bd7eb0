//! Care teams, care plans and goals.

use uuid::Uuid;

use super::calendar::plus_days;
use super::chart::Chart;
use super::codes::Term;
use super::codes::disorders::{CHRONIC, DIABETES, HYPERTENSION};
use super::codes::people::{CAREGIVER, NURSE, PATIENT_ROLE, PHARMACY_ROLE, PRIMARY_CARE};
use super::codes::services::COUNSELLING;
use super::problems::Problem;
use super::procedures::Cause;
use super::visit::Visit;
use crate::generate::json::Decimal;

/// A goal: SNOMED CT, text, and what is measured (LOINC, value, unit).
struct Aim {
    snomed: Option<&'static str>,
    text: &'static str,
    target: Option<(&'static str, Decimal, &'static str)>,
}

impl Chart<'_> {
    /// The care of a patient with problems, set up at the first visit.
    pub(super) fn care(&mut self, visit: &Visit, problems: &[Problem], relative: Option<Uuid>) {
        if problems.is_empty() && !self.turn("care of the healthy", 5) {
            return;
        }
        let team = self.care_team(visit, relative);
        if let Some(problem) = problems.first().filter(|_| self.rng.chance(65)) {
            let plan = self.care_plan(visit, team, *problem);
            let aims = self.aims(*problem);
            aims.iter().for_each(|aim| self.goal(aim, Some(plan), Some(problem.id), visit));
            if self.happens(40) {
                let cause = Cause { care_plan: Some(plan), problem: Some(problem.id), order: None };
                self.procedure(&COUNSELLING[0], cause, None, visit);
            }
        } else if self.happens(30) {
            let aim = Aim {
                snomed: None,
                text: "Able to climb two flights of stairs without a rest",
                target: None,
            };
            self.goal(&aim, None, None, visit);
        }
    }

    fn care_team(&mut self, visit: &Visit, relative: Option<Uuid>) -> Uuid {
        let status = if self.person.died.is_some() { "inactive" } else { "active" };
        let (practice, died) = (self.directory.practice, self.person.died);
        let team = self.record(
            "care_team",
            None,
            visit.end,
            &[
                ("practice_id", &practice),
                ("name", &"Primary care team"),
                ("status", &status),
                ("starts", &visit.day),
                ("ends", &died),
            ],
        );
        let nobody = None::<Uuid>;
        let role = *self.rng.pick(&self.directory.roles);
        self.member(team, (Some(self.person.pcp), nobody, nobody, nobody), PRIMARY_CARE);
        self.member(team, (nobody, nobody, nobody, nobody), PATIENT_ROLE);
        if self.happens(60) {
            self.member(team, (nobody, Some(role), nobody, nobody), NURSE);
        }
        if relative.is_some() {
            self.member(team, (nobody, nobody, nobody, relative), CAREGIVER);
        }
        if self.happens(30) {
            self.member(team, (nobody, nobody, Some(self.directory.pharmacy), nobody), PHARMACY_ROLE);
        }
        team
    }

    /// A provider, role, organization or relative; else the patient.
    fn member(
        &mut self,
        team: Uuid,
        (provider, role, organization, relative): (Option<Uuid>, Option<Uuid>, Option<Uuid>, Option<Uuid>),
        (snomed, text): Term,
    ) {
        let is_patient = [provider, role, organization, relative].iter().all(Option::is_none);
        self.rows.add(
            "care_team_member",
            &[
                ("care_team_id", &team),
                ("provider_id", &provider),
                ("provider_role_id", &role),
                ("organization_id", &organization),
                ("related_person_id", &relative),
                ("is_patient", &is_patient),
                ("role_snomed", &snomed),
                ("role_text", &text),
            ],
        );
    }

    fn care_plan(&mut self, visit: &Visit, team: Uuid, problem: Problem) -> Uuid {
        let disorder = &CHRONIC[problem.place].disorder;
        let narrative = format!(
            "Assessment: {}, not at goal.\nPlan:\n- medication as listed\n- diet & exercise (< 2 g sodium)\n- \"return in 3 months\", \
             sooner if worse\nPrepared on {}.",
            disorder.text, visit.day
        );
        let title = format!("Plan for {}", disorder.text.to_lowercase());
        let has_died = self.person.died.is_some();
        let status = match has_died {
            true => "completed",
            false if self.turn("plan on hold", 15) => "on-hold",
            false => "active",
        };
        let ends = self.happens(40).then(|| plus_days(visit.day, 365));
        self.record(
            "care_plan",
            Some(visit.provider),
            visit.end,
            &[
                ("encounter_id", &visit.id),
                ("care_team_id", &team),
                ("author_id", &visit.provider),
                ("problem_id", &problem.id),
                ("status", &status),
                ("intent", &"plan"),
                ("title", &title),
                ("narrative", &narrative),
                ("starts", &visit.day),
                ("ends", &ends),
            ],
        )
    }

    fn aims(&mut self, problem: Problem) -> Vec<Aim> {
        let mut aims = vec![match problem.place {
            HYPERTENSION => Aim {
                snomed: None,
                text: "Systolic blood pressure below 130 mm[Hg] at home",
                target: Some(("8480-6", Decimal(1300, 1), "mm[Hg]")),
            },
            DIABETES => Aim {
                snomed: None,
                text: "Hemoglobin A1c below 7.0 %",
                target: Some(("4548-4", Decimal(70, 1), "%")),
            },
            _ => Aim {
                snomed: Some("289169006"),
                text: "Weight loss of 5 kg",
                target: Some(("29463-7", Decimal(7250, 2), "kg")),
            },
        }];
        if self.happens(40) {
            aims.push(Aim { snomed: Some("406156006"), text: "In paid employment", target: None });
        }
        aims
    }

    fn goal(&mut self, aim: &Aim, plan: Option<Uuid>, problem: Option<Uuid>, visit: &Visit) {
        let has_died = self.person.died.is_some();
        let (status, achievement) = match has_died {
            true => ("cancelled", "not-attainable"),
            false if self.happens(30) => ("completed", "achieved"),
            false => ("active", self.rng.word(&["in-progress", "improving", "worsening"])),
        };
        let due = plus_days(visit.day, 90 * self.rng.between(1, 4));
        self.record(
            "goal",
            Some(visit.provider),
            visit.end,
            &[
                ("care_plan_id", &plan),
                ("problem_id", &problem),
                ("author_id", &visit.provider),
                ("status", &status),
                ("achievement", &achievement),
                ("snomed", &aim.snomed),
                ("text", &aim.text),
                ("starts", &visit.day),
                ("due", &due),
                ("target_loinc", &aim.target.map(|(loinc, _, _)| loinc)),
                ("target_num", &aim.target.map(|(_, value, _)| value)),
                ("target_ucum", &aim.target.map(|(_, _, unit)| unit)),
            ],
        );
    }
}

//! Social history, examination, and other single observations.

use uuid::Uuid;

use super::chart::Chart;
use super::codes::people::{
    INDUSTRY, NOT_PREGNANT, OCCUPATION, OCCUPATIONS, ORIENTATIONS, PREGNANT, SMOKING, UNSURE_OF_PREGNANCY,
};
use super::codes::surveys::{ADDRESS, ASSESSMENTS, DRINKS, HEAD, NO, VITAL_SIGNS, YES};
use super::codes::{LOINC, NULL_FLAVOR, SNOMED, Term};
use super::growth::HEAD_MONTHS;
use super::person::Archetype;
use super::visit::{Kind, Visit};
use crate::generate::json::Decimal;
use crate::generate::moment::{DAY, MINUTE, Moment, YEAR};

/// A row of `finding`; what is not said is `NULL`.
#[derive(Default, Clone)]
pub(super) struct Finding {
    pub category: &'static str,
    pub screening: Option<&'static str>,
    pub loinc: Option<&'static str>,
    pub snomed: Option<&'static str>,
    pub text: &'static str,
    pub number: Option<Decimal>,
    pub unit: Option<&'static str>,
    /// System, code and display.
    pub coded: Option<(&'static str, Term)>,
    pub value_text: Option<&'static str>,
    pub value_bool: Option<bool>,
    pub absent: Option<&'static str>,
    pub interpretation: Option<&'static str>,
    pub parent: Option<Uuid>,
    pub derived_from: Option<Uuid>,
    pub answers: Option<Uuid>,
    pub document: Option<Uuid>,
    /// It held from the visit until then.
    pub period: Option<(Moment, Option<Moment>)>,
    pub has_industry: bool,
    pub mean: Option<(i64, i64)>,
    pub status: Option<&'static str>,
}

impl Chart<'_> {
    /// What is asked and looked at besides the vital signs.
    pub(super) fn findings(&mut self, visit: &Visit) {
        let years = visit.months / 12;
        let is_full = matches!(visit.kind, Kind::First | Kind::Physical);
        if is_full && years >= 13 {
            self.smoking(visit);
        }
        if visit.kind == Kind::First && years >= 18 {
            if self.turn("social function", 10) {
                let (loinc, text) = (Some("8689-2"), "History of Social function");
                let value_text = Some("Lives alone; daughter visits daily.");
                let told =
                    Finding { category: "social-history", loinc, text, value_text, ..Finding::default() };
                self.finding(visit, &told);
            }
            if self.happens(60) {
                self.occupation(visit);
            }
            if self.happens(40) {
                self.orientation(visit);
            }
        }
        let is_mother = self.person.archetype == Archetype::Mother;
        if self.person.female && (16..50).contains(&years) && (is_mother || self.happens(20)) {
            self.pregnancy(visit);
        }
        if is_full && years >= 5 && self.happens(50) {
            self.assessments(visit, years);
        }
        if self.happens(12) {
            self.examination(visit);
        }
        if self.turn("sign not obtained", 12) {
            self.not_obtained(visit);
        }
        if self.turn("preferences", 30) {
            self.preferences(visit);
        }
    }

    fn smoking(&mut self, visit: &Visit) {
        let status = SMOKING[self.person.smoking];
        let is_error = self.turn("smoking in error", 60);
        self.finding(
            visit,
            &Finding {
                category: "social-history",
                loinc: Some("72166-2"),
                text: "Tobacco smoking status",
                coded: Some((SNOMED, status)),
                status: is_error.then_some("entered-in-error"),
                ..Finding::default()
            },
        );
        if self.person.smoking > 0 && self.turn("tobacco history", 3) {
            let number = Some(Decimal(self.rng.between(5, 450), 1));
            let (snomed, unit) = (Some("401201003"), Some("{PackYears}"));
            let text = "Cigarette pack-years";
            let history =
                Finding { category: "social-history", snomed, text, number, unit, ..Finding::default() };
            self.finding(visit, &history);
        }
    }

    fn occupation(&mut self, visit: &Visit) {
        let since = visit.at.plus(-self.rng.between(200, 4000) * DAY);
        let until = self.happens(30).then(|| visit.at.plus(-self.rng.between(5, 150) * DAY));
        let is_known = self.happens(70);
        let coded = if is_known { Some((OCCUPATIONS, OCCUPATION)) } else { None };
        let other =
            (!is_known).then(|| self.rng.word(&["Teacher", "Carpenter & joiner", "Retired", "Barista"]));
        self.finding(
            visit,
            &Finding {
                category: "social-history",
                loinc: Some("11341-5"),
                text: "History of Occupation",
                coded,
                value_text: other,
                period: Some((since, until)),
                has_industry: is_known,
                ..Finding::default()
            },
        );
    }

    fn orientation(&mut self, visit: &Visit) {
        let coded = match self.turn("orientation not told", 4) {
            true => (NULL_FLAVOR, ("ASKU", "Asked but no answer")),
            false => (SNOMED, *self.rng.pick(&ORIENTATIONS)),
        };
        self.finding(
            visit,
            &Finding {
                category: "social-history",
                loinc: Some("76690-7"),
                text: "Sexual orientation",
                coded: Some(coded),
                ..Finding::default()
            },
        );
    }

    fn pregnancy(&mut self, visit: &Visit) {
        let is_pregnant = self.person.archetype == Archetype::Mother && visit.number.is_multiple_of(2);
        self.finding(
            visit,
            &Finding {
                category: "social-history",
                loinc: Some("82810-3"),
                text: "Pregnancy status",
                coded: Some((SNOMED, if is_pregnant { PREGNANT } else { NOT_PREGNANT })),
                ..Finding::default()
            },
        );
        if !is_pregnant {
            let coded = match self.happens(40) {
                true => (SNOMED, UNSURE_OF_PREGNANCY),
                false => (NULL_FLAVOR, ("UNK", "Unknown")),
            };
            self.finding(
                visit,
                &Finding {
                    category: "social-history",
                    loinc: Some("86645-9"),
                    text: "Pregnancy intention in the next year - Reported",
                    coded: Some(coded),
                    ..Finding::default()
                },
            );
        }
    }

    /// One or two statements, of them those about the mind only of the old.
    fn assessments(&mut self, visit: &Visit, years: i64) {
        for _ in 0..2 {
            let (what, category, is_score) = *self.rng.pick(&ASSESSMENTS);
            if is_score && years < 65 {
                continue;
            }
            let (loinc, text) = what;
            let score = self.rng.between(18, 30);
            let answer = if self.happens(15) { YES } else { NO };
            self.finding(
                visit,
                &Finding {
                    category: "survey",
                    screening: Some(category),
                    loinc: Some(loinc),
                    text,
                    number: is_score.then_some(Decimal(score, 0)),
                    unit: is_score.then_some("{score}"),
                    coded: (!is_score).then_some((LOINC, answer)),
                    ..Finding::default()
                },
            );
        }
        if self.turn("assessment declined", 8) {
            let ((loinc, text), category, _) = ASSESSMENTS[0];
            let (screening, absent) = (Some(category), Some("asked-declined"));
            let loinc = Some(loinc);
            self.finding(
                visit,
                &Finding { category: "survey", screening, loinc, text, absent, ..Finding::default() },
            );
        }
        if self.turn("address told", 8) {
            let (loinc, text) = ADDRESS;
            let value_text = Some("Shelter on \"Mill Road\"");
            let (screening, loinc) = (Some("sdoh"), Some(loinc));
            let address =
                Finding { category: "survey", screening, loinc, text, value_text, ..Finding::default() };
            self.finding(visit, &address);
        }
        if years >= 21 && self.happens(30) {
            let (loinc, text) = DRINKS;
            let number = Some(Decimal(self.rng.between(0, 40), 1));
            let (loinc, unit) = (Some(loinc), Some("{drinks}/d"));
            let drinks =
                Finding { category: "social-history", loinc, text, number, unit, ..Finding::default() };
            self.finding(visit, &drinks);
        }
        if self.turn("transport", 6) {
            self.finding(
                visit,
                &Finding {
                    category: "social-history",
                    screening: Some("sdoh"),
                    snomed: Some("160695008"),
                    text: "Transport too expensive",
                    value_bool: Some(true),
                    ..Finding::default()
                },
            );
        }
    }

    fn examination(&mut self, visit: &Visit) {
        let seconds = self.rng.between(8, 24);
        self.finding(
            visit,
            &Finding {
                category: "exam",
                loinc: Some("44963-7"),
                text: "Capillary refill Time Nail Bed",
                number: Some(Decimal(seconds, 1)),
                unit: Some("s"),
                interpretation: Some(if seconds > 20 { "H" } else { "N" }),
                ..Finding::default()
            },
        );
        if self.turn("exercise", 4) {
            let minutes = self.rng.between(2, 12) * 5;
            self.finding(
                visit,
                &Finding {
                    category: "activity",
                    loinc: Some("68516-4"),
                    text: "On those days that you engage in moderate to strenuous exercise, how many minutes, on average, do you exercise",
                    number: Some(Decimal(minutes, 0)),
                    unit: Some("min"),
                    ..Finding::default()
                },
            );
        }
    }

    /// A vital sign that was asked for and not obtained: each in its turn.
    fn not_obtained(&mut self, visit: &Visit) {
        let place = usize::try_from(self.turns.count("signs not obtained")).unwrap_or(0) % VITAL_SIGNS.len();
        let (loinc, text) = match visit.months <= HEAD_MONTHS {
            true => HEAD,
            false => VITAL_SIGNS[place],
        };
        let absent = Some(self.rng.word(&["asked-declined", "not-performed", "error"]));
        let sign =
            Finding { category: "vital-signs", loinc: Some(loinc), text, absent, ..Finding::default() };
        self.finding(visit, &sign);
    }

    /// What the patient prefers, and the average of blood pressures taken at home.
    fn preferences(&mut self, visit: &Visit) {
        let wishes = [
            ("95541-9", "Care experience preference", "Prefers appointments after 4 p.m., & an interpreter."),
            (
                "75773-2",
                "Goals, preferences, and priorities for medical treatment",
                "No \"heroic\" measures.",
            ),
        ];
        for (loinc, text, wish) in wishes {
            let is_told = !self.turn("preference not told", 5);
            self.finding(
                visit,
                &Finding {
                    category: "survey",
                    loinc: Some(loinc),
                    text,
                    coded: (!is_told).then_some((NULL_FLAVOR, ("ASKU", "Asked but no answer"))),
                    value_text: is_told.then_some(wish),
                    ..Finding::default()
                },
            );
        }
        let mean = (self.rng.between(1120, 1480), self.rng.between(680, 920));
        self.finding(
            visit,
            &Finding {
                category: "vital-signs",
                loinc: Some("96607-7"),
                text: "Blood pressure panel mean systolic and mean diastolic",
                period: Some((visit.at.plus(-14 * DAY), Some(visit.at))),
                mean: Some(mean),
                ..Finding::default()
            },
        );
    }

    /// Writes a finding of a visit. Returns its id.
    pub(super) fn finding(&mut self, visit: &Visit, finding: &Finding) -> Uuid {
        let id = self.rows.key();
        self.finding_as(id, visit, finding);
        id
    }

    fn finding_as(&mut self, id: Uuid, visit: &Visit, finding: &Finding) {
        let observed = visit.at.plus(self.rng.between(4, 10) * MINUTE);
        let (starts, until) = finding.period.unwrap_or((observed, None));
        let by = visit.provider;
        let industry = finding.has_industry;
        debug_assert!(starts.0 < observed.0 + YEAR, "a period begins before the visit");
        self.record_as(
            id,
            "finding",
            Some(by),
            observed,
            &[
                ("encounter_id", &visit.id),
                ("performer_id", &by),
                ("parent_id", &finding.parent),
                ("derived_from_id", &finding.derived_from),
                ("questionnaire_response_id", &finding.answers),
                ("document_id", &finding.document),
                ("category", &finding.category),
                ("screening_category", &finding.screening),
                ("loinc", &finding.loinc),
                ("snomed", &finding.snomed),
                ("text", &finding.text),
                ("status", &finding.status.unwrap_or("final")),
                ("observed_at", &starts),
                ("observed_until", &until),
                ("is_period", &finding.period.is_some()),
                ("value_num", &finding.number),
                ("ucum", &finding.unit),
                ("value_system", &finding.coded.map(|(system, _)| system)),
                ("value_code", &finding.coded.map(|(_, (code, _))| code)),
                ("value_text", &finding.coded.map(|(_, (_, text))| text).or(finding.value_text)),
                ("value_bool", &finding.value_bool),
                ("industry_system", &industry.then_some(OCCUPATIONS)),
                ("industry_code", &industry.then_some(INDUSTRY.0)),
                ("industry_text", &industry.then_some(INDUSTRY.1)),
                ("mean_systolic", &finding.mean.map(|(systolic, _)| Decimal(systolic, 1))),
                ("mean_diastolic", &finding.mean.map(|(_, diastolic)| Decimal(diastolic, 1))),
                ("absent_reason", &finding.absent),
                ("interpretation", &finding.interpretation),
            ],
        );
    }
}

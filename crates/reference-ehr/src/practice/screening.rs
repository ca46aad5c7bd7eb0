//! Questionnaires: the answers as they were given, and the observations derived from them.

use uuid::Uuid;

use super::chart::Chart;
use super::codes::disorders::DEPRESSION;
use super::codes::surveys::{
    AT_RISK, HOW_OFTEN, HOW_TRUE, HUNGER, HUNGER_ITEMS, HUNGER_RISK, NO_RISK, PHQ, PHQ2, PHQ2_SCORE, PHQ9,
    PHQ9_SCORE,
};
use super::codes::{LOINC, Term};
use super::findings::Finding;
use super::visit::{Kind, Visit};
use crate::generate::json::Decimal;
use crate::generate::moment::{MINUTE, Moment};

/// An answer.
#[derive(Default)]
struct Answer {
    coded: Option<(&'static str, Term)>,
    text: Option<&'static str>,
    number: Option<Decimal>,
    yes: Option<bool>,
}

impl Chart<'_> {
    /// The questionnaires of a visit.
    pub(super) fn screening(&mut self, visit: &Visit) {
        let years = visit.months / 12;
        let is_full = matches!(visit.kind, Kind::First | Kind::Physical);
        if self.person.has(DEPRESSION) && years >= 12 && (is_full || self.happens(20)) {
            self.depression(&PHQ, PHQ9, PHQ9_SCORE, visit);
        } else if is_full && years >= 12 && self.happens(30) {
            self.depression(&PHQ[..2], PHQ2, PHQ2_SCORE, visit);
        }
        if is_full && self.happens(20) {
            self.hunger(visit);
        }
        if visit.kind == Kind::First && self.turn("intake", 3) {
            self.intake(visit);
        }
    }

    /// A panel of scored items, their total, and what it says about the mood.
    fn depression(&mut self, items: &[Term], (panel, title): Term, (score, score_text): Term, visit: &Visit) {
        let high = if items.len() > 2 { 3 } else { 1 };
        let places: Vec<usize> = items.iter().map(|_| self.rng.index(high + 1)).collect();
        let total: usize = places.iter().sum();
        let answers = self.response(&format!("http://loinc.org/q/{panel}"), title, true, visit);
        for ((link, text), place) in items.iter().zip(&places) {
            self.answer(answers, None, &format!("/{link}"), text, Answer::coded(HOW_OFTEN[*place]));
        }
        let total = Decimal(i64::try_from(total).unwrap_or(0), 0);
        let sum = Answer { number: Some(total), ..Answer::default() };
        self.answer(answers, None, &format!("/{score}"), score_text, sum);

        let survey = Finding { category: "survey", answers: Some(answers), ..Finding::default() };
        let of_panel = Finding { loinc: Some(panel), text: title, ..survey.clone() };
        let parent = self.finding(visit, &of_panel);
        for ((loinc, text), place) in items.iter().zip(&places) {
            let coded = Some((LOINC, HOW_OFTEN[*place]));
            let item = Finding { loinc: Some(loinc), text, coded, parent: Some(parent), ..survey.clone() };
            self.finding(visit, &item);
        }
        let unit = Some("{score}");
        let sum = Finding { loinc: Some(score), text: score_text, number: Some(total), unit, ..survey };
        let sum = self.finding(visit, &Finding { parent: Some(parent), ..sum });
        if items.len() > 2 {
            let severity = if total.0 > 14 { ("LA6751-7", "Moderate") } else { ("LA6752-5", "Mild") };
            let conclusion = Finding {
                category: "social-history",
                screening: Some("disability-status"),
                loinc: Some("94023-9"),
                text: "Depression severity",
                coded: Some((LOINC, severity)),
                derived_from: Some(sum),
                ..Finding::default()
            };
            self.finding(visit, &conclusion);
        }
    }

    fn hunger(&mut self, visit: &Visit) {
        let is_poor = self.happens(25);
        let answers = self.response("http://loinc.org/q/88121-9", HUNGER.1, true, visit);
        let group = self.answer(answers, None, "/food", "Food", Answer::default());
        let given = if is_poor { HOW_TRUE[1 + self.rng.index(2)] } else { HOW_TRUE[0] };
        for (link, text) in HUNGER_ITEMS {
            self.answer(answers, Some(group), &format!("/{link}"), text, Answer::coded(given));
        }
        let survey = Finding {
            category: "survey",
            screening: Some("sdoh"),
            answers: Some(answers),
            ..Finding::default()
        };
        let panel = Finding { loinc: Some(HUNGER.0), text: HUNGER.1, ..survey.clone() };
        let parent = Some(self.finding(visit, &panel));
        let mut item = None;
        for (loinc, text) in HUNGER_ITEMS {
            let coded = Some((LOINC, given));
            let finding = Finding { loinc: Some(loinc), text, coded, parent, ..survey.clone() };
            item = Some(self.finding(visit, &finding));
        }
        let (loinc, text) = HUNGER_RISK;
        let coded = Some((LOINC, if is_poor { AT_RISK } else { NO_RISK }));
        let risk = Finding { loinc: Some(loinc), text, coded, parent, derived_from: item, ..survey };
        self.finding(visit, &risk);
        if is_poor {
            let concern = self.concern(0, visit);
            self.food_pantry(concern, visit);
        }
    }

    /// The practice's own form, filled in by the patient: answers of every kind, and questions that follow
    /// from answers.
    fn intake(&mut self, visit: &Visit) {
        let form = "https://practice.example.org/fhir/Questionnaire/intake|2.1";
        let answers = self.response(form, "Intake form", false, visit);
        let yes = self.happens(50);
        let sleep = Decimal(self.rng.between(50, 95), 1);
        let pain = self.answer(
            answers,
            None,
            "1",
            "Are you in pain today?",
            Answer { yes: Some(yes), ..Answer::default() },
        );
        if yes {
            let place =
                Answer { text: Some("Lower back, \"pulling\" into the left leg"), ..Answer::default() };
            self.answer(answers, Some(pain), "1.1", "Where?", place);
        }
        let hours = Answer { number: Some(sleep), ..Answer::default() };
        self.answer(answers, None, "2", "How many hours do you sleep?", hours);
        let words = Answer { text: Some("Señor médico:\nme duele la cabeza."), ..Answer::default() };
        self.answer(answers, None, "3", "In your own words", words);
    }

    fn response(&mut self, questionnaire: &str, title: &str, by_provider: bool, visit: &Visit) -> Uuid {
        let authored: Moment = visit.at.plus(self.rng.between(-10, 4) * MINUTE);
        let author = by_provider.then_some(visit.provider);
        let status = if self.turn("answers amended", 20) { "amended" } else { "completed" };
        self.record(
            "questionnaire_response",
            author,
            authored,
            &[
                ("encounter_id", &visit.id),
                ("author_id", &author),
                ("questionnaire", &questionnaire),
                ("title", &title),
                ("status", &status),
                ("authored_at", &authored),
            ],
        )
    }

    fn answer(
        &mut self,
        response: Uuid,
        parent: Option<Uuid>,
        link: &str,
        text: &str,
        answer: Answer,
    ) -> Uuid {
        self.rows.add(
            "questionnaire_item",
            &[
                ("questionnaire_response_id", &response),
                ("parent_id", &parent),
                ("link_id", &link),
                ("text", &text),
                ("value_system", &answer.coded.map(|(system, _)| system)),
                ("value_code", &answer.coded.map(|(_, (code, _))| code)),
                ("value_text", &answer.coded.map(|(_, (_, text))| text).or(answer.text)),
                ("value_num", &answer.number),
                ("value_bool", &answer.yes),
            ],
        )
    }
}

impl Answer {
    fn coded(term: Term) -> Self {
        Self { coded: Some((LOINC, term)), ..Self::default() }
    }
}

//! Questionnaires and what comes of them.

use super::Term;

/// A question: LOINC and wording.
pub(crate) type Question = Term;

/// The nine items of the Patient Health Questionnaire; the first two alone are the PHQ-2.
pub(crate) static PHQ: [Question; 9] = [
    ("44250-9", "Little interest or pleasure in doing things"),
    ("44255-8", "Feeling down, depressed, or hopeless"),
    ("44259-0", "Trouble falling or staying asleep, or sleeping too much"),
    ("44254-1", "Feeling tired or having little energy"),
    ("44251-7", "Poor appetite or overeating"),
    (
        "44258-2",
        "Feeling bad about yourself-or that you are a failure or have let yourself or your family down",
    ),
    ("44252-5", "Trouble concentrating on things, such as reading the newspaper or watching television"),
    (
        "44253-3",
        "Moving or speaking so slowly that other people could have noticed. Or the opposite-being so fidgety or \
         restless that you have been moving around a lot more than usual",
    ),
    ("44260-8", "Thoughts that you would be better off dead, or of hurting yourself in some way"),
];

/// How often; the place in the list is the score.
pub(crate) static HOW_OFTEN: [Term; 4] = [
    ("LA6568-5", "Not at all"),
    ("LA6569-3", "Several days"),
    ("LA6570-1", "More than half the days"),
    ("LA6571-9", "Nearly every day"),
];

pub(crate) const PHQ2: Term = ("55757-9", "Patient Health Questionnaire 2 item (PHQ-2)");
pub(crate) const PHQ2_SCORE: Term = ("55758-7", "Patient Health Questionnaire 2 item (PHQ-2) total score");
pub(crate) const PHQ9: Term = ("44249-1", "PHQ-9 quick depression assessment panel");
pub(crate) const PHQ9_SCORE: Term = ("44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score");

/// The Hunger Vital Sign: panel, its two questions, and the conclusion.
pub(crate) const HUNGER: Term = ("88121-9", "Hunger Vital Sign [HVS]");
pub(crate) static HUNGER_ITEMS: [Question; 2] = [
    (
        "88122-7",
        "Within the past 12 months, we worried whether our food would run out before we got money to buy more",
    ),
    (
        "88123-5",
        "Within the past 12 months, the food we bought just didn't last and we didn't have money to get more",
    ),
];
pub(crate) static HOW_TRUE: [Term; 3] =
    [("LA28398-8", "Never true"), ("LA6729-3", "Sometimes true"), ("LA28397-0", "Often true")];
pub(crate) const HUNGER_RISK: Term = ("88124-3", "Food insecurity risk");
pub(crate) const AT_RISK: Term = ("LA19952-3", "At risk");
pub(crate) const NO_RISK: Term = ("LA19983-8", "No risk");

pub(crate) const YES: Term = ("LA33-6", "Yes");
pub(crate) const NO: Term = ("LA32-8", "No");

/// Single statements about a patient: LOINC and text, category, and whether it is a score (else yes or no).
pub(crate) static ASSESSMENTS: [(Term, &str, bool); 5] = [
    (
        (
            "93030-5",
            "Has lack of transportation kept you from medical appointments, meetings, work, or from getting things needed for daily living",
        ),
        "sdoh",
        false,
    ),
    (("69859-7", "Do you have serious difficulty walking or climbing stairs"), "disability-status", false),
    (("69856-3", "Are you deaf, or do you have serious difficulty hearing"), "disability-status", false),
    (("96761-2", "Total score Barthel Index"), "functional-status", true),
    (("72172-0", "Total score MoCA"), "cognitive-status", true),
];

/// Where somebody lives, in their own words.
pub(crate) const ADDRESS: Term = ("56799-0", "Address");

pub(crate) const DRINKS: Term = ("74013-4", "Alcoholic drinks per drinking day");

/// Vital signs: LOINC.
pub(crate) static VITAL_SIGNS: [Term; 8] = [
    ("85354-9", "Blood pressure panel with all children optional"),
    ("8867-4", "Heart rate"),
    ("9279-1", "Respiratory rate"),
    ("8310-5", "Body temperature"),
    ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
    ("8302-2", "Body height"),
    ("29463-7", "Body weight"),
    ("39156-5", "Body mass index (BMI) [Ratio]"),
];

pub(crate) const HEAD: Term = ("9843-4", "Head Occipital-frontal circumference");

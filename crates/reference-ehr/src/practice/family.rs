//! Relatives and insurance.

use chrono::NaiveDate;
use uuid::Uuid;

use super::calendar::{at, plus_days};
use super::chart::Chart;
use super::codes::people::{COMMERCIAL, MEDICAID, MEDICARE};
use super::directory::Address;
use super::identifiers::phone;
use super::identity::Name;
use crate::generate::names::{FEMALE, MALE};

impl Chart<'_> {
    /// A parent of a child, else a spouse or another relative. Returns their id.
    pub(super) fn relative(&mut self, name: &Name) -> Option<Uuid> {
        let age = self.person.age(self.person.last_day);
        if age >= 18 && !self.happens(35) {
            return None;
        }
        let female = self.happens(60);
        let (code, text) = match (age < 18, female) {
            (true, true) => ("MTH", "mother"),
            (true, false) => ("FTH", "father"),
            (false, _) if age > 70 && self.happens(60) => ("CHILD", "child"),
            (false, _) => ("SPS", "spouse"),
        };
        let years = match code {
            "CHILD" => -28,
            "SPS" => self.rng.between(-5, 5),
            _ => 30,
        };
        let born = plus_days(self.person.born, -years * 365 - self.rng.between(0, 300));
        let first = self.rng.word(if female { &FEMALE } else { &MALE });
        let has_name = !self.turn("relative without a name", 20);
        let address = Address::new(&mut self.rng);
        let number = phone(&mut self.rng);
        let email = self.happens(40).then(|| format!("family{}@example.org", self.person.number + 1));
        let is_active = !self.turn("relative inactive", 40);
        let registered = at(self.person.first_day, 9 * 60 + 5);
        Some(self.record(
            "related_person",
            None,
            registered,
            &[
                ("relationship_code", &code),
                ("relationship_text", &text),
                ("last_name", &has_name.then_some(name.last)),
                ("first_name", &has_name.then_some(first)),
                ("gender", &(if female { "female" } else { "male" })),
                ("birth_date", &born),
                ("phone", &number),
                ("email", &email),
                ("line1", &address.line1),
                ("line2", &address.line2),
                ("city", &address.city),
                ("state", &address.state),
                ("zip", &address.zip),
                ("active", &is_active),
            ],
        ))
    }

    /// The insurance of the patient, and at times one that ended.
    pub(super) fn insurance(&mut self) {
        let age = self.person.age(self.person.last_day);
        let member = format!("{}{}", self.rng.word(&["A", "W", "XQ"]), self.rng.digits(9));
        let first_day = self.person.first_day;
        let (payer, kind) = match age {
            65.. => (0, MEDICARE),
            ..18 if self.happens(35) => (1, MEDICAID),
            _ if self.happens(12) => (1, MEDICAID),
            _ => (2 + self.rng.index(2), COMMERCIAL),
        };
        if self.happens(20) {
            let until = plus_days(first_day, self.rng.between(200, 700));
            let old = format!("OLD{}", self.rng.digits(7));
            self.coverage(3, COMMERCIAL, &old, Some(first_day), Some(until), "cancelled");
        }
        let status = if self.turn("coverage in error", 90) { "entered-in-error" } else { "active" };
        self.coverage(payer, kind, &member, Some(first_day), None, status);
    }

    fn coverage(
        &mut self,
        payer: usize,
        (code, text): (&'static str, &'static str),
        member: &str,
        starts: Option<NaiveDate>,
        ends: Option<NaiveDate>,
        status: &'static str,
    ) {
        let age = self.person.age(self.person.last_day);
        let is_commercial = code == COMMERCIAL.0;
        let relationship = match is_commercial {
            true if age < 18 => "child",
            true if self.happens(15) => "spouse",
            _ => "self",
        };
        let payer = self.directory.payers[payer];
        let group = is_commercial.then(|| format!("G{}", self.rng.digits(5)));
        let subscriber = format!("S{}", &member[1..]);
        let no_card = self.turn("coverage without a card", 15);
        let entered = at(self.person.first_day, 9 * 60 + 10);
        self.record(
            "coverage",
            None,
            entered,
            &[
                ("payer_id", &payer),
                ("status", &status),
                ("type_code", &code),
                ("type_text", &text),
                ("member_id", &(!no_card).then_some(member)),
                ("subscriber_id", &subscriber),
                ("relationship", &relationship),
                ("group_name", &group.as_ref().map(|number| format!("Employees of {number} & Sons"))),
                ("group_number", &group),
                ("plan_number", &(if is_commercial { "gold" } else { "standard" })),
                ("plan_name", &(if is_commercial { "Gold PPO" } else { text })),
                ("starts", &starts),
                ("ends", &ends),
            ],
        );
    }
}

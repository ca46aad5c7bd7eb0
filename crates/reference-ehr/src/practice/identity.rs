//! Who a patient is: names, identifiers, telephone numbers, addresses, how they describe themselves.

use chrono::NaiveDate;

use super::calendar::{at, plus_days};
use super::chart::Chart;
use super::codes::people::{
    CDC_RACE_AND_ETHNICITY, HISPANIC, IDENTIFIES_FEMALE, IDENTIFIES_MALE, IDENTIFIES_OTHERWISE, RACES, TRIBE,
    TRIBES,
};
use super::codes::{NULL_FLAVOR, SNOMED, Term};
use super::directory::Address;
use super::identifiers::phone;
use super::person::Archetype;
use crate::generate::moment::{LAST_DAY, Moment};
use crate::generate::names::{FAMILY, FEMALE, LANGUAGES, MALE};
use uuid::Uuid;

/// A name as it is in use.
pub(super) struct Name {
    pub last: &'static str,
    pub first: Option<&'static str>,
    pub middle: Option<&'static str>,
}

impl Chart<'_> {
    /// Registers the patient: the row, its children, the author, the log.
    pub(super) fn register(&mut self) -> Name {
        let registered = at(self.person.first_day, 9 * 60);
        let is_blank = self.person.archetype == Archetype::Blank;
        let name = self.name(is_blank);
        let changed = (!is_blank && self.turn("name changed", 12))
            .then(|| plus_days(self.person.first_day, self.rng.between(30, 400)))
            .filter(|day| *day < self.person.last_day && self.person.age(*day) > 18);
        self.patient(&name, changed, is_blank);
        if !is_blank {
            self.children(&name, changed);
        }
        let (id, pcp) = (self.person.id, self.person.pcp);
        self.author(id, &format!("Patient/{id}"), (!is_blank).then_some(pcp), registered);
        let at = self.rows.stamp();
        self.rows.add(
            "audit_log",
            &[
                ("at", &at),
                ("action", &"insert"),
                ("table_name", &"patient"),
                ("record_id", &id),
                ("patient_id", &id),
                ("provider_id", &(!is_blank).then_some(pcp)),
            ],
        );
        name
    }

    fn name(&mut self, is_blank: bool) -> Name {
        let given = if self.person.female { &FEMALE } else { &MALE };
        Name {
            last: self.rng.word(&FAMILY),
            first: (!is_blank).then(|| self.rng.word(given)),
            middle: (!is_blank && self.happens(60)).then(|| self.rng.word(given)),
        }
    }

    fn patient(&mut self, name: &Name, changed: Option<NaiveDate>, is_blank: bool) {
        let known = |text: &'static str| (!is_blank).then_some(text);
        let (sex, birth_sex, sex_snomed) = match self.person.female {
            true => ("female", "F", "248152002"),
            false => ("male", "M", "248153007"),
        };
        let admin_sex = match is_blank {
            true => "unknown",
            false if self.turn("other sex", 90) => "other",
            false => sex,
        };
        let gender = self.gender_identity().filter(|_| !is_blank);
        let (race, ethnicity) = if is_blank { (None, None) } else { self.race_and_ethnicity() };
        let died = self.person.died.map(|day| at(day, self.rng.between(0, 600) + 60));
        let language = LANGUAGES[if self.happens(80) { 0 } else { self.rng.index(LANGUAGES.len()) }].0;
        let marital = if self.person.age(self.person.last_day) < 18 {
            "S"
        } else {
            self.rng.word(&["M", "S", "D", "W"])
        };
        let (id, practice) = (self.person.id, self.directory.practice);
        let suffix = (!self.person.female && self.turn("suffix", 7)).then_some("Jr.");
        let active = self.person.died.is_none() && !self.turn("inactive patient", 60);
        let pcp = (!is_blank).then_some(self.person.pcp);
        let mrn = format!("MRN{:08}", 10_000_000 + self.person.number * 7 + 3);
        self.rows.record(
            "patient",
            id,
            &[
                ("practice_id", &practice),
                ("mrn", &mrn),
                ("last_name", &name.last),
                ("first_name", &name.first),
                ("middle_name", &name.middle),
                ("suffix", &suffix),
                ("name_since", &changed),
                ("birth_date", &(!is_blank).then_some(self.person.born)),
                ("admin_sex", &admin_sex),
                ("birth_sex", &known(birth_sex)),
                ("sex_snomed", &known(sex_snomed)),
                ("gender_identity_system", &gender.map(|(system, _)| system)),
                ("gender_identity_code", &gender.map(|(_, (code, _))| code)),
                ("gender_identity_text", &gender.map(|(_, (_, text))| text)),
                ("race_text", &race),
                ("ethnicity_text", &ethnicity),
                ("marital_code", &known(marital)),
                ("language", &known(language)),
                ("pcp_id", &pcp),
                ("deceased_at", &died),
                ("active", &active),
                ("merged_into_id", &None::<Uuid>),
                ("deleted", &false),
            ],
        );
    }

    fn gender_identity(&mut self) -> Option<(&'static str, Term)> {
        if self.turn("gender not told", 30) {
            return Some((NULL_FLAVOR, ("ASKU", "Asked but no answer")));
        }
        if self.turn("gender otherwise", 50) {
            return Some((SNOMED, IDENTIFIES_OTHERWISE));
        }
        let identity = if self.person.female { IDENTIFIES_FEMALE } else { IDENTIFIES_MALE };
        self.happens(70).then_some((SNOMED, identity))
    }

    /// Writes the codes, and returns what the patient says in words.
    fn race_and_ethnicity(&mut self) -> (Option<&'static str>, Option<&'static str>) {
        if self.turn("race not told", 40) {
            return (Some("Asked but no answer"), None);
        }
        let (race, detail) = self.race();
        self.code("race", CDC_RACE_AND_ETHNICITY, race);
        if let Some(detail) = detail.filter(|_| self.happens(60)) {
            self.code("race-detail", CDC_RACE_AND_ETHNICITY, detail);
        }
        let mut says = race.1;
        if self.turn("several races", 15) {
            let other = if race.0 == "2106-3" { RACES[4].0 } else { RACES[0].0 };
            self.code("race", CDC_RACE_AND_ETHNICITY, other);
            says = "Mixed";
        }
        if race.0 == "1002-5" || self.turn("tribe", 25) {
            self.code("tribe", TRIBES, TRIBE);
        }
        if self.happens(25) {
            self.code("ethnicity", CDC_RACE_AND_ETHNICITY, ("2135-2", "Hispanic or Latino"));
            let detail = *self.rng.pick(&HISPANIC);
            self.code("ethnicity-detail", CDC_RACE_AND_ETHNICITY, detail);
            return (Some(says), Some("Hispanic or Latino"));
        }
        self.code("ethnicity", CDC_RACE_AND_ETHNICITY, ("2186-5", "Not Hispanic or Latino"));
        (Some(says), Some("Not Hispanic or Latino"))
    }

    fn race(&mut self) -> (Term, Option<Term>) {
        let mut left = self.rng.between(1, 100);
        for (race, detail, share) in RACES {
            left -= share;
            if left <= 0 {
                return (race, detail);
            }
        }
        (RACES[0].0, RACES[0].1)
    }

    fn code(&mut self, kind: &'static str, system: &'static str, (code, display): Term) {
        let patient = self.person.id;
        self.rows.add(
            "patient_code",
            &[
                ("patient_id", &patient),
                ("kind", &kind),
                ("system", &system),
                ("code", &code),
                ("display", &display),
            ],
        );
    }

    fn children(&mut self, name: &Name, changed: Option<NaiveDate>) {
        let (born, first_day) = (self.person.born, self.person.first_day);
        if changed.is_some() {
            let last = self.rng.word(&FAMILY);
            let kind = if self.person.female { "maiden" } else { "old" };
            self.other_name(kind, Some(last), name.first, Some(born), changed);
        } else if self.turn("nickname", 15) {
            let nick = self.rng.word(if self.person.female { &FEMALE } else { &MALE });
            self.other_name("nickname", None, Some(nick), None, None);
        }
        if self.happens(35) {
            let ssn = format!("9{}-{}-{}", self.rng.digits(2), self.rng.digits(2), self.rng.digits(4));
            self.identifier("SS", "http://hl7.org/fhir/sid/us-ssn", &ssn, None);
        }
        if self.person.age(self.person.last_day) > 17 && self.happens(50) {
            let license = format!("S{}", self.rng.digits(8));
            self.identifier("DL", "urn:oid:2.16.840.1.113883.4.3.25", &license, Some(first_day));
        }
        self.telecoms();
        let moved = self.happens(20).then(|| plus_days(first_day, self.rng.between(100, 900)));
        let moved = moved.filter(|day| *day < self.person.last_day);
        if moved.is_some() {
            self.address("old", Some(born), moved);
        }
        self.address("home", moved, None);
        if self.turn("second address", 20) {
            self.address("billing", None, None);
        }
    }

    fn other_name(
        &mut self,
        kind: &'static str,
        last: Option<&'static str>,
        first: Option<&'static str>,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) {
        let patient = self.person.id;
        self.rows.add(
            "patient_name",
            &[
                ("patient_id", &patient),
                ("use", &kind),
                ("last_name", &last),
                ("first_name", &first),
                ("valid_from", &from),
                ("valid_to", &to),
            ],
        );
    }

    fn identifier(&mut self, kind: &'static str, system: &'static str, value: &str, from: Option<NaiveDate>) {
        let patient = self.person.id;
        self.rows.add(
            "patient_identifier",
            &[
                ("patient_id", &patient),
                ("type_code", &kind),
                ("system", &system),
                ("value", &value),
                ("valid_from", &from),
            ],
        );
    }

    fn telecoms(&mut self) {
        let patient = self.person.id;
        let mobile = phone(&mut self.rng);
        let mut found = vec![("phone", "mobile", mobile, None)];
        if self.happens(40) {
            found.push(("phone", "home", phone(&mut self.rng), None));
        }
        if self.happens(25) {
            found.push(("phone", "old", phone(&mut self.rng), Some(self.person.first_day)));
        }
        if self.happens(65) {
            found.push(("email", "home", format!("patient{}@example.org", self.person.number + 1), None));
        }
        for (kind, purpose, value, until) in found {
            self.rows.add(
                "patient_telecom",
                &[
                    ("patient_id", &patient),
                    ("kind", &kind),
                    ("use", &purpose),
                    ("value", &value),
                    ("valid_to", &until),
                ],
            );
        }
    }

    fn address(&mut self, purpose: &'static str, from: Option<NaiveDate>, to: Option<NaiveDate>) {
        let (patient, address) = (self.person.id, Address::new(&mut self.rng));
        self.rows.add(
            "patient_address",
            &[
                ("patient_id", &patient),
                ("use", &purpose),
                ("line1", &address.line1),
                ("line2", &address.line2),
                ("city", &address.city),
                ("state", &address.state),
                ("zip", &address.zip),
                ("valid_from", &from),
                ("valid_to", &to),
            ],
        );
    }

    /// A second registration of the same patient, found and merged: nobody sees it any more.
    pub(super) fn duplicate(&mut self, name: &Name) {
        let (id, practice, winner) = (self.rows.key(), self.directory.practice, self.person.id);
        let mrn = format!("MRN{:08}", 20_000_000 + self.person.number);
        let sex = if self.person.female { "female" } else { "male" };
        let unknown = None::<&str>;
        self.rows.record(
            "patient",
            id,
            &[
                ("practice_id", &practice),
                ("mrn", &mrn),
                ("last_name", &name.last),
                ("first_name", &name.first),
                ("middle_name", &unknown),
                ("suffix", &unknown),
                ("name_since", &None::<NaiveDate>),
                ("birth_date", &Some(self.person.born)),
                ("admin_sex", &sex),
                ("birth_sex", &unknown),
                ("sex_snomed", &unknown),
                ("gender_identity_system", &unknown),
                ("gender_identity_code", &unknown),
                ("gender_identity_text", &unknown),
                ("race_text", &unknown),
                ("ethnicity_text", &unknown),
                ("marital_code", &unknown),
                ("language", &unknown),
                ("pcp_id", &None::<Uuid>),
                ("deceased_at", &None::<Moment>),
                ("active", &true),
                ("merged_into_id", &Some(winner)),
                ("deleted", &true),
            ],
        );
        let stamp = self.rows.stamp();
        self.rows.insert(
            "deleted_record",
            &[
                ("resource_type", &"Patient"),
                ("fhir_id", &id),
                ("patient_fhir_id", &id),
                ("deleted_at", &stamp),
            ],
        );
    }

    /// Puts the patient into the groups that they belong to. Joining is an event of this database, so its
    /// time is the clock of the load.
    pub(super) fn join_groups(&mut self) {
        use super::codes::disorders::DIABETES;
        let age = self.person.age(super::calendar::day_of(LAST_DAY));
        let belongs =
            [self.person.has(DIABETES), age >= 65, age < 18, self.person.archetype != Archetype::Blank];
        let (patient, stamp) = (self.person.id, self.rows.stamp());
        for (group, _) in self.directory.groups.clone().into_iter().zip(belongs).filter(|(_, is)| *is) {
            let left = self.turn("left a group", 25).then(|| stamp.clone());
            self.rows.insert(
                "patient_group_member",
                &[
                    ("group_id", &group),
                    ("patient_id", &patient),
                    ("added_at", &stamp),
                    ("removed_at", &left),
                ],
            );
        }
    }
}

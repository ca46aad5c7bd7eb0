//! A patient: who they are and what they have, before anything is written.

use chrono::NaiveDate;
use uuid::Uuid;

use super::calendar::{day_of, months_between, plus_days};
use super::codes::disorders::{CHRONIC, DIABETES, HYPERTENSION, OBESITY};
use super::directory::Directory;
use super::growth::{GROWN_MONTHS, Median, median, spread};
use crate::generate::moment::{FIRST_DAY, LAST_DAY};
use crate::generate::rng::Rng;

/// The first patients of a practice are these, so that even a small one has every kind of chart; all others
/// are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archetype {
    Elder,
    Infant,
    Child,
    Teenager,
    Mother,
    Deceased,
    /// Registered, never seen, and next to nothing is known.
    Blank,
    Drawn,
}

impl Archetype {
    fn of(number: u64, rng: &mut Rng) -> Self {
        match number {
            0 => Archetype::Elder,
            1 => Archetype::Infant,
            2 => Archetype::Child,
            3 => Archetype::Teenager,
            4 => Archetype::Mother,
            5 => Archetype::Deceased,
            6 => Archetype::Blank,
            _ if rng.chance(2) => Archetype::Blank,
            _ => Archetype::Drawn,
        }
    }

    /// Age in months on the last day.
    fn age(self, rng: &mut Rng) -> i64 {
        match self {
            Archetype::Elder => rng.between(70 * 12, 80 * 12),
            Archetype::Infant => rng.between(18, 30),
            Archetype::Child => rng.between(60, 96),
            Archetype::Teenager => rng.between(14 * 12, 17 * 12),
            Archetype::Mother => rng.between(28 * 12, 36 * 12),
            Archetype::Deceased => rng.between(82 * 12, 94 * 12),
            Archetype::Blank | Archetype::Drawn => match rng.between(1, 100) {
                1..=7 => rng.between(1, 36),
                8..=16 => rng.between(37, 143),
                17..=24 => rng.between(144, 215),
                25..=48 => rng.between(216, 479),
                49..=78 => rng.between(480, 779),
                _ => rng.between(780, 1150),
            },
        }
    }
}

/// What all records of a patient follow from.
pub(super) struct Person {
    pub id: Uuid,
    /// From 0, in the order of registration.
    pub number: u64,
    pub archetype: Archetype,
    pub female: bool,
    pub born: NaiveDate,
    pub died: Option<NaiveDate>,
    /// Between these days the patient is seen.
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
    pub pcp: Uuid,
    pub facility: Uuid,
    /// Places in [`CHRONIC`].
    pub chronic: Vec<usize>,
    /// Place in the list of tobacco statuses.
    pub smoking: usize,
    /// How far from the median, in tenths of a standard deviation.
    height_z: i64,
    weight_z: i64,
    head_z: i64,
    /// Tenths of kg/m2, of adults.
    bmi: i64,
    /// Haemoglobin A1c in hundredths of a per cent.
    pub a1c: i64,
}

impl Person {
    pub(super) fn new(id: Uuid, number: u64, rng: &mut Rng, directory: &Directory) -> Self {
        let archetype = Archetype::of(number, rng);
        let (opened, today) = (day_of(FIRST_DAY), day_of(LAST_DAY));
        let age = archetype.age(rng);
        let born = plus_days(today, -(age * 3044 / 100) - rng.between(0, 27));
        let female = archetype == Archetype::Mother || rng.chance(52);
        let died = match archetype {
            Archetype::Deceased => true,
            Archetype::Drawn => age > 780 && rng.chance(age / 110),
            _ => false,
        };
        let died = died.then(|| plus_days(today, -rng.between(20, 700)));
        let last_day = died.map_or(today, |day| plus_days(day, -rng.between(3, 90)));
        // Children come from birth on; others may have moved here in any year.
        let earliest = born.max(opened);
        let first_day = match age < 100 {
            true => plus_days(earliest, 3),
            false => plus_days(earliest, rng.between(0, (last_day - earliest).num_days() * 6 / 10)),
        };
        let chronic = disorders(archetype, age / 12, rng);
        let is_diabetic = chronic.contains(&DIABETES);
        let mut bmi = rng.between(195, 275);
        if chronic.contains(&OBESITY) {
            bmi = rng.between(302, 410);
        } else if is_diabetic {
            bmi = rng.between(260, 298);
        }
        Self {
            id,
            number,
            archetype,
            female,
            born,
            died,
            first_day,
            last_day,
            pcp: directory.provider(rng),
            facility: *rng.pick(&directory.facilities),
            chronic,
            smoking: if age < 200 { 0 } else { [0, 0, 0, 1, 1, 2][rng.index(6)] },
            height_z: rng.between(-18, 18),
            weight_z: rng.between(-18, 18),
            head_z: rng.between(-15, 15),
            bmi,
            a1c: if is_diabetic { rng.between(640, 960) } else { rng.between(480, 560) },
        }
    }

    pub(super) fn has(&self, chronic: usize) -> bool {
        self.chronic.contains(&chronic)
    }

    pub(super) fn age_months(&self, day: NaiveDate) -> i64 {
        months_between(self.born, day).max(0)
    }

    pub(super) fn age(&self, day: NaiveDate) -> i64 {
        self.age_months(day) / 12
    }

    /// What the patient measures on a day, without the scatter of measuring.
    pub(super) fn body(&self, day: NaiveDate) -> Median {
        let months = self.age_months(day);
        let middle = median(self.female, months);
        let height_mm = spread(middle.height_mm, self.height_z, 40);
        let weight_dag = match months < GROWN_MONTHS {
            true => spread(middle.weight_dag, self.weight_z, 110),
            false => self.bmi * height_mm * height_mm / 100_000,
        };
        Median { height_mm, weight_dag, head_mm: spread(middle.head_mm, self.head_z, 30) }
    }
}

fn disorders(archetype: Archetype, age: i64, rng: &mut Rng) -> Vec<usize> {
    let mut has: Vec<usize> =
        (0..CHRONIC.len()).filter(|place| rng.chance(CHRONIC[*place].prevalence(age))).collect();
    if matches!(archetype, Archetype::Elder | Archetype::Deceased) {
        for place in [HYPERTENSION, DIABETES] {
            if !has.contains(&place) {
                has.push(place);
            }
        }
    }
    has
}

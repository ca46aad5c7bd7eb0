//! The practice's calendar: the wall clock of New York, office days and hours.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Weekday};

use crate::generate::moment::{HOUR, MINUTE, Moment};

/// The moment at which the practice's clock shows so many minutes after midnight.
///
/// Valid for hours at which people work: the clocks change at night, so the whole day counts as what it is
/// in the morning.
pub(super) fn at(day: NaiveDate, minute: i64) -> Moment {
    let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
    Moment(midnight + minute * MINUTE + if is_summer(day) { 4 * HOUR } else { 5 * HOUR })
}

/// The practice's date at a moment of a working day.
pub(super) fn day_of(moment: Moment) -> NaiveDate {
    DateTime::from_timestamp(moment.0 - 5 * HOUR, 0).unwrap_or_default().date_naive()
}

/// Daylight saving time: from the second Sunday of March to the first of November (15 U.S.C. 260a).
fn is_summer(day: NaiveDate) -> bool {
    let sunday =
        |month, number| NaiveDate::from_weekday_of_month_opt(day.year(), month, Weekday::Sun, number);
    sunday(3, 2).is_some_and(|begin| day >= begin) && sunday(11, 1).is_some_and(|end| day < end)
}

/// The same day, or the next on which the office is open: Monday to Friday, and not on New Year, Juneteenth,
/// Independence Day or Christmas.
pub(super) fn office_day(mut day: NaiveDate) -> NaiveDate {
    const CLOSED: [(u32, u32); 4] = [(1, 1), (6, 19), (7, 4), (12, 25)];
    while matches!(day.weekday(), Weekday::Sat | Weekday::Sun) || CLOSED.contains(&(day.month(), day.day())) {
        day = plus_days(day, 1);
    }
    day
}

/// So many days later, or earlier.
pub(super) fn plus_days(day: NaiveDate, days: i64) -> NaiveDate {
    let moved = match days < 0 {
        true => day.checked_sub_days(Days::new(days.unsigned_abs())),
        false => day.checked_add_days(Days::new(days.unsigned_abs())),
    };
    moved.unwrap_or(day)
}

/// So many months later; the last day of a shorter month.
pub(super) fn plus_months(day: NaiveDate, months: u32) -> NaiveDate {
    day.checked_add_months(Months::new(months)).unwrap_or(day)
}

/// Completed months of age.
pub(super) fn months_between(born: NaiveDate, day: NaiveDate) -> i64 {
    let months = i64::from(day.year() - born.year()) * 12 + i64::from(day.month()) - i64::from(born.month());
    if day.day() < born.day() { months - 1 } else { months }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn nine_in_the_morning_is_another_hour_of_utc_in_summer() {
        let utc = |day| (at(day, 9 * 60).0.rem_euclid(24 * HOUR)) / HOUR;
        assert_eq!(utc(date(2024, 3, 9)), 14);
        assert_eq!(utc(date(2024, 3, 10)), 13, "the clocks went forward in the night");
        assert_eq!(utc(date(2024, 11, 2)), 13);
        assert_eq!(utc(date(2024, 11, 3)), 14, "and back");
        assert_eq!(day_of(at(date(2024, 7, 1), 8 * 60)), date(2024, 7, 1));
    }

    #[test]
    fn the_office_is_closed_on_weekends_and_holidays() {
        assert_eq!(office_day(date(2022, 12, 31)), date(2023, 1, 2), "a Saturday before New Year");
        assert_eq!(office_day(date(2024, 7, 3)), date(2024, 7, 3));
    }

    #[test]
    fn age_is_counted_in_completed_months() {
        assert_eq!(months_between(date(2020, 1, 31), date(2020, 2, 29)), 0);
        assert_eq!(months_between(date(2020, 1, 31), date(2021, 1, 31)), 12);
    }
}

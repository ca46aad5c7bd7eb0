//! Dates and times as FHIR writes them, in UTC.
//!
//! PostgreSQL's calendar and FHIR's agree for the years 1 to 9999; other times, and infinity, have no form.

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days from 0000-03-01, where the arithmetic below begins, to 2000-01-01.
const EPOCH: i64 = 730_425;

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// The date so many days after 2000-01-01; none outside the years 1 to 9999.
pub(super) fn date(days: i32) -> Option<Date> {
    civil(i64::from(days))
}

/// Years begin in March here, so that the leap day is the last of its year.
fn civil(days: i64) -> Option<Date> {
    let day = days + EPOCH;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (1..=9999).contains(&year).then_some(())?;
    Some(Date {
        year: u16::try_from(year).ok()?,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(of_year - (153 * shifted + 2) / 5 + 1).ok()?,
    })
}

/// Date and microseconds of the day; none outside the years 1 to 9999.
pub(super) fn moment(micros: i64) -> Option<(Date, u64)> {
    let date = civil(micros.div_euclid(MICROS_PER_DAY))?;
    Some((date, micros.rem_euclid(MICROS_PER_DAY).unsigned_abs()))
}

fn two(value: u64) -> [u8; 2] {
    let digit = |v: u64| b'0' + u8::try_from(v % 10).unwrap_or_default();
    [digit(value / 10), digit(value)]
}

/// `2026-03-08`
pub(super) fn write_date(date: Date, out: &mut Vec<u8>) {
    let year = u64::from(date.year);
    let ([a, b], [c, d]) = (two(year / 100), two(year % 100));
    let ([e, f], [g, h]) = (two(date.month.into()), two(date.day.into()));
    out.extend_from_slice(&[a, b, c, d, b'-', e, f, b'-', g, h]);
}

/// `2026-03-08T14:05:09Z`, or with milliseconds; what is finer is cut.
pub(super) fn write_moment((date, micros): (Date, u64), with_millis: bool, out: &mut Vec<u8>) {
    write_date(date, out);
    let seconds = micros / 1_000_000;
    let ([a, b], [c, d], [e, f]) = (two(seconds / 3600), two(seconds / 60 % 60), two(seconds % 60));
    out.extend_from_slice(&[b'T', a, b, b':', c, d, b':', e, f]);
    if with_millis {
        let millis = micros / 1000 % 1000;
        let [_, g] = two(millis / 100);
        let [h, i] = two(millis % 100);
        out.extend_from_slice(&[b'.', g, h, i]);
    }
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike as _, Duration, NaiveDate};

    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_that_of_the_calendar() {
        let start = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap();
        let first = (NaiveDate::from_ymd_opt(1, 1, 1).unwrap() - start).num_days();
        let last = (NaiveDate::from_ymd_opt(9999, 12, 31).unwrap() - start).num_days();
        for days in (first..=last).step_by(17).chain([first, last, -1, 0, 59, 60]) {
            let expected = start + Duration::days(days);
            let found = date(i32::try_from(days).unwrap()).unwrap();
            let found = (i32::from(found.year), u32::from(found.month), u32::from(found.day));
            assert_eq!(found, (expected.year(), expected.month(), expected.day()), "{days}");
        }
        assert_eq!(date(i32::try_from(first - 1).unwrap()), None);
        assert_eq!(date(i32::try_from(last + 1).unwrap()), None);
        assert_eq!(date(i32::MAX), None);
        assert_eq!(moment(i64::MAX), None);
        assert_eq!(moment(i64::MIN), None);
    }

    #[test]
    fn a_moment_is_cut_not_rounded() {
        for text in
            ["2026-03-08T14:05:09.999999Z", "1969-12-31T23:59:59.999999Z", "2000-01-01T00:00:00.000001Z"]
        {
            let time: DateTime<chrono::Utc> = text.parse().unwrap();
            let micros = time.timestamp_micros() - 946_684_800_000_000;
            let mut out = Vec::new();
            write_moment(moment(micros).unwrap(), true, &mut out);
            out.push(b' ');
            write_moment(moment(micros).unwrap(), false, &mut out);
            let expected = format!("{}Z {}Z", &text[..23], &text[..19]);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

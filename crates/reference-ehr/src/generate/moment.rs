//! Points in time of the generated years, in the practice's wall clock and in UTC.

use chrono::{DateTime, Datelike, Timelike};

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
pub(crate) const YEAR: i64 = 365 * DAY + 6 * HOUR;

/// The practice's clock is five hours behind UTC all year.
const OFFSET: i64 = -5 * HOUR;

/// Seconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub i64);

/// The first day that a chart may begin, and the day on which all of them end. Fixed, because the same
/// seed must give the same bytes on every day.
pub(crate) const FIRST_DAY: Moment = Moment(1_483_272_000); // 2017-01-01T12:00:00Z
pub(crate) const LAST_DAY: Moment = Moment(1_751_284_800); // 2025-06-30T12:00:00Z

impl Moment {
    pub(crate) fn plus(self, seconds: i64) -> Self {
        Self(self.0 + seconds)
    }

    /// `2024-03-07T14:05:09.000Z`: a FHIR `instant`.
    pub(crate) fn write_instant(self, out: &mut Vec<u8>) {
        write_clock(self.0, out);
        out.extend_from_slice(b".000Z");
    }

    /// `2024-03-07T09:05:09-05:00`: a FHIR `dateTime` as the practice's clock showed it.
    pub(crate) fn write_local(self, out: &mut Vec<u8>) {
        write_clock(self.0 + OFFSET, out);
        out.extend_from_slice(b"-05:00");
    }

    /// `2024-03-07`: a FHIR `date`.
    pub(crate) fn write_date(self, out: &mut Vec<u8>) {
        let at = DateTime::from_timestamp(self.0 + OFFSET, 0).unwrap_or_default();
        write_digits(u32::try_from(at.year()).unwrap_or(0), 4, out);
        out.push(b'-');
        write_digits(at.month(), 2, out);
        out.push(b'-');
        write_digits(at.day(), 2, out);
    }
}

fn write_clock(seconds: i64, out: &mut Vec<u8>) {
    let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    Moment(seconds - OFFSET).write_date(out);
    out.push(b'T');
    write_digits(at.hour(), 2, out);
    out.push(b':');
    write_digits(at.minute(), 2, out);
    out.push(b':');
    write_digits(at.second(), 2, out);
}

fn write_digits(mut number: u32, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("one digit");
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_moment_is_written_as_fhir_spells_it() {
        let moment = Moment(1_709_787_909); // 2024-03-07T05:05:09Z
        assert_eq!(text(|out| moment.write_instant(out)), "2024-03-07T05:05:09.000Z");
        assert_eq!(text(|out| moment.write_local(out)), "2024-03-07T00:05:09-05:00");
        assert_eq!(text(|out| moment.plus(-DAY).write_date(out)), "2024-03-06");
        assert_eq!(text(|out| FIRST_DAY.write_instant(out)), "2017-01-01T12:00:00.000Z");
        assert_eq!(text(|out| LAST_DAY.write_instant(out)), "2025-06-30T12:00:00.000Z");
    }
}

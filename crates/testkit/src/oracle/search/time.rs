//! Dates as ranges of time, and how ranges are compared (FHIR R4, Search, sections "Prefixes" and "date").

use chrono::{DateTime, FixedOffset, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::Value;

/// How a date is compared. `ap` is left out: every server may define it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater than.
    Gt,
    /// Less than.
    Lt,
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
    /// Starts after.
    Sa,
    /// Ends before.
    Eb,
}

impl Prefix {
    /// All of them.
    pub const ALL: [Prefix; 8] =
        [Self::Eq, Self::Ne, Self::Gt, Self::Lt, Self::Ge, Self::Le, Self::Sa, Self::Eb];

    /// As it is written.
    #[must_use]
    pub fn letters(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Lt => "lt",
            Self::Ge => "ge",
            Self::Le => "le",
            Self::Sa => "sa",
            Self::Eb => "eb",
        }
    }

    /// Whether what a resource holds compares so with what is searched for.
    #[must_use]
    pub fn compares(self, held: &Range, searched: &Range) -> bool {
        // None is without end: before everything as a beginning, after everything as an end.
        let begins_before = held.from.is_none_or(|from| searched.from.is_some_and(|s| from < s));
        let ends_after = held.to.is_none_or(|to| searched.to.is_some_and(|s| to > s));
        let contained = !begins_before && !ends_after;
        match self {
            Self::Eq => contained,
            Self::Ne => !contained,
            Self::Gt => ends_after,
            Self::Lt => begins_before,
            Self::Ge => ends_after || contained,
            Self::Le => begins_before || contained,
            Self::Sa => held.from.zip(searched.to).is_some_and(|(from, to)| from >= to),
            Self::Eb => held.to.zip(searched.from).is_some_and(|(to, from)| to <= from),
        }
    }
}

/// From the beginning to the end, which is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Range {
    /// Its beginning, if it has one.
    #[must_use]
    pub fn begin(&self) -> Option<DateTime<Utc>> {
        self.from
    }

    /// The range that a text stands for by its precision. Without a zone it is UTC.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let numbers: Vec<u32> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let year = i32::try_from(*numbers.first()?).ok()?;
        let first = |month, day| NaiveDate::from_ymd_opt(year, month, day);
        let (begin, end) = match (numbers.as_slice(), time) {
            ([_], None) => (first(1, 1)?, first(1, 1)?.checked_add_months(Months::new(12))?),
            ([_, month], None) => (first(*month, 1)?, first(*month, 1)?.checked_add_months(Months::new(1))?),
            ([_, month, day], None) => (first(*month, *day)?, first(*month, *day)?.succ_opt()?),
            ([_, month, day], Some(time)) => return Self::of_time(first(*month, *day)?, time),
            _ => return None,
        };
        let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        Some(Self { from: Some(midnight(begin)), to: Some(midnight(end)) })
    }

    fn of_time(date: NaiveDate, text: &str) -> Option<Self> {
        let at = text.find(['Z', '+', '-', ' ']).unwrap_or(text.len());
        let (clock, zone) = text.split_at(at);
        let offset = match zone {
            "" | "Z" => FixedOffset::east_opt(0)?,
            zone => zone.replace(' ', "+").parse().ok()?,
        };
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut parts = clock.split(':').map(|part| part.parse::<u32>());
        let (hour, minute) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let second = parts.next();
        let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
        let unit = match (second.is_some(), u32::try_from(fraction.len()).ok()?) {
            (false, _) => TimeDelta::minutes(1),
            (true, digits) => TimeDelta::nanoseconds(10_i64.pow(9 - digits)),
        };
        let time = NaiveTime::from_hms_nano_opt(hour, minute, second.transpose().ok()?.unwrap_or(0), nanos)?;
        let from = date.and_time(time).and_local_timezone(offset).single()?.to_utc();
        Some(Self { from: Some(from), to: Some(from + unit) })
    }

    /// The range of a `date`, `dateTime`, `instant`, `Period` or `Timing`.
    #[must_use]
    pub fn of_element(element: &Value) -> Option<Self> {
        if let Some(text) = element.as_str() {
            return Self::of_text(text);
        }
        let timing: Vec<&Value> = [&element["event"], &element["repeat"]["boundsPeriod"]]
            .into_iter()
            .flat_map(|part| part.as_array().map_or_else(|| vec![part], |events| events.iter().collect()))
            .filter(|part| !part.is_null())
            .collect();
        if !timing.is_empty() {
            // The outer limits of a schedule.
            let ranges: Vec<Self> = timing.into_iter().filter_map(Self::of_element).collect();
            let from = ranges.iter().map(|range| range.from).min()?;
            let to = ranges.iter().map(|range| range.to).max()?;
            let endless = ranges.iter().any(|range| range.to.is_none());
            return Some(Self { from, to: to.filter(|_| !endless) });
        }
        let bound = |name: &str| element[name].as_str().map(Self::of_text);
        let (start, end) = (bound("start"), bound("end"));
        if start.is_none() && end.is_none() {
            return None;
        }
        Some(Self { from: start.flatten().and_then(|s| s.from), to: end.flatten().and_then(|e| e.to) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matching(held: &Value, searched: &str) -> Vec<&'static str> {
        let (held, searched) = (Range::of_element(held).unwrap(), Range::of_text(searched).unwrap());
        Prefix::ALL.into_iter().filter(|p| p.compares(&held, &searched)).map(Prefix::letters).collect()
    }

    #[test]
    fn every_prefix_compares_as_the_specification_says() {
        for (held, searched, letters) in [
            (json!("2013-01-14"), "2013-01-14", vec!["eq", "ge", "le"]),
            (json!("2013-01-14T23:59:59.9Z"), "2013-01-14", vec!["eq", "ge", "le"]),
            (json!("2013-01-15T00:00:00Z"), "2013-01-14", vec!["ne", "gt", "ge", "sa"]),
            (json!("2013-01-13T23:59:59+00:00"), "2013-01-14", vec!["ne", "lt", "le", "eb"]),
            (json!("2013-01-15T00:30:00+01:00"), "2013-01-14", vec!["eq", "ge", "le"]),
            // The month holds the day: parts of it are before and after.
            (json!("2013-01"), "2013-01-14", vec!["ne", "gt", "lt", "ge", "le"]),
            (json!({"start": "2013-01-14"}), "2013-01-14", vec!["ne", "gt", "ge"]),
            (json!({"end": "2013-01-14"}), "2013-01-14", vec!["ne", "lt", "le"]),
            (
                json!({"start": "2013-01-14T08:00:00Z", "end": "2013-01-14"}),
                "2013-01",
                vec!["eq", "ge", "le"],
            ),
            (
                json!({"event": ["2013-01-01", "2013-02-01"]}),
                "2013-01-14",
                vec!["ne", "gt", "lt", "ge", "le"],
            ),
        ] {
            assert_eq!(matching(&held, searched), letters, "{held} {searched}");
        }
    }

    #[test]
    fn the_precision_of_a_text_is_its_range() {
        for (text, seconds) in [
            ("2012", 366 * 86_400),
            ("2012-02", 29 * 86_400),
            ("2012-02-29", 86_400),
            ("2012-02-29T10:00Z", 60),
            ("2012-02-29T10:00:00-05:00", 1),
        ] {
            let range = Range::of_text(text).unwrap();
            assert_eq!((range.to.unwrap() - range.from.unwrap()).num_seconds(), seconds, "{text}");
        }
        let tenth = Range::of_text("2012-02-29T10:00:00.1Z").unwrap();
        assert_eq!((tenth.to.unwrap() - tenth.from.unwrap()).num_milliseconds(), 100);
        assert_eq!(Range::of_text("2012-02-30"), None);
    }
}

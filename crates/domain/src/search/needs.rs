//! What a comparison of times needs of an element, for those who narrow down what is read: the moments at which
//! its range begins and ends, one by one. It says the same as the comparison of ranges, in a form that can be
//! asked of a column.

use chrono::{DateTime, Utc};

use super::Prefix;

/// One end of an element's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its first moment.
    Start,
    /// The first moment after it.
    Stop,
}

/// Something that must be true of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Of which end.
    pub end: End,
    /// Where it must lie.
    pub side: Side,
    /// Whether it is true of a Period that lacks this end.
    pub or_missing: bool,
}

/// On which side of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// At it or later.
    From(DateTime<Utc>),
    /// At it or earlier.
    UpTo(DateTime<Utc>),
}

/// What an element needs to be in that relation to the range `from .. to`: all needs of one of the lists. None
/// when it cannot be said so.
#[must_use]
pub fn needs(prefix: Prefix, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<Vec<Vec<Need>>> {
    let need = |end, side, or_missing| Need { end, side, or_missing };
    let starts_from = |time| need(End::Start, Side::From(time), false);
    let starts_before = |time| need(End::Start, Side::UpTo(time), true);
    let stops_by = |time| need(End::Stop, Side::UpTo(time), false);
    let stops_after = |time| need(End::Stop, Side::From(time), true);
    let within = vec![starts_from(from), stops_by(to)];
    Some(match prefix {
        Prefix::Ne => return None,
        Prefix::Eq => vec![within],
        Prefix::Lt => vec![vec![starts_before(from)]],
        Prefix::Le => vec![vec![starts_before(from)], within],
        Prefix::Gt => vec![vec![stops_after(to)]],
        Prefix::Ge => vec![vec![stops_after(to)], within],
        Prefix::Sa => vec![vec![starts_from(to)]],
        Prefix::Eb => vec![vec![stops_by(from)]],
    })
}

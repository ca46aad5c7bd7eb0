//! A condition under construction. Its values are bound when it is finished: a part that turns out not to be
//! needed must not leave a value behind that no placeholder names.

use chrono::{DateTime, NaiveDate, Utc};

use crate::statement::Statement;

/// Most values of a condition: a statement cannot have more than 65,535. More than that narrow nothing.
const MOST_VALUES: usize = 10_000;

/// What must be true of a row under the alias `r`.
pub(super) enum Wanted {
    Always,
    Never,
    If(Vec<Piece>),
}

/// A piece of a condition.
pub(super) enum Piece {
    Sql(String),
    Value(Value),
}

/// A value to be bound.
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Day(NaiveDate),
    Time(DateTime<Utc>),
}

impl Wanted {
    /// A condition with a value in it; with what is around it, it can stand beside AND and OR.
    pub(super) fn test(before: impl Into<String>, value: Value, after: &str) -> Self {
        let after = Piece::Sql(after.to_owned());
        Self::If(vec![Piece::Sql(before.into()), Piece::Value(value), after])
    }

    /// A condition without values, which can stand beside AND and OR.
    pub(super) fn sql(sql: String) -> Self {
        Self::If(vec![Piece::Sql(sql)])
    }

    pub(super) fn all(parts: impl IntoIterator<Item = Wanted>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Wanted::Always => {}
                Wanted::Never => return Wanted::Never,
                Wanted::If(pieces) => all.push(pieces),
            }
        }
        if all.is_empty() { Wanted::Always } else { Wanted::If(joined(all, " AND ")) }
    }

    pub(super) fn any(parts: impl IntoIterator<Item = Wanted>) -> Self {
        let mut any = Vec::new();
        for part in parts {
            match part {
                Wanted::Always => return Wanted::Always,
                Wanted::Never => {}
                Wanted::If(pieces) => any.push(pieces),
            }
        }
        if any.is_empty() { Wanted::Never } else { Wanted::If(joined(any, " OR ")) }
    }

    /// Appends ` AND …`, or nothing.
    pub(super) fn push_to(self, statement: &mut Statement) {
        let pieces = match self {
            Wanted::Always => return,
            Wanted::Never => vec![Piece::Sql("false".to_owned())],
            Wanted::If(pieces) => pieces,
        };
        if pieces.iter().filter(|piece| matches!(piece, Piece::Value(_))).count() > MOST_VALUES {
            return;
        }
        statement.push(" AND ");
        for piece in pieces {
            let sql = match piece {
                Piece::Sql(sql) => sql,
                Piece::Value(Value::Text(text)) => format!("{}::text", statement.bind(text)),
                Piece::Value(Value::Texts(texts)) => format!("{}::text[]", statement.bind(texts)),
                Piece::Value(Value::Day(day)) => format!("{}::date", statement.bind(day)),
                Piece::Value(Value::Time(time)) => format!("{}::timestamptz", statement.bind(time)),
            };
            statement.push(&sql);
        }
    }
}

/// In brackets.
fn joined(parts: Vec<Vec<Piece>>, word: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (i, part) in parts.into_iter().enumerate() {
        pieces.push(Piece::Sql(if i == 0 { "(" } else { word }.to_owned()));
        pieces.extend(part);
    }
    pieces.push(Piece::Sql(")".to_owned()));
    pieces
}

//! The columns of a relation, as far as templates can use them.

use serde::{Deserialize, Serialize};

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

/// The types that a placeholder can stand for, by PostgreSQL's names.
///
/// `real` and `double precision` are not among them, because they have no exact decimal text; nor is
/// `timestamp`, because it has no zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are PostgreSQL's own type names")]
pub enum ColumnType {
    Text,
    Uuid,
    Boolean,
    Smallint,
    Integer,
    Bigint,
    Numeric,
    Date,
    Timestamptz,
    Bytea,
    Json,
    Jsonb,
}

impl ColumnType {
    /// The type with this name, as `format_type` spells it without a modifier.
    ///
    /// # Errors
    /// What to do in the view instead, for a type that templates cannot use.
    pub fn from_name(name: &str) -> Result<Self, &'static str> {
        Ok(match name {
            "text" | "character varying" | "character" => Self::Text,
            "uuid" => Self::Uuid,
            "boolean" => Self::Boolean,
            "smallint" => Self::Smallint,
            "integer" => Self::Integer,
            "bigint" => Self::Bigint,
            "numeric" => Self::Numeric,
            "date" => Self::Date,
            "timestamp with time zone" => Self::Timestamptz,
            "bytea" => Self::Bytea,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "real" | "double precision" => {
                return Err("which has no exact decimal text; cast it in the view: column::numeric");
            }
            "timestamp without time zone" => {
                return Err("which has no zone; convert it in the view: column AT TIME ZONE '…'");
            }
            _ => return Err("which templates cannot use; cast it in the view: column::text"),
        })
    }

    /// The name as PostgreSQL spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Boolean => "boolean",
            Self::Smallint => "smallint",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Numeric => "numeric",
            Self::Date => "date",
            Self::Timestamptz => "timestamptz",
            Self::Bytea => "bytea",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
        }
    }

    pub(super) fn is_integer(self) -> bool {
        matches!(self, Self::Smallint | Self::Integer | Self::Bigint)
    }
}

/// Whether a name can be a column of a template, or the relation of a stream: `[a-z_][a-z0-9_]{0,62}`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let rest = |b: u8| first(b) || b.is_ascii_digit();
    text.len() <= 63 && text.bytes().next().is_some_and(first) && text.bytes().all(rest)
}

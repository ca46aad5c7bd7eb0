//! Places in a relation: what is stored in the control database to go on from.
//!
//! Keys travel as text, in the one form that a read transaction fixes (`TimeZone=UTC`, ISO dates), and are
//! cast back to the page key's own type when bound. They are compared by the database alone. Since an id of a
//! row is an id of somebody's record, none of these types shows one in its debug output.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of a row in its relation's order.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The page key as text; empty where the relation has no `page_key` column and `id` is the whole key.
    pub page_key: String,
    /// The resource's id.
    pub id: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A place from which reading goes on: everything before it has been read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// After this row of the relation.
    After(Key),
    /// After this row of this patient of a cohort.
    Within {
        /// The patient being read.
        patient_id: String,
        /// The last row read of it.
        key: Key,
    },
    /// After all rows of this patient of a cohort.
    Beyond {
        /// The last patient read, or found to have no rows.
        patient_id: String,
    },
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::After(_) => "After(..)",
            Self::Within { .. } => "Within(..)",
            Self::Beyond { .. } => "Beyond(..)",
        })
    }
}

/// What the server had seen when the horizon was taken. A connection that reads for the export must lead to a
/// server in the same role that has seen at least as much; else rows that the horizon vouches for could be
/// missing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Whether the server was a replica (`pg_is_in_recovery()`).
    pub replica: bool,
    /// The log position, as PostgreSQL writes it: `16/B374D848`.
    pub lsn: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_storage_and_shows_no_id() {
        let key = Key { page_key: "7".to_owned(), id: "abc".to_owned() };
        for cursor in [
            Cursor::After(key.clone()),
            Cursor::Within { patient_id: "pat-1".to_owned(), key: key.clone() },
            Cursor::Beyond { patient_id: "pat-1".to_owned() },
        ] {
            let stored = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&stored).unwrap(), cursor);
            let shown = format!("{cursor:?} {key:?}");
            assert!(!shown.contains("pat-1") && !shown.contains("abc"), "{shown}");
        }
    }
}

//! Names that become part of SQL text.
//!
//! Only the schema, which an operator configures, the relations, whose names are known beforehand or stand in
//! a mapping, and the columns of a mapping ever do. All must match `[a-z_][a-z0-9_]{0,62}`, and all are quoted all the same, because a keyword is a
//! legal name too.

use crate::SourceError;

/// Whether the name is one that Headgate writes into SQL text.
pub(crate) fn is_valid(name: &str) -> bool {
    headgate_domain::template::is_name(name)
}

/// The quoted name, or an error that says which kind of name (`what`) is refused.
pub(crate) fn quote(name: &str, what: &'static str) -> Result<String, SourceError> {
    if is_valid(name) { Ok(format!("\"{name}\"")) } else { Err(SourceError::Identifier { what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_quoted() {
        assert_eq!(quote("fhir_export", "schema").unwrap(), "\"fhir_export\"");
        assert_eq!(quote("_p1", "schema").unwrap(), "\"_p1\"");
        assert_eq!(quote("user", "schema").unwrap(), "\"user\"");
    }

    #[test]
    fn a_name_that_could_leave_its_quotes_is_refused() {
        let long = "a".repeat(64);
        for name in ["", "a\"; drop schema public; --", "A", "1a", "a b", "a.b", "ä", "a\0", &long] {
            assert!(quote(name, "schema").is_err(), "{name}");
        }
    }
}

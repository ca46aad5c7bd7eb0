//! Options that several nouns have.

use clap::Args;

/// How a deed is told from its repetition.
#[derive(Debug, Clone, Default, Args)]
pub struct Once {
    /// Names this deed, so that it is done once however often the command is run within 24 hours; random if not
    /// given.
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
}

/// The terms on which an object is changed.
#[derive(Debug, Clone, Default, Args)]
pub struct Change {
    #[command(flatten)]
    pub once: Once,
    /// Change the object only if it still has this revision.
    #[arg(long, value_name = "REVISION", value_parser = if_match)]
    pub if_match: Option<String>,
}

impl From<Once> for Change {
    fn from(once: Once) -> Self {
        Self { once, if_match: None }
    }
}

/// How much of a list is wanted.
#[derive(Debug, Clone, Args)]
pub struct Limit {
    /// Show this many at most; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

/// Accepts what the header Idempotency-Key may hold.
fn idempotency_key(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    if (1..=255).contains(&text.len()) && visible {
        return Ok(text.to_owned());
    }
    Err("write 1 to 255 visible ASCII characters".to_owned())
}

/// Reads a revision, with or without the quotes of an ETag, as the header If-Match wants it.
fn if_match(text: &str) -> Result<String, String> {
    let revision = text.trim_matches('"');
    if revision == "*" {
        return Ok("*".to_owned());
    }
    if !revision.is_empty() && revision.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(format!("\"{revision}\""));
    }
    Err("write a revision, which is a number, or * for any".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_becomes_an_entity_tag() {
        assert_eq!(if_match("7").unwrap(), "\"7\"");
        assert_eq!(if_match("\"7\"").unwrap(), "\"7\"");
        assert_eq!(if_match("*").unwrap(), "*");
        for wrong in ["", "\"\"", "seven", "7\r\nX: y"] {
            assert!(if_match(wrong).is_err(), "{wrong}");
        }
    }
}

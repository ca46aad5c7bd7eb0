//! The `Prefer` header (RFC 7240): a list of preferences, case-insensitive, in one header or several.

/// The preferences that a kick-off knows; others are ignored, as the RFC wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// `respond-async`
    pub respond_async: bool,
    /// `handling=lenient`
    pub lenient: bool,
    /// `separate-export-status`: polls are answered with 200, and the export's own status stands in the header
    /// `X-Export-Status` (Bulk Data IG, Headers).
    pub separate_export_status: bool,
}

impl Prefer {
    /// Parses the header's values, joined by commas.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let mut prefer = Self::default();
        for preference in header.split(',') {
            // A preference may have parameters after a semicolon; none of ours has.
            let text = preference.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            match (name.trim(), value.trim().trim_matches('"')) {
                ("respond-async", _) => prefer.respond_async = true,
                ("handling", "lenient") => prefer.lenient = true,
                ("separate-export-status", _) => prefer.separate_export_status = true,
                _ => {}
            }
        }
        prefer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_a_list() {
        for (text, respond_async, lenient) in [
            ("respond-async", true, false),
            ("Respond-Async, handling=lenient", true, true),
            ("handling = \"lenient\" ;q=1,respond-async", true, true),
            ("handling=strict", false, false),
            ("", false, false),
            ("respond-asynchronously", false, false),
        ] {
            let expected = Prefer { respond_async, lenient, separate_export_status: false };
            assert_eq!(Prefer::parse(text), expected, "{text}");
        }
        assert!(Prefer::parse("respond-async,Separate-Export-Status").separate_export_status);
    }
}

//! Splits the value of one `_typeFilter` into its queries.

/// Splits one `_typeFilter` value into queries.
///
/// Versions 1 and 2 of the guide join queries with commas, version 3 gives one query per parameter, where a comma
/// is the "or" of FHIR search. So only a comma that a resource type and `?` follow separates queries
/// (`Observation?code=1,2,Patient?active=true`), unless a backslash makes it part of a value.
#[must_use]
pub fn split(value: &str) -> Vec<&str> {
    let mut queries = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        if byte == b',' && !escaped && begins_query(&value[at + 1..]) {
            queries.push(value[start..at].trim());
            start = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    queries.push(value[start..].trim());
    queries
}

/// Whether the text begins as a query does: a name in letters with a capital first, and `?`.
fn begins_query(text: &str) -> bool {
    let text = text.trim_start();
    let name = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    name >= 2 && text.as_bytes()[0].is_ascii_uppercase() && text.as_bytes().get(name) == Some(&b'?')
}

//! The references in a finished resource: the values of its members `reference`, wherever they stand; and those of its
//! members `url` that lead to attachments of this server.

use headgate_domain::{ResourceType, ids};

const REFERENCE: &[u8] = b"\"reference\"";

const URL: &[u8] = b"\"url\"";

/// Type and id of each resource of these types that the line refers to, in the order of the line.
///
/// A quote inside of a JSON string is escaped, so `"reference"` followed by a colon is a member's name and nothing
/// else. Relative references, URLs below the practice's `base_url` and those with a version are read; contained
/// resources, identifiers and resources of other servers are none.
pub fn of<'l>(
    line: &'l [u8],
    base_url: &'l str,
    types: &'l [ResourceType],
) -> impl Iterator<Item = (ResourceType, String)> + 'l {
    members(line, REFERENCE).filter_map(move |value| {
        let (t, id) = target(&value, base_url)?;
        types.contains(&t).then(|| (t, id.to_owned()))
    })
}

/// The ids of attachments to which the line leads by a URL below `base`, such as `https://a.example/fhir/r4/Binary/`.
pub fn attachments<'l>(line: &'l [u8], base: &'l str) -> impl Iterator<Item = String> + 'l {
    members(line, URL).filter_map(move |value| {
        let id = value.strip_prefix(base)?;
        ids::is_fhir_id(id).then(|| id.to_owned())
    })
}

/// The texts that members of a name have; `name` is in its quotes.
fn members<'l>(line: &'l [u8], name: &'static [u8]) -> impl Iterator<Item = std::borrow::Cow<'l, str>> + 'l {
    memchr::memmem::find_iter(line, name).filter_map(move |at| {
        let value = line[at + name.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        string(value)
    })
}

/// The JSON string that begins here.
fn string(json: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let rest = json.strip_prefix(b"\"")?;
    let end = memchr::memchr2_iter(b'"', b'\\', rest).next()?;
    if rest[end] == b'"' {
        return std::str::from_utf8(&rest[..end]).ok().map(Into::into);
    }
    // With escapes: rare enough to be left to the parser.
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<String>();
    values.next()?.ok().map(Into::into)
}

/// `Type/id`, alone or behind the base URL, perhaps with a version behind it.
pub fn target<'r>(reference: &'r str, base_url: &str) -> Option<(ResourceType, &'r str)> {
    let relative = reference.strip_prefix(base_url).and_then(|rest| rest.strip_prefix('/'));
    let relative = relative.unwrap_or(reference);
    let unversioned = relative.split_once("/_history/").map_or(relative, |(before, _)| before);
    let (name, id) = unversioned.split_once('/')?;
    let resource_type = name.parse().ok()?;
    ids::is_fhir_id(id).then_some((resource_type, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        of(line.as_bytes(), "https://x.example/fhir", ResourceType::ALL)
            .map(|(t, id)| format!("{t}/{id}"))
            .collect()
    }

    #[test]
    fn every_way_to_write_a_reference_is_found() {
        let line = r#"{"a":{"reference":"Medication/1"},"b":[{ "reference" : "https://x.example/fhir/Organization/2" },
            {"reference":"Practitioner\/3/_history/4"},{"reference":"Location\u002f5"}]}"#;
        assert_eq!(found(line), ["Medication/1", "Organization/2", "Practitioner/3", "Location/5"]);
    }

    #[test]
    fn attachments_are_found_by_urls_of_this_server_alone() {
        let base = "https://a.example/fhir/r4/Binary/";
        let found = |line: &str| attachments(line.as_bytes(), base).collect::<Vec<_>>();
        let line = r#"{"extension":[{"url":"http://hl7.org/x"}],"content":[
            {"attachment":{"url":"https://a.example/fhir/r4/Binary/1"}},
            {"attachment":{"url" : "https:\/\/a.example\/fhir\/r4\/Binary\/b-2"}}]}"#;
        assert_eq!(found(line), ["1", "b-2"]);
        for line in [
            r#"{"url":"https://b.example/fhir/r4/Binary/1"}"#,
            r#"{"url":"https://a.example/fhir/r4/Binary/"}"#,
            r#"{"url":"https://a.example/fhir/r4/Binary/1/2"}"#,
            r#"{"url":"https://a.example/fhir/r4/Binary/1?x"}"#,
            r#"{"url":"https://a.example/fhir/r4/Patient/1"}"#,
            r#"{"reference":"https://a.example/fhir/r4/Binary/1"}"#,
            r#"{"div":"\"url\":\"https://a.example/fhir/r4/Binary/1\""}"#,
        ] {
            assert!(found(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_a_reference_is_none() {
        for line in [
            r##"{"a":{"reference":"#contained"}}"##,
            r#"{"a":{"reference":"urn:uuid:1"}}"#,
            r#"{"a":{"reference":"https://other.example/fhir/Medication/1"}}"#,
            r#"{"a":{"reference":"https://x.example/fhirMedication/1"}}"#,
            r#"{"a":{"reference":"Group/1"}}"#,
            r#"{"a":["reference","Medication/1"]}"#,
            r#"{"div":"\"reference\":\"Medication/1\""}"#,
            r#"{"a":{"reference":"Medication/a b"}}"#,
            r#"{"a":{"reference":7}}"#,
            r#"{"a":{"reference":"Medication/1"#,
        ] {
            assert!(found(line).is_empty(), "{line}");
        }
    }
}

//! Reduces a resource to some of its root elements, as bytes.
//!
//! Members keep their order and values are copied as they stand; only `meta` is written anew around its members.

use super::table;
use crate::ResourceType;
use crate::json_members::{NotAnObject, members};

/// The tag of a resource that lacks elements.
const SUBSETTED: &str = concat!(
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","#,
    r#""code":"SUBSETTED"}"#
);
const SUBSETTED_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
const SUBSETTED_CODE: &str = "SUBSETTED";

/// Without these a resource has no identity or could be misread.
const ALWAYS: &[&str] = &["resourceType", "id", "meta", "implicitRules", "modifierExtension"];

/// Reduces resources of one type.
#[derive(Debug, Clone)]
pub struct Projection {
    names: Vec<String>,
    /// Choices that stay whichever type they have.
    choices: Vec<&'static str>,
}

impl Projection {
    /// Keeps the listed elements, as far as the type has them, and those that always stay.
    pub(super) fn new(resource_type: ResourceType, listed: &[&str]) -> Self {
        let mut projection =
            Self { names: ALWAYS.iter().map(|name| (*name).to_owned()).collect(), choices: Vec::new() };
        for element in elements(resource_type) {
            let whole = element.is_mandatory || listed.iter().any(|name| element.is_named(name));
            match element.choice {
                Some(_) if whole => projection.choices.push(element.name),
                Some(_) => {
                    let typed = listed.iter().filter(|name| element.is_typed(name));
                    projection.names.extend(typed.map(|name| (*name).to_owned()));
                }
                None if whole => projection.names.push(element.name.to_owned()),
                None => {}
            }
        }
        projection
    }

    /// Appends the reduced resource (one line, no line feed) to `out`.
    ///
    /// # Errors
    /// [`NotAnObject`]; nothing is appended.
    pub fn write(&self, line: &[u8], out: &mut Vec<u8>) -> Result<(), NotAnObject> {
        let members = members(line)?;
        let mut kept: Vec<bool> = members.iter().map(|(name, _)| self.keeps(name)).collect();
        // A reference to a contained resource that is not there would be an error of the resource (`ref-1`).
        let refers = |raw: &str| raw.contains("\"#") || raw.contains("\"\\u0023");
        if members.iter().zip(&kept).any(|((_, raw), kept)| *kept && refers(raw)) {
            for ((name, _), kept) in members.iter().zip(&mut kept) {
                *kept |= name == "contained";
            }
        }
        let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
        // Where a resource without `meta` gets it: after this member, or else first.
        let before_meta = ["id", "resourceType"].into_iter().find(|name| has(name));
        let mut missing = !has("meta");
        let mut object = Object::begin(out);
        if missing && before_meta.is_none() {
            write_meta(None, object.member("meta"));
            missing = false;
        }
        for ((name, raw), _) in members.iter().zip(&kept).filter(|(_, kept)| **kept) {
            let out = object.member(name);
            if name == "meta" {
                write_meta(Some(raw), out)
            } else {
                out.extend_from_slice(raw.as_bytes())
            }
            if missing && before_meta == Some(name) {
                write_meta(None, object.member("meta"));
                missing = false;
            }
        }
        object.end();
        Ok(())
    }

    /// Whether a member stays; what `_name` says of a primitive goes with `name`.
    fn keeps(&self, member: &str) -> bool {
        let name = member.strip_prefix('_').unwrap_or(member);
        let of_choice = |choice: &&str| {
            name.strip_prefix(*choice).is_some_and(|t| t.starts_with(|c: char| c.is_ascii_uppercase()))
        };
        self.names.iter().any(|kept| kept == name) || self.choices.iter().any(of_choice)
    }
}

/// Writes a `meta` with the tag that the resource is not whole. What cannot be a `meta` is replaced.
fn write_meta(meta: Option<&str>, out: &mut Vec<u8>) {
    let members = meta.and_then(|meta| members(meta.as_bytes()).ok()).unwrap_or_default();
    let mut object = Object::begin(out);
    for (name, raw) in &members {
        let out = object.member(name);
        if name == "tag" { write_tags(raw, out) } else { out.extend_from_slice(raw.as_bytes()) }
    }
    if !members.iter().any(|(name, _)| name == "tag") {
        write_tags("[]", object.member("tag"));
    }
    object.end();
}

/// Writes the tags, and that the resource is not whole unless they say so already.
fn write_tags(tags: &str, out: &mut Vec<u8>) {
    let found: Vec<serde_json::Value> = serde_json::from_str(tags).unwrap_or_default();
    let is_there =
        |tag: &serde_json::Value| tag["system"] == SUBSETTED_SYSTEM && tag["code"] == SUBSETTED_CODE;
    if found.iter().any(is_there) {
        return out.extend_from_slice(tags.as_bytes());
    }
    out.push(b'[');
    if let (false, Some(tags)) = (found.is_empty(), tags.strip_prefix('[').and_then(|t| t.strip_suffix(']')))
    {
        out.extend_from_slice(tags.as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(SUBSETTED.as_bytes());
    out.push(b']');
}

/// An object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Writes a member's name; its value goes to what is returned.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        serde_json::to_writer(&mut *self.out, name).expect("a text can be written into memory");
        self.out.push(b':');
        self.out
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

/// Whether the type has a root element of the name: `name`, or of a choice `value`, `value[x]`, `valueQuantity`.
pub(super) fn has(resource_type: ResourceType, name: &str) -> bool {
    name == "resourceType" || elements(resource_type).any(|e| e.is_named(name) || e.is_typed(name))
}

/// A root element of a type.
struct Element {
    name: &'static str,
    is_mandatory: bool,
    /// The types of a choice, with commas between them.
    choice: Option<&'static str>,
}

fn elements(resource_type: ResourceType) -> impl Iterator<Item = Element> {
    let words = table::OF_EVERY_TYPE.split_whitespace();
    words.chain(table::elements(resource_type).split_whitespace()).map(|word| {
        let (word, is_mandatory) = word.strip_suffix('!').map_or((word, false), |word| (word, true));
        let (name, types) = word.split_once('[').map_or((word, None), |(name, types)| (name, Some(types)));
        Element { name, is_mandatory, choice: types.map(|types| types.trim_end_matches(']')) }
    })
}

impl Element {
    fn is_named(&self, name: &str) -> bool {
        match name.strip_suffix("[x]") {
            Some(name) => self.choice.is_some() && self.name == name,
            None => self.name == name,
        }
    }

    /// Whether the name is that of the choice with one of its types.
    fn is_typed(&self, name: &str) -> bool {
        let Some((choice, wanted)) = self.choice.zip(name.strip_prefix(self.name)) else { return false };
        wanted.starts_with(|c: char| c.is_ascii_uppercase())
            && choice.split(',').any(|t| t.eq_ignore_ascii_case(wanted) && t[1..] == wanted[1..])
    }
}

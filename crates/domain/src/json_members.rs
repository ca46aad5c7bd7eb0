//! The members of a JSON object as they stand there: names decoded, values as raw text.
//!
//! What looks at, or keeps, a few members of a resource needs no tree of the whole: the other members are only
//! checked and stepped over.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object")]
pub struct NotAnObject;

/// The members of a JSON object in their order. A repeated name comes as often as it stands there. Values have
/// no blanks around them.
///
/// # Errors
/// [`NotAnObject`] for anything but one well-formed object.
pub fn members(json: &[u8]) -> Result<Vec<(Cow<'_, str>, &str)>, NotAnObject> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let members = deserializer.deserialize_map(Members).map_err(|_| NotAnObject)?;
    deserializer.end().map_err(|_| NotAnObject)?;
    Ok(members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(32);
        while let Some(name) = map.next_key_seed(Name)? {
            members.push((name, map.next_value::<&RawValue>()?.get()));
        }
        Ok(members)
    }
}

/// A name, borrowed unless it has escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_with_decoded_names_and_raw_values() {
        let found =
            members(" { \"a\\u0062\" : [1, {\"x\":2}] ,\"b\":\"\\u0041\",\"b\":null } ".as_bytes()).unwrap();
        let found: Vec<_> = found.iter().map(|(name, raw)| (name.as_ref(), *raw)).collect();
        assert_eq!(found, [("ab", "[1, {\"x\":2}]"), ("b", "\"\\u0041\""), ("b", "null")]);
        assert_eq!(members(b"{}"), Ok(Vec::new()));
    }

    #[test]
    fn anything_but_one_object_is_an_error() {
        for text in [
            "",
            "1",
            "[]",
            "\"{}\"",
            "{",
            "{}{}",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "{\"\\ud800\":1}",
        ] {
            assert_eq!(members(text.as_bytes()), Err(NotAnObject), "{text}");
        }
        assert_eq!(members(b"{\"a\":\"\xff\"}"), Err(NotAnObject));
        assert_eq!(members(b"{\"\xff\":1}"), Err(NotAnObject));
    }
}

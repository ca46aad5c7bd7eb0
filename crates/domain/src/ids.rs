//! Typed identifiers. A swapped argument does not compile, and an id that could not have been issued
//! by Headgate is refused where it enters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {expected}")]
pub struct InvalidId {
    kind: &'static str,
    expected: &'static str,
}

/// The number of a practice (the tenant), as the EHR vendor counts them: `100491`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PracticeNumber(i64);

impl PracticeNumber {
    /// Wraps a number from the control database or a path.
    ///
    /// # Errors
    /// When the number is not positive.
    pub fn new(number: i64) -> Result<Self, InvalidId> {
        if number > 0 {
            Ok(Self(number))
        } else {
            Err(InvalidId { kind: "practice number", expected: "a positive integer" })
        }
    }

    /// The number itself, as the tables key it.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for PracticeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PracticeNumber {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let number = text
            .parse()
            .map_err(|_| InvalidId { kind: "practice number", expected: "a positive integer" })?;
        Self::new(number)
    }
}

/// The client id of an app: `fhir` and 50 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

impl ClientId {
    /// Makes a client id of 25 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 25]) -> Self {
        Self(format!("fhir{}", hex::encode(bytes)))
    }

    /// The client id as the wire has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClientId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.strip_prefix("fhir") {
            Some(digits) if digits.len() == 50 && is_lower_hex(digits) => Ok(Self(text.to_owned())),
            _ => Err(InvalidId { kind: "client id", expected: "`fhir` and 50 lower-case hex digits" }),
        }
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

/// The id of one export: 128 random bits as 32 lower-case hex digits. It appears in the status URL
/// and in object keys, so it carries no meaning and cannot be guessed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExportId(String);

impl ExportId {
    /// Makes an export id of 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The 32 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ExportId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() == 32 && is_lower_hex(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId { kind: "export id", expected: "32 lower-case hex digits" })
        }
    }
}

impl TryFrom<String> for ExportId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ExportId> for String {
    fn from(id: ExportId) -> Self {
        id.0
    }
}

/// Most characters of a FHIR id.
pub const FHIR_ID_LENGTH: usize = 64;

/// Whether a text is a FHIR logical id: `[A-Za-z0-9\-\.]{1,64}` (FHIR R4, Data Types, `id`).
/// Group ids and resource ids must be.
#[must_use]
pub fn is_fhir_id(text: &str) -> bool {
    (1..=FHIR_ID_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_fhir_and_fifty_hex_digits() {
        let id = ClientId::from_random([0xAB; 25]);
        assert_eq!(id.as_str().len(), 54);
        assert_eq!(id.as_str().parse::<ClientId>().as_ref(), Ok(&id));
        assert!("fhir000623719917a5c0008fa3b07182314edeb0cfc804639cfa5e".parse::<ClientId>().is_ok());
        for wrong in ["", "fhir", "FHIR", "fhir00", "fhirzz0623719917a5c0008fa3b07182314edeb0cfc804639cfa5e"]
        {
            assert!(wrong.parse::<ClientId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_export_id_is_thirty_two_hex_digits() {
        assert!("d60cbaa19d337fbfb8ba2677d4dc30a4".parse::<ExportId>().is_ok());
        assert!("D60cbaa19d337fbfb8ba2677d4dc30a4".parse::<ExportId>().is_err());
        assert!("../d60cbaa19d337fbfb8ba2677d4dc3".parse::<ExportId>().is_err());
    }

    #[test]
    fn a_group_id_of_digits_and_dots_is_a_fhir_id() {
        assert!(is_fhir_id("1.105681.22.0.1"));
        assert!(!is_fhir_id(""));
        assert!(!is_fhir_id("a/b"));
        assert!(!is_fhir_id(&"a".repeat(65)));
    }
}

//! Variables: what templates are filled with that is the same for every row of a practice.

use serde::{Deserialize, Serialize};

use crate::practice::UsCore;

/// The base URL that stands for a practice's own where there is no practice yet: while a mapping set is stored, or is
/// checked by its author.
pub const EXAMPLE_BASE_URL: &str = "https://example.org/fhir";

/// The values of `{{$us_core}}` and `{{$base_url}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// The version of US Core that the resources follow.
    pub us_core: UsCore,
    /// The practice's base URL, without a slash at its end; empty for templates that do not use it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_url: String,
}

impl Variables {
    /// The value of the variable with this name.
    pub(super) fn get(&self, name: &str) -> Result<&str, String> {
        match name {
            "us_core" => Ok(self.us_core.as_str()),
            "base_url" => Ok(&self.base_url),
            _ => Err(format!("there is no variable ${name}, only $us_core and $base_url")),
        }
    }

    /// Those that a document uses. A stream that does not name the base URL is the same whatever it is.
    #[must_use]
    pub(crate) fn used_by(&self, document: &str) -> Self {
        let base_url = if document.contains("$base_url") { self.base_url.clone() } else { String::new() };
        Self { us_core: self.us_core, base_url }
    }
}

/// Those of no practice in particular: with [`EXAMPLE_BASE_URL`].
impl From<UsCore> for Variables {
    fn from(us_core: UsCore) -> Self {
        Self { us_core, base_url: EXAMPLE_BASE_URL.to_owned() }
    }
}

//! What a stream of an export reads.

use std::fmt;
use std::str::FromStr;

use headgate_domain::ResourceType;
use headgate_domain::resource_type::UnknownResourceType;

/// The FHIR type of what stands in a relation of attachments.
const BINARY: &str = "Binary";

/// What the rows of a stream give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamType {
    /// Resources of a type.
    Resources(ResourceType),
    /// Contents of attachments: not resources that are exported, but what exported ones lead to by URL.
    Attachments,
}

impl StreamType {
    /// The text form in the control database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StreamType::Resources(t) => t.name(),
            StreamType::Attachments => BINARY,
        }
    }

    /// The type of its resources; none for attachments.
    #[must_use]
    pub fn resource_type(self) -> Option<ResourceType> {
        match self {
            StreamType::Resources(t) => Some(t),
            StreamType::Attachments => None,
        }
    }
}

impl fmt::Display for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StreamType {
    type Err = UnknownResourceType;

    fn from_str(name: &str) -> Result<Self, UnknownResourceType> {
        if name == BINARY { Ok(StreamType::Attachments) } else { name.parse().map(StreamType::Resources) }
    }
}

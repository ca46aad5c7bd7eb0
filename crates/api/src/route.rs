//! Which operation a path below a practice's base URL means. A pure function, so that the whole table can be
//! read, and tested, in one place.

use headgate_domain::ExportId;
use headgate_domain::request::Level;
use http::Method;
use percent_encoding::percent_decode_str;

use crate::config::{beside, introspection_path};
use crate::error::{ApiError, Surface};
use crate::extract::practice::splits;

/// An operation below a practice's base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `metadata`
    Metadata,
    /// `.well-known/smart-configuration`
    SmartConfiguration,
    /// The practice's own token endpoint.
    Token,
    /// Whether an access token is active: beside the token endpoint.
    Introspection,
    /// Giving an access token back: beside the token endpoint.
    Revocation,
    /// `Group`
    Groups,
    /// `Group/[id]`
    Group(String),
    /// `$export`, `Patient/$export`, `Group/[id]/$export`
    KickOff(Level),
    /// `fhir-services/$export-status`
    Statuses,
    /// `fhir-services/$export-status/[id]`; an id that cannot be one of ours is `None`.
    Status(Option<ExportId>),
    /// `fhir-services/files/[id]/[name]`
    File(Option<ExportId>, String),
    /// `Binary/[id]`
    Attachment(String),
}

impl Operation {
    /// The operation at `rest`, the raw path after the base URL, beginning with a slash. Without a path of the token
    /// endpoint there is none: another server issues the tokens.
    pub(crate) fn at(rest: &str, token_path: Option<&str>) -> Option<Self> {
        if let Some(operation) = token_path.and_then(|token_path| Self::of_tokens(rest, token_path)) {
            return Some(operation);
        }
        // Each segment is decoded on its own: `%24export` is `$export`, and `%2F` separates nothing.
        let segments: Vec<_> = rest
            .strip_prefix('/')?
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8())
            .collect::<Result<_, _>>()
            .ok()?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        Some(match segments.as_slice() {
            ["metadata"] => Operation::Metadata,
            [".well-known", "smart-configuration"] => Operation::SmartConfiguration,
            ["Group"] => Operation::Groups,
            ["Group", id] if !id.is_empty() => Operation::Group((*id).to_owned()),
            ["Binary", id] if !id.is_empty() => Operation::Attachment((*id).to_owned()),
            ["$export"] => Operation::KickOff(Level::System),
            ["Patient", "$export"] => Operation::KickOff(Level::Patient),
            ["Group", id, "$export"] => Operation::KickOff(Level::Group((*id).to_owned())),
            ["fhir-services", "$export-status"] => Operation::Statuses,
            ["fhir-services", "files", id, name] => Operation::File(id.parse().ok(), (*name).to_owned()),
            ["fhir-services", "$export-status", id] => Operation::Status(id.parse().ok()),
            _ => return None,
        })
    }

    /// The operation at the end of a path whose base URL is not known.
    pub(crate) fn at_end_of(path: &str, token_path: Option<&str>) -> Option<Self> {
        splits(path).find_map(|(_, rest)| Self::at(rest, token_path))
    }

    /// The operation at and beside the token endpoint, which stands below the shared URL as below each base URL.
    pub(crate) fn of_tokens(path: &str, token_path: &str) -> Option<Self> {
        if path == token_path {
            Some(Operation::Token)
        } else if path == introspection_path(token_path) {
            Some(Operation::Introspection)
        } else if path == beside(token_path, "revoke") {
            Some(Operation::Revocation)
        } else {
            None
        }
    }

    /// The operation's name in logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Operation::Metadata => "metadata",
            Operation::SmartConfiguration => "smart_configuration",
            Operation::Token => "token",
            Operation::Introspection => "introspection",
            Operation::Revocation => "revocation",
            Operation::Groups => "groups",
            Operation::Group(_) => "group",
            Operation::KickOff(_) => "kick_off",
            Operation::Statuses => "statuses",
            Operation::Status(_) => "status",
            Operation::File(..) => "file",
            Operation::Attachment(_) => "attachment",
        }
    }

    /// In which form its errors are told.
    pub(crate) fn surface(&self) -> Surface {
        match self {
            Operation::Token | Operation::Introspection | Operation::Revocation => Surface::OAuth,
            _ => Surface::Fhir,
        }
    }

    /// Refuses a method that the operation does not take.
    pub(crate) fn check_method(&self, method: &Method) -> Result<(), ApiError> {
        let allowed = match self {
            Operation::Metadata
            | Operation::SmartConfiguration
            | Operation::Groups
            | Operation::Group(_)
            | Operation::Statuses
            | Operation::File(..)
            | Operation::Attachment(_) => "GET, HEAD",
            Operation::Token | Operation::Introspection | Operation::Revocation => "POST",
            // HEAD has to be without effect, and neither a kick-off nor handing out links is.
            Operation::KickOff(_) => "GET, POST",
            Operation::Status(_) => "GET, DELETE",
        };
        check(method, allowed)
    }
}

/// Refuses a method that is not among the allowed.
pub(crate) fn check(method: &Method, allowed: &'static str) -> Result<(), ApiError> {
    if allowed.split(", ").any(|name| name == method.as_str()) {
        Ok(())
    } else {
        Err(ApiError::MethodNotAllowed(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rest: &str) -> Option<Operation> {
        Operation::at(rest, Some("/auth/token"))
    }

    #[test]
    fn where_another_server_issues_the_tokens_there_is_no_token_endpoint() {
        for rest in ["/auth/token", "/auth/token/introspect", "/auth/revoke"] {
            assert_eq!(Operation::at(rest, None), None, "{rest}");
        }
        assert_eq!(Operation::at("/metadata", None), Some(Operation::Metadata));
    }

    #[test]
    fn an_operation_is_known_without_its_base_url() {
        for (path, operation) in [
            ("/lakeside/fhir/r4/Patient/$export", Some(Operation::KickOff(Level::Patient))),
            ("/lakeside/fhir/r4/fhir-services/$export-status/unknown", Some(Operation::Status(None))),
            ("/lakeside/fhir/r4/auth/token", Some(Operation::Token)),
            ("/lakeside/fhir/r4/Patient", None),
            ("/metadata", Some(Operation::Metadata)),
        ] {
            assert_eq!(Operation::at_end_of(path, Some("/auth/token")), operation, "{path}");
        }
    }

    #[test]
    fn behind_more_segments_than_a_base_url_has_no_operation_is_looked_for() {
        let below = |segments| format!("{}/metadata", "/x".repeat(segments));
        assert_eq!(Operation::at_end_of(&below(7), None), Some(Operation::Metadata));
        for segments in [8, 30_000] {
            assert_eq!(Operation::at_end_of(&below(segments), None), None, "{segments}");
        }
    }

    #[test]
    fn every_operation_has_its_path() {
        let id: ExportId = "d60cbaa19d337fbfb8ba2677d4dc30a4".parse().unwrap();
        for (rest, operation) in [
            ("/metadata", Operation::Metadata),
            ("/.well-known/smart-configuration", Operation::SmartConfiguration),
            ("/auth/token", Operation::Token),
            ("/auth/token/introspect", Operation::Introspection),
            ("/auth/revoke", Operation::Revocation),
            ("/Group", Operation::Groups),
            ("/Group/1.105681.22.0.1", Operation::Group("1.105681.22.0.1".into())),
            ("/$export", Operation::KickOff(Level::System)),
            ("/%24export", Operation::KickOff(Level::System)),
            ("/Patient/$export", Operation::KickOff(Level::Patient)),
            ("/Group/1.105681.22.0.1/$export", Operation::KickOff(Level::Group("1.105681.22.0.1".into()))),
            (
                "/fhir-services/$export-status/d60cbaa19d337fbfb8ba2677d4dc30a4",
                Operation::Status(Some(id.clone())),
            ),
            ("/fhir-services/$export-status", Operation::Statuses),
            (
                "/fhir-services/files/d60cbaa19d337fbfb8ba2677d4dc30a4/r2-patient_1.ndjson",
                Operation::File(Some(id), "r2-patient_1.ndjson".into()),
            ),
            ("/fhir-services/files/unknown/x", Operation::File(None, "x".into())),
            ("/Binary/note-7", Operation::Attachment("note-7".into())),
            ("/fhir-services/%24export-status/unknown", Operation::Status(None)),
        ] {
            assert_eq!(at(rest), Some(operation), "{rest}");
        }
    }

    #[test]
    fn nothing_else_stands_below_a_base_url() {
        for rest in [
            "",
            "/",
            "/Metadata",
            "/metadata/",
            "//metadata",
            "/$export/",
            "/Patient",
            "/Patient/1",
            "/Group/",
            "/Binary",
            "/Binary/",
            "/Binary/1/2",
            "/Group//x/$export",
            "/%FF",
        ] {
            assert_eq!(at(rest), None, "{rest}");
        }
    }

    #[test]
    fn an_encoded_slash_stays_within_its_segment() {
        assert_eq!(at("/Group/a%2Fb/$export"), Some(Operation::KickOff(Level::Group("a/b".into()))));
        assert_eq!(at("/Patient%2F$export"), None);
    }

    #[test]
    fn a_kick_off_is_never_a_head_request() {
        let kick_off = Operation::KickOff(Level::System);
        assert!(kick_off.check_method(&Method::GET).is_ok());
        assert!(kick_off.check_method(&Method::POST).is_ok());
        for method in [Method::HEAD, Method::PUT, Method::DELETE] {
            assert!(matches!(kick_off.check_method(&method), Err(ApiError::MethodNotAllowed("GET, POST"))));
        }
    }
}

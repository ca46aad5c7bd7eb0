//! SMART `system/` scopes: parsing what a client asks for, and granting no more than app and consent allow
//! (SMART App Launch, Scopes for requesting clinical data; Backend Services, Evaluate access token request).
//!
//! Only reading is ever granted. A scope that cannot be parsed, names an unknown resource type or asks
//! for writing alone is *malformed* and refuses the request by name; a well-formed scope that consent
//! does not cover is *left out* of the grant.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::ResourceType;

/// What a scope is about: one type or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Subject {
    All,
    Type(ResourceType),
}

/// How reading was asked for; the grant answers in the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Suffix {
    /// SMART v1 `.read`.
    V1,
    /// SMART v2 `.rs`.
    V2,
    /// SMART v2 `.r`.
    V2ReadOnly,
}

/// One readable `system/` scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    subject: Subject,
    suffix: Suffix,
}

/// A requested scope: one that can be granted, or a well-formed one that never is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requested {
    Readable(Scope),
    /// Granular (`?category=…`) or search-only: nothing here could enforce it, so it is left out.
    LeftOut,
}

/// A scope that is not well-formed; the text is what the client sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope for reading in bulk: write system/Type.rs (or system/Type.read, system/*.rs)")]
pub struct MalformedScope(pub String);

/// Why a request for scopes gets no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No scope was asked for.
    #[error("the scope parameter is missing or empty: ask for system/Type.rs scopes")]
    Empty,
    /// A scope is malformed.
    #[error(transparent)]
    Malformed(#[from] MalformedScope),
    /// Every scope is well-formed, but none is covered.
    #[error("the practice's consent covers none of the requested scopes")]
    NothingCovered,
}

fn parse_requested(text: &str) -> Result<Requested, MalformedScope> {
    let malformed = || MalformedScope(text.chars().take(100).collect());
    let rest = text.strip_prefix("system/").ok_or_else(malformed)?;
    let (rest, granular) = match rest.split_once('?') {
        Some((rest, query)) if !query.is_empty() => (rest, true),
        Some(_) => return Err(malformed()),
        None => (rest, false),
    };
    let (subject, letters) = rest.split_once('.').ok_or_else(malformed)?;
    let subject = match subject {
        "*" => Subject::All,
        name => Subject::Type(name.parse().map_err(|_| malformed())?),
    };
    let suffix = match letters {
        "read" | "*" => Suffix::V1,
        "write" => return Err(malformed()),
        letters if !is_cruds(letters) => return Err(malformed()),
        letters => match (letters.contains('r'), letters.contains('s')) {
            (true, true) => Suffix::V2,
            (true, false) => Suffix::V2ReadOnly,
            (false, true) => return Ok(Requested::LeftOut),
            (false, false) => return Err(malformed()),
        },
    };
    Ok(if granular { Requested::LeftOut } else { Requested::Readable(Scope { subject, suffix }) })
}

/// Letters of `cruds`, each at most once and in that order, at least one.
fn is_cruds(letters: &str) -> bool {
    let mut rest = "cruds".chars();
    !letters.is_empty() && letters.chars().all(|l| rest.any(|r| r == l))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::All => "*",
            Subject::Type(t) => t.name(),
        };
        let suffix = match self.suffix {
            Suffix::V1 => "read",
            Suffix::V2 => "rs",
            Suffix::V2ReadOnly => "r",
        };
        write!(f, "system/{subject}.{suffix}")
    }
}

/// A set of readable scopes: what an app is registered for, what a practice consents to, or what a
/// token grants. Its text form is the OAuth one: scopes separated by single spaces, none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// Whether resources of the type may be read.
    #[must_use]
    pub fn permits(&self, t: ResourceType) -> bool {
        self.0.iter().any(|s| s.subject == Subject::All || s.subject == Subject::Type(t))
    }

    /// Whether every type may be read.
    #[must_use]
    pub fn permits_all(&self) -> bool {
        self.0.iter().any(|s| s.subject == Subject::All)
    }

    /// Whether nothing may be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What both sets permit. A wildcard that the other does not have becomes the list of the types it has.
    #[must_use]
    pub fn intersection(&self, other: &ScopeSet) -> ScopeSet {
        let mut shared: Vec<Scope> = Vec::new();
        for scope in &self.0 {
            let subjects: Vec<Subject> = match scope.subject {
                Subject::All if other.permits_all() => vec![Subject::All],
                Subject::All => ResourceType::ALL
                    .iter()
                    .filter(|t| other.permits(**t))
                    .map(|t| Subject::Type(*t))
                    .collect(),
                Subject::Type(t) => Some(Subject::Type(t)).filter(|_| other.permits(t)).into_iter().collect(),
            };
            for subject in subjects {
                let scope = Scope { subject, ..*scope };
                if !shared.contains(&scope) {
                    shared.push(scope);
                }
            }
        }
        ScopeSet(shared)
    }

    /// Whether everything this set permits is permitted by `wider` too.
    #[must_use]
    pub fn is_within(&self, wider: &ScopeSet) -> bool {
        self.0.iter().all(|s| match s.subject {
            Subject::All => wider.permits_all(),
            Subject::Type(t) => wider.permits(t),
        })
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{scope}")?;
        }
        Ok(())
    }
}

impl FromStr for ScopeSet {
    type Err = MalformedScope;

    /// Parses a registration's, a consent's or a token's scopes: only readable ones.
    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        let mut set = Vec::new();
        for word in text.split_ascii_whitespace() {
            match parse_requested(word)? {
                Requested::Readable(scope) if !set.contains(&scope) => set.push(scope),
                Requested::Readable(_) => {}
                Requested::LeftOut => return Err(MalformedScope(word.chars().take(100).collect())),
            }
        }
        Ok(Self(set))
    }
}

/// Grants what is asked for, as far as both the registration and the consent cover it.
/// A wildcard that is not wholly covered becomes the list of the covered types.
///
/// # Errors
/// [`GrantError`]; see the module's rules.
pub fn grant(requested: &str, app: &ScopeSet, consent: &ScopeSet) -> Result<ScopeSet, GrantError> {
    let mut words = requested.split_ascii_whitespace().peekable();
    if words.peek().is_none() {
        return Err(GrantError::Empty);
    }
    let mut granted: Vec<Scope> = Vec::new();
    let mut add = |scope: Scope| {
        if !granted.contains(&scope) {
            granted.push(scope);
        }
    };
    for word in words {
        let Requested::Readable(scope) = parse_requested(word)? else { continue };
        match scope.subject {
            Subject::Type(t) if app.permits(t) && consent.permits(t) => add(scope),
            Subject::Type(_) => {}
            Subject::All if app.permits_all() && consent.permits_all() => add(scope),
            Subject::All => ResourceType::ALL
                .iter()
                .filter(|t| app.permits(**t) && consent.permits(**t))
                .for_each(|t| add(Scope { subject: Subject::Type(*t), ..scope })),
        }
    }
    if granted.is_empty() { Err(GrantError::NothingCovered) } else { Ok(ScopeSet(granted)) }
}

/// The types that every one of the given sets permits, out of `candidates`.
#[must_use]
pub fn shared_types(candidates: &[ResourceType], sets: &[&ScopeSet]) -> BTreeSet<ResourceType> {
    candidates.iter().copied().filter(|t| sets.iter().all(|s| s.permits(*t))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> ScopeSet {
        text.parse().unwrap()
    }

    #[test]
    fn a_repeated_scope_is_folded() {
        let all = set("system/*.rs");
        let granted = grant("system/CarePlan.rs system/Goal.rs system/CarePlan.rs", &all, &all).unwrap();
        assert_eq!(granted.to_string(), "system/CarePlan.rs system/Goal.rs");
    }

    #[test]
    fn what_consent_does_not_cover_is_left_out() {
        let granted =
            grant("system/Patient.rs system/Observation.rs", &set("system/*.rs"), &set("system/Patient.rs"));
        assert_eq!(granted.unwrap().to_string(), "system/Patient.rs");
        let none = grant("system/Observation.rs", &set("system/*.rs"), &set("system/Patient.rs"));
        assert_eq!(none, Err(GrantError::NothingCovered));
    }

    #[test]
    fn a_wildcard_becomes_the_covered_types() {
        let app = set("system/Patient.rs system/Goal.rs");
        assert_eq!(
            grant("system/*.read", &app, &set("system/*.rs")).unwrap().to_string(),
            "system/Goal.read system/Patient.read"
        );
        assert_eq!(
            grant("system/*.rs", &set("system/*.rs"), &set("system/*.rs")).unwrap().to_string(),
            "system/*.rs"
        );
    }

    #[test]
    fn malformed_scopes_are_named() {
        let all = set("system/*.rs");
        for text in [
            "launch",
            "fhirUser",
            "system/UnknownResource.read",
            "system/UnknownResource.r",
            "system/Patient.unknownAction",
            "system/Patient.xyz",
            "system/Patient.write",
            "system/Patient.c",
            "system/Patient.ud",
            "system/Patient.dus",
            "system/Patient.sr",
            "system/Patient.",
            "system/Patient",
            "patient/Patient.rs",
            "system/.rs",
            "system/Patient.rr",
            "system/Patient.rs?",
            "user/*.rs",
        ] {
            let error = grant(&format!("system/Goal.rs {text}"), &all, &all).unwrap_err();
            assert_eq!(error, GrantError::Malformed(MalformedScope(text.to_owned())));
        }
        assert_eq!(grant("  ", &all, &all), Err(GrantError::Empty));
    }

    #[test]
    fn writing_is_never_granted() {
        let all = set("system/*.rs");
        assert_eq!(grant("system/*.*", &all, &all).unwrap().to_string(), "system/*.read");
        assert_eq!(grant("system/*.cruds", &all, &all).unwrap().to_string(), "system/*.rs");
        assert_eq!(grant("system/Patient.crud", &all, &all).unwrap().to_string(), "system/Patient.r");
    }

    #[test]
    fn granular_scopes_are_left_out_as_nothing_could_enforce_them() {
        let all = set("system/*.rs");
        let granted =
            grant("system/Observation.rs?category=laboratory system/Patient.rs", &all, &all).unwrap();
        assert_eq!(granted.to_string(), "system/Patient.rs");
    }

    #[test]
    fn an_intersection_permits_what_both_permit() {
        let both = |a: &str, b: &str| set(a).intersection(&set(b)).to_string();
        assert_eq!(both("system/*.rs", "system/*.read"), "system/*.rs");
        assert_eq!(
            both("system/*.rs", "system/Goal.rs system/Patient.rs"),
            "system/Goal.rs system/Patient.rs"
        );
        assert_eq!(
            both("system/Goal.rs system/Patient.rs", "system/*.rs"),
            "system/Goal.rs system/Patient.rs"
        );
        assert_eq!(both("system/Goal.rs", "system/Patient.rs"), "");
    }

    #[test]
    fn a_consent_is_within_the_registration_or_not() {
        assert!(set("system/Patient.rs").is_within(&set("system/*.rs")));
        assert!(!set("system/*.rs").is_within(&set("system/Patient.rs")));
    }
}

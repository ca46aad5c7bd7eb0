//! May this client run this export? The only way to an [`AuthorizedExport`].
//!
//! Authority is the least of what the token grants, what the practice consents to *now* and what the
//! source has: a token outlives a narrowed consent by minutes, so it never stands alone.

use std::collections::BTreeSet;

use crate::ResourceType;
use crate::consent::{Consent, GroupAccess};
use crate::request::{ExportRequest, Level};
use crate::scope::{self, ScopeSet};

/// An export that may run: what the store inserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedExport {
    /// The request, with what was ignored noted.
    pub request: ExportRequest,
    /// Exactly the types to export, never empty, except where lenient handling dropped every one.
    pub types: BTreeSet<ResourceType>,
    /// The consent it runs under.
    pub consent_id: uuid::Uuid,
}

/// Why an export may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// `_type` names types beyond token or consent: 403 `insufficient_scope`.
    #[error("the token or the practice's consent does not cover: {}", names(.0))]
    TypesBeyondScope(BTreeSet<ResourceType>),
    /// `_type` names types that the practice's source does not have: 400.
    #[error("this practice has no data of the types: {}", names(.0))]
    TypesNotInSource(BTreeSet<ResourceType>),
    /// Token, consent and source share no type: 403.
    #[error("token, consent and the practice's data have no resource type in common")]
    NothingShared,
    /// The consent is for some groups only, and the Patient or system level was asked for: 403.
    #[error("the practice consented to exports of certain groups only: use Group/[id]/$export")]
    GroupsOnly,
    /// The consent does not cover this group. Answered as if the group did not exist: 404.
    #[error("no such group")]
    GroupNotCovered,
}

/// Decides. `in_source` are the types the source has.
///
/// # Errors
/// [`Denied`].
pub fn authorize(
    mut request: ExportRequest,
    token: &ScopeSet,
    consent: &Consent,
    in_source: &BTreeSet<ResourceType>,
) -> Result<AuthorizedExport, Denied> {
    match (&request.level, &consent.groups) {
        (Level::Group(id), groups) if !groups.permits(id) => return Err(Denied::GroupNotCovered),
        (Level::System | Level::Patient, GroupAccess::Only(_)) => return Err(Denied::GroupsOnly),
        _ => {}
    }
    let readable = scope::shared_types(ResourceType::ALL, &[token, &consent.scopes]);
    let Some(asked) = request.types.clone() else {
        let types: BTreeSet<_> = readable.intersection(in_source).copied().collect();
        return if types.is_empty() {
            Err(Denied::NothingShared)
        } else {
            let types = types.difference(&request.without).copied().collect();
            Ok(authorized(request, types, consent))
        };
    };
    let beyond: BTreeSet<_> = asked.difference(&readable).copied().collect();
    if !beyond.is_empty() {
        if !request.lenient {
            return Err(Denied::TypesBeyondScope(beyond));
        }
        request.ignore(format!("not covered by token or consent, left out: {}", names(&beyond)));
    }
    let allowed: BTreeSet<_> = asked.intersection(&readable).copied().collect();
    let absent: BTreeSet<_> = allowed.difference(in_source).copied().collect();
    if !absent.is_empty() {
        if !request.lenient {
            return Err(Denied::TypesNotInSource(absent));
        }
        request.ignore(format!("this practice has no data of, left out: {}", names(&absent)));
    }
    let mut types: BTreeSet<_> = allowed.intersection(in_source).copied().collect();
    types.retain(|t| !request.without.contains(t));
    Ok(authorized(request, types, consent))
}

fn authorized(
    mut request: ExportRequest,
    types: BTreeSet<ResourceType>,
    consent: &Consent,
) -> AuthorizedExport {
    if request.selection.provenance.is_some() && !types.contains(&ResourceType::Provenance) {
        request.selection.provenance = None;
        request.ignore(
            "includeAssociatedData was ignored: Provenance is not covered by token and consent, or this practice has none"
                .to_owned(),
        );
    }
    AuthorizedExport { request, types, consent_id: consent.id }
}

fn names(types: &BTreeSet<ResourceType>) -> String {
    types.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Delivery, Selection};
    use ResourceType::{Goal, Observation, Patient};

    fn request(level: Level, types: Option<&[ResourceType]>, lenient: bool) -> ExportRequest {
        let types = types.map(|t| t.iter().copied().collect());
        ExportRequest {
            level,
            patients: None,
            since: None,
            types,
            without: BTreeSet::new(),
            selection: Selection::default(),
            delivery: Delivery::default(),
            deleted: true,
            lenient,
            notes: Vec::new(),
        }
    }

    fn consent(scopes: &str, groups: GroupAccess) -> Consent {
        Consent { id: uuid::Uuid::nil(), scopes: scopes.parse().unwrap(), groups, expires_at: None }
    }

    fn decide(
        types: Option<&[ResourceType]>,
        lenient: bool,
        token: &str,
        consented: &str,
    ) -> Result<AuthorizedExport, Denied> {
        let in_source = BTreeSet::from([Patient, Observation]);
        authorize(
            request(Level::Patient, types, lenient),
            &token.parse().unwrap(),
            &consent(consented, GroupAccess::All),
            &in_source,
        )
    }

    #[test]
    fn without_type_the_shared_types_are_exported() {
        let export = decide(None, false, "system/*.rs", "system/Patient.rs system/Goal.rs").unwrap();
        assert_eq!(export.types, BTreeSet::from([Patient]));
        assert_eq!(decide(None, false, "system/Goal.rs", "system/*.rs"), Err(Denied::NothingShared));
    }

    #[test]
    fn a_type_beyond_the_token_is_refused_by_name() {
        let denied = decide(Some(&[Patient, Observation]), false, "system/Patient.rs", "system/*.rs");
        assert_eq!(denied, Err(Denied::TypesBeyondScope(BTreeSet::from([Observation]))));
    }

    #[test]
    fn a_narrowed_consent_binds_a_token_that_was_issued_before() {
        let denied = decide(Some(&[Observation]), false, "system/*.rs", "system/Patient.rs");
        assert_eq!(denied, Err(Denied::TypesBeyondScope(BTreeSet::from([Observation]))));
    }

    #[test]
    fn lenient_handling_narrows_and_says_so() {
        let export = decide(
            Some(&[Patient, Goal, Observation]),
            true,
            "system/Patient.rs system/Goal.rs",
            "system/*.rs",
        )
        .unwrap();
        assert_eq!(export.types, BTreeSet::from([Patient]));
        assert_eq!(export.request.notes.iter().filter(|n| n.ignored).count(), 2);
    }

    #[test]
    fn a_consent_for_some_groups_opens_those_only() {
        let only = consent("system/*.rs", GroupAccess::Only(BTreeSet::from(["1.2".to_owned()])));
        let in_source = BTreeSet::from([Patient]);
        let run = |level| {
            authorize(request(level, None, false), &"system/*.rs".parse().unwrap(), &only, &in_source)
        };
        assert!(run(Level::Group("1.2".into())).is_ok());
        assert_eq!(run(Level::Group("1.3".into())), Err(Denied::GroupNotCovered));
        assert_eq!(run(Level::Patient), Err(Denied::GroupsOnly));
        assert_eq!(run(Level::System), Err(Denied::GroupsOnly));
    }
}

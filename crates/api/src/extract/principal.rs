//! Who sent a request, and what they may do: read from the access token and, at each request anew, from
//! the practice's consent.

use std::collections::BTreeSet;

use headgate_auth::AccessTokenClaims;
use headgate_auth::access_token::AccessTokenError;
use headgate_domain::consent::Consent;
use headgate_domain::practice::Practice;
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, ResourceType};
use http::header::{AUTHORIZATION, HeaderMap};

use super::access_token;
use crate::error::ApiError;
use crate::state::ApiState;

/// A client that proved who it is, at the practice its token is for. Whether the practice still consents, and whether
/// the token was revoked, is not yet known.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// Who it is.
    pub(crate) client: ClientId,
    /// What its token covers.
    pub(crate) scopes: ScopeSet,
    /// The id of its token, by which it could be revoked here; none: another server issued it.
    pub(crate) token_id: Option<String>,
}

/// A client with a token and with a consent that is in force now.
#[derive(Debug)]
pub(crate) struct Principal {
    /// Who it is.
    pub(crate) client: ClientId,
    /// What its token covers.
    pub(crate) scopes: ScopeSet,
    /// What the practice consents to.
    pub(crate) consent: Consent,
}

impl Bearer {
    /// Verifies the access token of a request at a practice.
    ///
    /// # Errors
    /// 401 without a token or with a bad one, 403 with a token of another practice.
    pub(crate) async fn of(
        state: &ApiState,
        practice: &Practice,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let token = bearer_token(headers).ok_or(ApiError::NoToken)?;
        let Some(issuer) = &state.config().external else {
            let claims = access_token::own(state, token).await?;
            if !is_of(practice, &claims) {
                return Err(other_practice(practice, &claims.client_id, &claims.allowed_fhir_url));
            }
            return Self::by_claims(practice, claims);
        };
        let claims = access_token::external(state, issuer, token).await?;
        if claims.allowed_fhir_url.trim_end_matches('/') != practice.base() {
            return Err(other_practice(practice, &claims.client_id, &claims.allowed_fhir_url));
        }
        Ok(Self { client: claims.client_id, scopes: readable(&claims.scopes), token_id: None })
    }

    /// The bearer of a token of ours that was verified.
    ///
    /// # Errors
    /// 403 with a token of another practice.
    pub(crate) fn by_claims(practice: &Practice, claims: AccessTokenClaims) -> Result<Self, ApiError> {
        if !is_of(practice, &claims) {
            return Err(ApiError::OtherPractice);
        }
        let scopes = claims.scope.parse().map_err(|_| ApiError::BadToken(AccessTokenError::Malformed))?;
        Ok(Self { client: claims.client_id, scopes, token_id: Some(claims.jti.to_string()) })
    }

    /// Asks whether the practice consents; `None` when it does not, or practice, app or vendor are suspended.
    ///
    /// # Errors
    /// 401 when the token was revoked; or when the database fails.
    pub(crate) async fn consented(
        self,
        state: &ApiState,
        practice: &Practice,
    ) -> Result<Option<Principal>, ApiError> {
        let authority =
            state.store().authority(practice.number, &self.client, self.token_id.as_deref()).await?;
        if authority.token_revoked {
            return Err(ApiError::TokenRevoked);
        }
        Ok(authority.consent.map(|consent| Principal { client: self.client, scopes: self.scopes, consent }))
    }
}

impl Principal {
    /// Whether both the token and the consent cover a type.
    pub(crate) fn covers(&self, resource_type: ResourceType) -> bool {
        self.scopes.permits(resource_type) && self.consent.scopes.permits(resource_type)
    }

    /// Checks that all these types of an export are covered.
    ///
    /// # Errors
    /// 403, naming those that are not.
    pub(crate) fn check_covers(&self, types: impl IntoIterator<Item = ResourceType>) -> Result<(), ApiError> {
        let beyond: BTreeSet<ResourceType> = types.into_iter().filter(|t| !self.covers(*t)).collect();
        if beyond.is_empty() { Ok(()) } else { Err(ApiError::TooNarrow(beyond)) }
    }
}

/// Whether a token of ours is for this practice.
fn is_of(practice: &Practice, claims: &AccessTokenClaims) -> bool {
    claims.allowed_fhir_url == practice.base() && claims.aud == practice.base()
}

/// Longest URL of a token that is logged: another issuer's may be anything.
const LONGEST_URL: usize = 200;

/// Whoever is called because of it has to know whose token it was. The claims are those of a token that was verified.
fn other_practice(practice: &Practice, client: &ClientId, of: &str) -> ApiError {
    let of: String = of.chars().filter(|c| !c.is_control()).take(LONGEST_URL).collect();
    tracing::warn!(
        client = client.as_str(),
        token_practice = of,
        practice = practice.number.get(),
        asked = practice.base(),
        "a token was used at another practice"
    );
    ApiError::OtherPractice
}

/// The scopes that this server knows how to enforce. Another issuer may know more; those give nothing here.
fn readable(scopes: &str) -> ScopeSet {
    let known = scopes.split_ascii_whitespace().filter(|scope| scope.parse::<ScopeSet>().is_ok());
    known.collect::<Vec<_>>().join(" ").parse().unwrap_or_default()
}

/// The token of `Authorization: Bearer …`; the scheme's name is case-insensitive (RFC 9110, section 11.1). Which of
/// several would be meant nobody can say, so then there is none.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let only = given.next().filter(|_| given.next().is_none())?;
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_bearer_token_is_a_token() {
        let token = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer_token(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc").as_deref(), Some("abc"));
        for other in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(token(other), None, "{other}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }

    #[test]
    fn two_tokens_are_none() {
        let mut headers = HeaderMap::new();
        for value in ["Bearer abc", "Bearer def"] {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(bearer_token(&headers), None);
    }

    #[test]
    fn scopes_of_another_issuer_that_cannot_be_enforced_give_nothing() {
        let scopes = "system/Patient.rs system/Observation.rs?category=laboratory system/Unknown.rs \
            system/Goal.write system/CarePlan.read";
        assert_eq!(readable(scopes).to_string(), "system/Patient.rs system/CarePlan.read");
        assert!(readable("").is_empty() && readable("system/Goal.cud").is_empty());
    }

    #[test]
    fn a_type_is_covered_when_both_token_and_consent_have_it() {
        use ResourceType::{Goal, Observation, Patient};
        let principal = Principal {
            client: ClientId::from_random([1; 25]),
            scopes: "system/Patient.rs system/Observation.rs".parse().unwrap(),
            consent: Consent {
                id: uuid::Uuid::nil(),
                scopes: "system/Patient.rs system/Goal.rs".parse().unwrap(),
                groups: headgate_domain::consent::GroupAccess::All,
                expires_at: None,
            },
        };
        assert!(principal.covers(Patient) && !principal.covers(Observation) && !principal.covers(Goal));
        assert!(principal.check_covers([Patient]).is_ok());
        let beyond = BTreeSet::from([Goal, Observation]);
        let refused = principal.check_covers([Patient, Observation, Goal]);
        assert!(matches!(refused, Err(ApiError::TooNarrow(types)) if types == beyond));
    }

    #[test]
    fn a_token_is_bound_to_the_practice_that_both_of_its_claims_name() {
        let client = ClientId::from_random([1; 25]);
        let base = "https://a.example/fhir/r4";
        let practice = Practice {
            number: headgate_domain::PracticeNumber::new(1).unwrap(),
            slug: "a".into(),
            name: "A".into(),
            base_url: base.parse().unwrap(),
            s3_prefix: "ema/1".into(),
            history_since: None,
            suspended: false,
            options: headgate_domain::practice::PracticeOptions::default(),
        };
        let claims = |aud: &str, allowed: &str| AccessTokenClaims {
            iss: "i".into(),
            sub: headgate_auth::access_token::subject_of(&client),
            typ: headgate_auth::access_token::TokenType::Bearer,
            azp: client.clone(),
            client_id: client.clone(),
            client_host: String::new(),
            client_address: String::new(),
            scope: "system/*.rs".into(),
            jti: uuid::Uuid::nil(),
            iat: 0,
            exp: 1,
            aud: aud.into(),
            allowed_fhir_url: allowed.into(),
        };
        let good = Bearer::by_claims(&practice, claims(base, base)).unwrap();
        assert_eq!(good.token_id.as_deref(), Some("00000000-0000-0000-0000-000000000000"));
        let other = "https://b.example/fhir/r4";
        for (aud, allowed) in
            [(other, base), (base, other), (other, other), ("https://a.example/fhir/r4/", base)]
        {
            let refused = Bearer::by_claims(&practice, claims(aud, allowed));
            assert!(matches!(refused, Err(ApiError::OtherPractice)), "{aud} {allowed}");
        }
    }
}

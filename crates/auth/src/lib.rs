//! SMART Backend Services: client keys, client assertions and access tokens.
//!
//! Functions over keys, tokens and claims: no database, and no clock on the verifying side (`now` is a
//! parameter). What needs state is the caller's: finding the app, refusing a `jti` seen before, comparing
//! a token's practice with the practice it is used at. Only [`key_sets`] speaks to others: it fetches the
//! keys that a vendor or an issuer publishes behind an URL.
//!
//! The walk of a token request: [`assertion::peek`] says who claims to be calling, the caller loads
//! that app's [`Jwks`], [`assertion::verify`] checks signature and claims, the caller records the
//! `jti`, [`access_token::issue`] signs the answer. Every later request: [`access_token::verify`].
//!
//! The two kinds of token cannot be taken for each other: assertions are ES384 or RS384 under a
//! client's key, access tokens RS256 under the server's key with the claim `typ: Bearer`, and the
//! algorithm is always decided by the key, never by the token (RFC 8725, section 3.1). Tokens of other
//! issuers ([`access_token::verify_external`], [`admin_token`]) are kept apart by issuer and keys.
//!
//! `jsonwebtoken` makes and checks the signatures. The claims are checked here, because its validation
//! accepts an audience list that merely contains the right one, sets no upper bound on `exp`, and
//! cannot say to a vendor's developer what to change.

pub mod access_token;
pub mod admin_token;
pub mod assertion;
pub mod key_sets;
pub mod keyring;

mod claims;
mod compact;
mod der;
mod issuer_keys;
mod issuer_token;
mod jwks;
mod private_key;
mod signing_key;

pub use access_token::{AccessTokenClaims, AccessTokenError};
pub use admin_token::{AdminIdentity, AdminIssuer, AdminRole, AdminTokenError};
pub use assertion::{AssertionError, VerifiedAssertion};
pub use issuer_keys::IssuerKeys;
pub use jwks::{Jwks, JwksError, PublicJwk, SelectError, jwks_document};
pub use key_sets::{KeySetError, KeySetOptions, KeySets, check_jwks_url};
pub use keyring::{Keyring, KeyringError, MacCheck};
pub use private_key::{KeyError, PrivateKey};
pub use signing_key::SigningKey;

/// The header of a token, for [`PrivateKey::sign_with_header`].
pub use jsonwebtoken::Header;

/// The signature algorithms of client assertions: those that SMART App Launch (Client Authentication:
/// Asymmetric) names. No other is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-384, keys of 2048 to 8192 bits.
    Rs384,
}

impl Algorithm {
    /// The name as `alg` has it: `ES384` or `RS384`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es384 => "ES384",
            Self::Rs384 => "RS384",
        }
    }

    /// The algorithm of that name; `None` for every other, `none` and HMAC among them.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ES384" => Some(Self::Es384),
            "RS384" => Some(Self::Rs384),
            _ => None,
        }
    }

    pub(crate) fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::Rs384 => jsonwebtoken::Algorithm::RS384,
        }
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod fuzz;

//! Who may.

use crate::definition::{Label, Role};
use crate::instrument::{Counter, Gauge};

/// See its description.
pub static TOKENS: Counter = Counter::new(
    Role::Api,
    "auth.token",
    "{request}",
    &[
        Label::known("result", &["issued", "refused"]),
        Label::bounded("error", "the error codes of OAuth 2.0, and none"),
    ],
    "Token requests, by result and OAuth error.",
);

/// See its description.
pub static JTI_REPLAY: Counter =
    Counter::new(Role::Api, "auth.jti_replay", "{assertion}", &[], "Assertions that had been used before.");

/// See its description.
pub static JWKS_FETCH: Counter = Counter::new(
    Role::Api,
    "auth.jwks.fetch",
    "{fetch}",
    &[Label::known("result", &["ok", "failed"])],
    "Fetches of key sets, of apps and of issuers elsewhere, from their URLs.",
);

/// See its description.
pub static KEY_REJECTED: Counter = Counter::new(
    Role::Api,
    "auth.key_rejected",
    "{request}",
    &[Label::bounded("reason", "the reasons why an assertion is refused")],
    "Client assertions that were refused, by the check that they failed.",
);

/// See its description.
pub static SIGNING_KEY_AGE: Gauge = Gauge::new(
    Role::Api,
    "auth.signing_key.age",
    "s",
    &[],
    "Time since the key that signs access tokens was made.",
);

/// See its description.
pub static CONSENT_DENIED: Counter = Counter::new(
    Role::Api,
    "consent.denied",
    "{request}",
    &[Label::practice(), Label::known("phase", &["kick_off", "poll", "download", "other"])],
    "Requests with a valid token whose consent is not in force, or does not cover them.",
);

/// See its description.
pub static TENANT_MISMATCH: Counter = Counter::new(
    Role::Api,
    "tenant.mismatch",
    "{request}",
    &[],
    "Requests with a token of another practice. A client that mixes them up, or one that tries doors.",
);

/// See its description.
pub static ADMIN_REFUSED: Counter = Counter::new(
    Role::Api,
    "admin.refused",
    "{request}",
    &[Label::known("reason", &["unauthenticated", "forbidden"])],
    "Requests to the admin API without a valid token, or by somebody who may not.",
);

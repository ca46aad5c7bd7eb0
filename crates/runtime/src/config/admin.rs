//! `[admin]`: whose tokens the admin API takes.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::checks::Checks;
use super::{Jwks, Role};

/// What the built-in issuer calls itself. No other may.
const BUILTIN_ISSUER: &str = "urn:headgate:admin";

/// Whose tokens the admin API takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// File with the public keys of the built-in issuer, whose tokens `headgate admin token` mints, as a JWK Set;
    /// empty: there is no built-in issuer.
    pub builtin_jwks_file: String,
    /// Issuers elsewhere, such as the realm of the operator's own login. Each is trusted with every role and every practice.
    pub issuers: Vec<AdminIssuer>,
}

/// An issuer of tokens for the admin API, and how its tokens say who may do what. A claim is named by its path,
/// with dots: `realm_access.roles`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminIssuer {
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// Where it publishes its keys.
    pub jwks_url: String,
    /// What its tokens must have as `aud`, and nothing else.
    pub audience: String,
    /// The claim of the role.
    #[serde(default = "role")]
    pub role_claim: String,
    /// The claim of a practice administrator's practice.
    #[serde(default = "practice")]
    pub practice_claim: String,
    /// The claim of a vendor's id.
    #[serde(default = "vendor")]
    pub vendor_claim: String,
    /// What the role of an operator is called.
    #[serde(default = "operator")]
    pub operator_value: String,
    /// What the role of a practice administrator is called.
    #[serde(default = "practice_admin")]
    pub practice_admin_value: String,
    /// What the role of a vendor is called.
    #[serde(default = "vendor")]
    pub vendor_value: String,
}

fn role() -> String {
    "role".to_owned()
}

fn practice() -> String {
    "practice".to_owned()
}

fn vendor() -> String {
    "vendor".to_owned()
}

fn operator() -> String {
    "operator".to_owned()
}

fn practice_admin() -> String {
    "practice_admin".to_owned()
}

impl Admin {
    pub(super) fn check(&self, role: Role, jwks: &Jwks, checks: &mut Checks) {
        if role == Role::Api && !self.builtin_jwks_file.is_empty() {
            checks.public_keys("admin.builtin_jwks_file", Path::new(&self.builtin_jwks_file));
        }
        let mut seen = HashSet::from([BUILTIN_ISSUER]);
        for (at, issuer) in self.issuers.iter().enumerate() {
            let key = |name: &str| format!("admin.issuers[{at}].{name}");
            if issuer.issuer.is_empty() {
                checks.problem(&key("issuer"), "must be the `iss` of its tokens");
            } else if !seen.insert(&issuer.issuer) {
                checks.problem(&key("issuer"), "is another issuer's");
            }
            jwks.check_url(&key("jwks_url"), &issuer.jwks_url, checks);
            for (name, value) in [
                ("audience", &issuer.audience),
                ("role_claim", &issuer.role_claim),
                ("practice_claim", &issuer.practice_claim),
                ("vendor_claim", &issuer.vendor_claim),
                ("operator_value", &issuer.operator_value),
                ("practice_admin_value", &issuer.practice_admin_value),
                ("vendor_value", &issuer.vendor_value),
            ] {
                if value.is_empty() {
                    checks.problem(&key(name), "must not be empty");
                }
            }
            let values = [&issuer.operator_value, &issuer.practice_admin_value, &issuer.vendor_value];
            if HashSet::from(values).len() < values.len() {
                checks.problem(&key("operator_value"), "the three roles need a name each");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::{load, with_file};

    const FILE: &str = r#"
        [[admin.issuers]]
        issuer = "https://login.example.org/realms/ehr"
        jwks_url = "https://login.example.org/realms/ehr/certs"
        audience = "headgate"
        role_claim = "realm_access.roles"
    "#;

    fn claims(config: &Config) -> [&str; 4] {
        let issuer = &config.admin.issuers[0];
        [&issuer.issuer, &issuer.role_claim, &issuer.practice_claim, &issuer.practice_admin_value]
    }

    #[test]
    fn issuers_are_read_alike_from_the_file_and_from_the_environment() {
        let expected =
            ["https://login.example.org/realms/ehr", "realm_access.roles", "practice", "practice_admin"];
        assert_eq!(claims(&with_file(FILE).unwrap()), expected);
        for text in [
            r#"[{"issuer": "https://login.example.org/realms/ehr", "audience": "headgate",
                "jwks_url": "https://login.example.org/certs", "role_claim": "realm_access.roles"}]"#,
            r#"[
                {issuer = "https://login.example.org/realms/ehr", audience = "headgate", jwks_url = "https://l/c", role_claim = "realm_access.roles"}
            ]"#,
        ] {
            assert_eq!(claims(&load(&[("HEADGATE__ADMIN__ISSUERS", text)]).unwrap()), expected);
        }
        assert!(load(&[("HEADGATE__ADMIN__ISSUERS", " [] ")]).unwrap().admin.issuers.is_empty());
    }

    #[test]
    fn an_issuer_that_could_be_mistaken_is_refused() {
        let twice = format!("{FILE}{FILE}");
        for (wrong, key) in [
            (twice.as_str(), "admin.issuers[1].issuer"),
            (
                &FILE.replace("https://login.example.org/realms/ehr\"\n", "urn:headgate:admin\"\n"),
                "[0].issuer",
            ),
            (&FILE.replace("= \"headgate\"", "= \"\""), "[0].audience"),
            (
                &FILE.replace("= \"https://login.example.org/realms/ehr/certs", "= \"http://l/certs"),
                "jwks_url",
            ),
            (&format!("{FILE}\nvendor_value = \"operator\""), "[0].operator_value"),
            (&format!("{FILE}\nroll_claim = \"operator\""), "roll_claim"),
        ] {
            let error = with_file(wrong).unwrap_err().to_string();
            assert!(error.contains(key), "{key} in {error}");
        }
    }

    #[test]
    fn a_variable_that_is_no_list_is_refused_without_its_text() {
        for wrong in
            ["hushhush", "{\"a\": \"hushhush\"}", "[hushhush", "[]\nx = \"hushhush\"", "[\"hushhush\"]"]
        {
            let error = load(&[("HEADGATE__ADMIN__ISSUERS", wrong)]).unwrap_err().to_string();
            assert!(error.to_lowercase().contains("issuers") && !error.contains("hushhush"), "{error}");
        }
    }
}

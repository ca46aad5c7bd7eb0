//! Whether the configured encryption key opens the stored keys of access tokens.

use chrono::Utc;
use headgate_auth::Keyring;
use headgate_runtime::Config;
use headgate_store::{Store, StoredKey};

use super::finding::Finding;
use crate::api;
use crate::failure::with_causes;

const CHECK: &str = "keys of access tokens";

/// Opens those that verify.
pub async fn check(config: &Config, store: &Store) -> Vec<Finding> {
    if config.token.external.is_on() {
        return vec![Finding::ok(CHECK, "none are needed: another issuer's tokens are taken")];
    }
    let keyring = match api::keyring(config) {
        Ok(keyring) => keyring,
        Err(failure) => {
            return vec![Finding::failed(
                CHECK,
                failure.message(),
                "make one with `openssl rand -base64 32`",
            )];
        }
    };
    vec![match store.signing_keys().await {
        Ok(stored) => judge(&keyring, &stored),
        Err(error) => Finding::failed(CHECK, with_causes(&error), "connect as database.api_role"),
    }]
}

fn judge(keyring: &Keyring, stored: &[StoredKey]) -> Finding {
    let now = Utc::now();
    let live: Vec<_> = stored.iter().filter(|key| key.verifies_until.is_none_or(|end| now < end)).collect();
    if live.is_empty() {
        return Finding::warning(CHECK, "there is none yet", "nothing: the first `headgate api` makes one");
    }
    let mut stale = 0;
    for key in &live {
        match keyring.open(&headgate_api::sealing_context(&key.kid), &key.sealed) {
            Ok(opened) => stale += usize::from(opened.stale),
            Err(error) => {
                let mend = "give the key that the other processes have as keys.encryption_key, or the one before a \
                            change as keys.previous_encryption_key";
                return Finding::failed(
                    CHECK,
                    format!("the key {} cannot be opened: {error}", key.kid),
                    mend,
                );
            }
        }
    }
    let found = format!("{} in use, each can be opened", live.len());
    if stale > 0 {
        let mend = "keep keys.previous_encryption_key until a `headgate api` has run with both";
        return Finding::warning(CHECK, format!("{found}, {stale} with the previous encryption key"), mend);
    }
    Finding::ok(CHECK, found)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn keys_must_be_opened_and_be_sealed_with_the_current_one() {
        let (old, new) = ([1; 32], [2; 32]);
        let sealed_with = |key: [u8; 32]| {
            let keyring = Keyring::new(key, vec![]).unwrap();
            StoredKey {
                kid: "k".to_owned(),
                sealed: keyring.seal(&headgate_api::sealing_context("k"), b"secret").unwrap(),
                created_at: Utc::now(),
                signs_from: Utc::now(),
                verifies_until: None,
            }
        };
        let verdict = |current, former: Vec<[u8; 32]>, stored: &[StoredKey]| {
            judge(&Keyring::new(current, former).unwrap(), stored).verdict
        };
        assert_eq!(verdict(new, vec![], &[]), Verdict::Warning);
        assert_eq!(verdict(old, vec![], &[sealed_with(old)]), Verdict::Ok);
        assert_eq!(verdict(new, vec![old], &[sealed_with(old)]), Verdict::Warning);
        assert_eq!(verdict(new, vec![], &[sealed_with(old)]), Verdict::Failed);
        let ended = StoredKey { verifies_until: Some(Utc::now()), ..sealed_with(old) };
        assert_eq!(verdict(new, vec![], &[ended, sealed_with(new)]), Verdict::Ok);
    }
}

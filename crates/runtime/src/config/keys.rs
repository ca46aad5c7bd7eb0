//! `[keys]`: what protects the secrets that the control database holds.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Role;
use super::checks::Checks;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Both alphabets, with or without padding.
const BASE64: [GeneralPurpose; 2] = {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [GeneralPurpose::new(&STANDARD, config), GeneralPurpose::new(&URL_SAFE, config)]
};

/// What protects the secrets that the control database holds, and authenticates the audit trail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key, as base64 or 64 hex digits. Empty unless the role is `api`. After loading also the content of
    /// `encryption_key_file`.
    pub encryption_key: SecretString,
    /// The file that holds the key; empty when the key is given.
    pub encryption_key_file: String,
    /// The key before this one, for what is still under it; empty: there is none. After loading also the content
    /// of `previous_encryption_key_file`.
    pub previous_encryption_key: SecretString,
    /// The file that holds the key before; empty when that is given.
    pub previous_encryption_key_file: String,
}

impl Keys {
    pub(super) fn check(&mut self, role: Role, checks: &mut Checks) {
        let (name, former) = ("keys.encryption_key", "keys.previous_encryption_key");
        checks.secret(name, &mut self.encryption_key, &self.encryption_key_file);
        checks.secret(former, &mut self.previous_encryption_key, &self.previous_encryption_key_file);
        for (name, key) in [(name, &self.encryption_key), (former, &self.previous_encryption_key)] {
            let key = key.expose_secret();
            if !key.is_empty() && !is_key(key) {
                checks.problem(name, "must be 32 bytes in base64; make them with: openssl rand -base64 32");
            }
        }
        let (key, before) =
            (self.encryption_key.expose_secret(), self.previous_encryption_key.expose_secret());
        if key.is_empty() && (role == Role::Api || !before.is_empty()) {
            checks.problem(
                name,
                "give the key that protects stored secrets; make it once with: openssl rand -base64 32",
            );
        } else if !key.is_empty() && key == before {
            checks.problem(former, "is the present key; it must be the one before, or empty");
        }
    }
}

/// Whether the text is 32 bytes, as base64 or as hex.
fn is_key(text: &str) -> bool {
    let hex = text.len() == 2 * KEY_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex || BASE64.iter().any(|engine| engine.decode(text).is_ok_and(|key| key.len() == KEY_BYTES))
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_base64_or_hex() {
        let hex = "0f".repeat(32);
        for good in [
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "-_-_AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "+/+/AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            &hex,
        ] {
            assert!(is_key(good), "{good}");
        }
        for wrong in ["hunter2", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", &hex[..62], &"0g".repeat(32)]
        {
            assert!(!is_key(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_former_key_is_another_one_and_never_alone() {
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let with = |pairs: &[(&str, &str)]| load(pairs).map(drop).map_err(|error| error.to_string());
        let (key, before) = ("HEADGATE__KEYS__ENCRYPTION_KEY", "HEADGATE__KEYS__PREVIOUS_ENCRYPTION_KEY");
        with(&[(key, &one), (before, &two)]).unwrap();
        for wrong in [&[(before, one.as_str())][..], &[(key, &one), (before, &one)], &[(key, "hushhush")]] {
            let error = with(wrong).unwrap_err();
            assert!(error.contains("encryption_key: ") && !error.contains("hushhush"), "{error}");
        }
    }
}

//! Keys for what this server must keep secret or recognise again: sealed values in the control database,
//! and codes that it gave out and checks later.
//!
//! An operator configures one current key and, during a rotation, previous ones. The current one seals
//! and signs; all of them open and check. From each key two independent ones are derived by
//! HKDF-SHA256 (RFC 5869), so that what is learned about one use says nothing about the other.
//!
//! A sealed value is: version (1 byte), key id (8), nonce (12), ciphertext and tag (16), all bound to a
//! context, so that a value cannot be moved to another row or column.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_LEN;
const SALT: &[u8] = b"headgate keyring v1";

/// Why a value cannot be sealed or opened, or a key not be read. No text holds any part of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Not the text of a key.
    #[error("a key is 32 bytes as base64 or as 64 hex digits")]
    NotAKey,
    /// The bytes are not a sealed value of a version that is known.
    #[error("the value is not sealed in a known form")]
    Malformed,
    /// Sealed under a key that is neither the current nor a previous one.
    #[error("the value was sealed with a key that is not configured")]
    UnknownKey,
    /// Changed, or sealed for another context.
    #[error("the sealed value was changed or belongs elsewhere")]
    Forged,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
}

/// A value that was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was sealed.
    pub plain: Vec<u8>,
    /// Whether a previous key sealed it: seal it anew while that key is still configured.
    pub stale: bool,
}

/// Shows only whether it is stale.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("stale", &self.stale).finish_non_exhaustive()
    }
}

/// What became of a code that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacCheck {
    /// Made with one of our keys over this message.
    Good,
    /// Not over this message.
    Bad,
    /// Made with a key that is neither the current nor a previous one.
    UnknownKey,
}

/// The current key and the previous ones. Clones share them.
#[derive(Clone)]
pub struct Keyring {
    current: Arc<Key>,
    previous: Arc<[Key]>,
}

struct Key {
    seal: RandomizedNonceKey,
    seal_id: [u8; KEY_ID_BYTES],
    mac: hmac::Key,
    mac_id: String,
}

impl Key {
    fn derive(secret: &[u8; 32]) -> Result<Self, KeyringError> {
        let seal = sub_key(secret, b"seal")?;
        let mac = sub_key(secret, b"mac")?;
        Ok(Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, &seal).map_err(|_| KeyringError::Cryptography)?,
            seal_id: key_id(&seal),
            mac: hmac::Key::new(hmac::HMAC_SHA256, &mac),
            mac_id: hex::encode(key_id(&mac)),
        })
    }
}

impl Keyring {
    /// A keyring of the current key and those before it.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn new(current: [u8; 32], previous: Vec<[u8; 32]>) -> Result<Self, KeyringError> {
        Ok(Self {
            current: Arc::new(Key::derive(&current)?),
            previous: previous.iter().map(Key::derive).collect::<Result<_, _>>()?,
        })
    }

    /// Seals a value under the current key with AES-256-GCM and a random nonce. The same context has to
    /// be given to open it.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let mut body = plain.to_vec();
        let nonce = self
            .current
            .seal
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| KeyringError::Cryptography)?;
        Ok([&[VERSION], &self.current.seal_id[..], nonce.as_ref(), &body].concat())
    }

    /// Opens a sealed value.
    ///
    /// # Errors
    /// When it is malformed, of an unknown key, changed, or sealed for another context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Opened, KeyringError> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(KeyringError::Malformed)?;
        let (&version, header) = header.split_first().ok_or(KeyringError::Malformed)?;
        if version != VERSION {
            return Err(KeyringError::Malformed);
        }
        let (id, nonce) = header.split_at(KEY_ID_BYTES);
        let key = self.keys().find(|key| key.seal_id == id).ok_or(KeyringError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyringError::Malformed)?;
        let mut body = body.to_vec();
        let plain = key
            .seal
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| KeyringError::Forged)?;
        Ok(Opened { plain: plain.to_vec(), stale: key.seal_id != self.current.seal_id })
    }

    /// The code (HMAC-SHA256) of a message under the current key, and the key's id in hex.
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> (String, [u8; 32]) {
        let tag = hmac::sign(&self.current.mac, message);
        let mut code = [0; 32];
        code.copy_from_slice(tag.as_ref());
        (self.current.mac_id.clone(), code)
    }

    /// Checks a code in constant time. It must have all its 32 bytes.
    #[must_use]
    pub fn check_mac(&self, key_id: &str, message: &[u8], mac: &[u8]) -> MacCheck {
        match self.keys().find(|key| key.mac_id == key_id) {
            None => MacCheck::UnknownKey,
            Some(key) if hmac::verify(&key.mac, message, mac).is_ok() => MacCheck::Good,
            Some(_) => MacCheck::Bad,
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&*self.current).chain(self.previous.iter())
    }
}

/// Shows how many keys there are, never a key.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("previous", &self.previous.len()).finish_non_exhaustive()
    }
}

/// Reads a key of 32 bytes: base64, standard or URL-safe, padded or not, or 64 hex digits. White space
/// around it is ignored, because files end with a line feed.
///
/// # Errors
/// When it is neither.
pub fn parse_key(text: &str) -> Result<[u8; 32], KeyringError> {
    let text = text.trim();
    let bytes = if text.len() == 64 {
        hex::decode(text).map_err(|_| KeyringError::NotAKey)?
    } else {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let url_safe = text.replace('+', "-").replace('/', "_");
        GeneralPurpose::new(&base64::alphabet::URL_SAFE, config)
            .decode(url_safe)
            .map_err(|_| KeyringError::NotAKey)?
    };
    bytes.try_into().map_err(|_| KeyringError::NotAKey)
}

fn sub_key(secret: &[u8; 32], purpose: &[u8]) -> Result<[u8; 32], KeyringError> {
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
        .extract(secret)
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|derived| derived.fill(&mut key))
        .map_err(|_| KeyringError::Cryptography)?;
    Ok(key)
}

/// What names a derived key without giving anything of it away.
fn key_id(key: &[u8; 32]) -> [u8; KEY_ID_BYTES] {
    let hash = digest::digest(&digest::SHA256, key);
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&hash.as_ref()[..KEY_ID_BYTES]);
    id
}

#[cfg(test)]
mod tests;

//! Signing many links at once (AWS Signature Version 4, authentication by query parameters).
//!
//! A manifest has thousands of links, and each costs the SDK the preparation of a whole request. But links of one
//! moment differ in their path and their signature alone. So the SDK signs one, to an object that is not there,
//! and has thereby said the rest: address, date, scope, life, session token. The others are made of its parts, and
//! only their signatures are computed here. That they are computed as the SDK does is not believed but seen:
//! the signature of the SDK's own link is computed here as well, and has to be the same.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::{digest, hmac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The key of the object that the SDK signs a link to. No export writes a key without a slash.
pub(crate) const SAMPLE: &str = "-";

/// What is encoded in a path: all but the unreserved characters of RFC 3986, section 2.3, and slashes.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Signs links to objects of the bucket, all as of one moment, with the credentials of that moment. Without input
/// and output, and cheap; to be made anew for each answer. See [`crate::Objects::signer`].
pub struct LinkSigner {
    /// Scheme and host: `https://files.s3.example`.
    origin: String,
    /// What is signed as the header `Host`.
    host: String,
    /// The path before the key, with a slash at both ends.
    folder: String,
    get: Query,
    head: Query,
    /// The text to sign, up to the digest of the request.
    preamble: String,
    key: hmac::Key,
    life: Duration,
    end: SystemTime,
}

/// The query of the links of one method.
struct Query {
    /// Up to the value of the signature.
    before: String,
    /// Behind it.
    after: String,
    /// Without the signature, in the order that is signed.
    canonical: String,
}

impl LinkSigner {
    /// Takes a link that the SDK signed to [`SAMPLE`] for GET apart. `None` when it is not one of Signature Version 4
    /// that these credentials signed.
    pub(crate) fn from_sample(
        link: &str,
        credentials: &Credentials,
        start: SystemTime,
        life: Duration,
    ) -> Option<Self> {
        let (address, query) = link.split_once('?')?;
        let (scheme, rest) = address.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        // `date/region/service/aws4_request`, behind the access key, which may have slashes too; all are encoded.
        let mut parts: Vec<&str> = value("X-Amz-Credential")?.rsplitn(5, "%2F").take(4).collect();
        parts.reverse();
        let scope = parts.join("/");
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let signer = Self {
            origin: format!("{scheme}://{authority}"),
            host: authority.strip_suffix(default_port).unwrap_or(authority).to_owned(),
            folder: path.strip_suffix(SAMPLE)?.to_owned(),
            get: Query::of(query, |_| true)?,
            head: Query::of(query, |pair| pair != "x-id=GetObject")?,
            preamble: format!("AWS4-HMAC-SHA256\n{}\n{scope}\n", value("X-Amz-Date")?),
            key: derived(credentials.secret_access_key(), &scope),
            life,
            end: start + life,
        };
        (signer.get(SAMPLE) == link).then_some(signer)
    }

    /// A link with which anyone can get the object.
    #[must_use]
    pub fn get(&self, key: &str) -> String {
        self.link("GET", key, &self.get)
    }

    /// A link with which anyone can ask for the headers of the object.
    #[must_use]
    pub fn head(&self, key: &str) -> String {
        self.link("HEAD", key, &self.head)
    }

    /// How long the links live from the moment the signer was made: whole seconds.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// When the links end.
    #[must_use]
    pub fn end(&self) -> SystemTime {
        self.end
    }

    fn link(&self, method: &str, key: &str, query: &Query) -> String {
        // The path without a key is the bucket's own, and a link to it would list all objects.
        let key = if key.is_empty() { SAMPLE } else { key };
        let path = format!("{}{}", self.folder, utf8_percent_encode(key, ENCODED));
        let request = [
            method,
            "\n",
            &path,
            "\n",
            &query.canonical,
            "\nhost:",
            &self.host,
            "\n\nhost\nUNSIGNED-PAYLOAD",
        ]
        .concat();
        let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let signature = hmac::sign(&self.key, [self.preamble.as_str(), &request].concat().as_bytes());
        [self.origin.as_str(), &path, "?", &query.before, &hex(signature.as_ref()), &query.after].concat()
    }
}

impl fmt::Debug for LinkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSigner").field("life", &self.life).finish_non_exhaustive()
    }
}

impl Query {
    /// The query of the SDK's link, of those pairs that are wanted.
    fn of(query: &str, wanted: impl Fn(&str) -> bool) -> Option<Self> {
        const SIGNATURE: &str = "X-Amz-Signature=";
        let pairs: Vec<&str> = query.split('&').filter(|pair| wanted(pair)).collect();
        let at = pairs.iter().position(|pair| pair.starts_with(SIGNATURE))?;
        let (before, after) = (pairs.get(..at)?, pairs.get(at + 1..)?);
        let mut signed = [before, after].concat();
        // By name: none has another's name as its beginning, so `=` does not disturb the order.
        signed.sort_unstable();
        Some(Self {
            before: before.iter().flat_map(|pair| [*pair, "&"]).chain([SIGNATURE]).collect(),
            after: after.iter().flat_map(|pair| ["&", *pair]).collect(),
            canonical: signed.join("&"),
        })
    }
}

/// The key of a day, region and service.
fn derived(secret: &str, scope: &str) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    scope.split('/').fold(first, |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}

#[cfg(test)]
#[path = "signer_tests.rs"]
mod tests;

//! Object keys, and where their objects lie.
//!
//! A key's segments become folders, and the last one a file. S3 allows both `a` and `a/b` as keys, a file
//! system does not allow a file and a folder of the same name: so an object's file ends in [`OBJECT`], a
//! character no key may contain. Temporary files begin with it.

use std::path::PathBuf;

use s3s::{S3Error, s3_error};

/// The end of an object's file name. Not allowed in keys.
pub(super) const OBJECT: char = '%';

/// The beginning of a temporary file's name, which no object's file can have.
pub(super) const TEMPORARY: &str = "%tmp-";

/// Longest key, bytes.
const LONGEST_KEY: usize = 900;

/// Longest segment between two slashes, bytes: file systems allow names of 255.
const LONGEST_SEGMENT: usize = 250;

/// The file of an object, relative to the folder of its bucket.
///
/// A key is 1 to 900 bytes of `A-Z a-z 0-9 . _ - /`; its segments are neither empty, `.` nor `..`, and at
/// most 250 bytes long. So no key can name a file outside its bucket.
///
/// # Errors
/// `KeyTooLongError` or `InvalidArgument`, as the reply to the client.
pub(super) fn object_path(key: &str) -> Result<PathBuf, S3Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    if key.len() > LONGEST_KEY || key.split('/').any(|segment| segment.len() > LONGEST_SEGMENT) {
        return Err(s3_error!(KeyTooLongError, "a key has at most 900 bytes, and 250 between slashes"));
    }
    if !key.bytes().all(allowed) || key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(s3_error!(
            InvalidArgument,
            "a key consists of A-Z a-z 0-9 . _ - in segments separated by /, none empty, . or .."
        ));
    }
    Ok(PathBuf::from(format!("{key}{OBJECT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_would_leave_its_bucket_is_refused() {
        for key in ["..", "../b/x", "a/../../b/x", "/etc/passwd", "a//b", "a/./b", "a/", ".", ""] {
            assert_eq!(object_path(key).unwrap_err().code().as_str(), "InvalidArgument", "{key:?}");
        }
    }

    #[test]
    fn a_key_with_a_character_outside_the_alphabet_is_refused() {
        for key in ["a b", "a\\b", "a%2e", "a\0b", "ü", "a\nb", "%tmp-x"] {
            assert_eq!(object_path(key).unwrap_err().code().as_str(), "InvalidArgument", "{key:?}");
        }
    }

    #[test]
    fn a_key_or_segment_that_is_too_long_is_refused() {
        let segments = [vec!["s".repeat(249); 3].join("/"), "t".repeat(150)].join("/");
        assert_eq!(segments.len(), 900);
        assert!(object_path(&segments).is_ok());
        for key in [format!("{segments}x"), "s".repeat(251)] {
            assert_eq!(object_path(&key).unwrap_err().code().as_str(), "KeyTooLongError");
        }
    }

    #[test]
    fn a_key_and_a_key_below_it_have_different_paths() {
        assert_eq!(object_path("a").unwrap(), PathBuf::from("a%"));
        assert_eq!(object_path("a/b").unwrap(), PathBuf::from("a/b%"));
    }
}

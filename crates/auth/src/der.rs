//! As much DER as it takes to get the numbers of an RSA key out of PKCS#8: a JWK carries them one by
//! one (RFC 7518, section 6.3), and the cryptographic library exports them only wrapped.

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The `RSAPrivateKey` (RFC 8017, appendix A.1.2) inside a PKCS#8 `PrivateKeyInfo` (RFC 5208,
/// section 5). The caller knows that it is an RSA key.
pub(crate) fn rsa_private_key(pkcs8: &[u8]) -> Option<&[u8]> {
    let (info, _) = expect(SEQUENCE, pkcs8)?;
    let (_version, rest) = expect(INTEGER, info)?;
    let (_algorithm, rest) = expect(SEQUENCE, rest)?;
    let (key, _attributes) = expect(OCTET_STRING, rest)?;
    Some(key)
}

/// The integers of a sequence of integers, big-endian without leading zeros.
pub(crate) fn integers(sequence: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, _) = expect(SEQUENCE, sequence)?;
    let mut integers = Vec::new();
    while !rest.is_empty() {
        let (integer, after) = expect(INTEGER, rest)?;
        integers.push(trim_zeros(integer));
        rest = after;
    }
    Some(integers)
}

/// A big-endian number without its leading zeros.
pub(crate) fn trim_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// The content of the element at the start, which must have this tag, and what follows it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The next one to four bytes are the length.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, &digit| (length << 8) | usize::from(digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integers_of_a_sequence_lose_their_sign_byte() {
        let sequence = [0x30, 0x07, 0x02, 0x01, 0x00, 0x02, 0x02, 0x00, 0x81];
        assert_eq!(integers(&sequence), Some(vec![&[][..], &[0x81][..]]));
    }

    #[test]
    fn a_truncated_or_foreign_structure_is_refused() {
        assert_eq!(integers(&[0x30, 0x07, 0x02, 0x01]), None);
        assert_eq!(integers(&[0x30, 0x85, 1, 1, 1, 1, 1, 1]), None);
        assert_eq!(integers(&[0x30, 0x03, 0x04, 0x01, 0x00]), None);
        assert_eq!(rsa_private_key(&[]), None);
        assert_eq!(rsa_private_key(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
    }
}

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::*;

const OLD: [u8; 32] = [7; 32];
const NEW: [u8; 32] = [0xFB; 32];

fn ring(current: [u8; 32], previous: &[[u8; 32]]) -> Keyring {
    Keyring::new(current, previous.to_vec()).unwrap()
}

#[test]
fn what_is_sealed_opens_in_its_context_only() {
    let ring = ring(NEW, &[]);
    for plain in [&b""[..], b"postgres://clinic:secret@db/ehr", &[0; 10_000]] {
        let sealed = ring.seal("practice/100491/dsn", plain).unwrap();
        let opened = ring.open("practice/100491/dsn", &sealed).unwrap();
        assert_eq!((opened.plain.as_slice(), opened.stale), (plain, false));
        for context in ["practice/100492/dsn", "", "practice/100491/dsn "] {
            assert_eq!(ring.open(context, &sealed), Err(KeyringError::Forged), "{context}");
        }
        assert_eq!(sealed.len(), HEADER_BYTES + plain.len() + 16);
    }
}

#[test]
fn sealing_twice_gives_two_values() {
    let ring = ring(NEW, &[]);
    assert_ne!(ring.seal("c", b"same").unwrap(), ring.seal("c", b"same").unwrap());
}

#[test]
fn a_previous_key_opens_and_the_value_is_stale() {
    let sealed = ring(OLD, &[]).seal("c", b"text").unwrap();
    let opened = ring(NEW, &[OLD]).open("c", &sealed).unwrap();
    assert_eq!((opened.plain.as_slice(), opened.stale), (&b"text"[..], true));
    assert_eq!(ring(NEW, &[]).open("c", &sealed), Err(KeyringError::UnknownKey));
}

#[test]
fn a_changed_or_cut_value_never_opens() {
    let ring = ring(NEW, &[OLD]);
    let sealed = ring.seal("c", b"text").unwrap();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(ring.open("c", &changed).is_err(), "byte {at}, bit {bit}");
        }
        assert!(ring.open("c", &sealed[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(ring.open("c", b""), Err(KeyringError::Malformed));
    assert_eq!(ring.open("c", &[2; 60]), Err(KeyringError::Malformed));
}

#[test]
fn a_code_is_good_for_its_message_under_any_key_of_the_ring() {
    let old = ring(OLD, &[]);
    let (id, code) = old.mac(b"message");
    let ring = ring(NEW, &[OLD]);
    assert_eq!(ring.check_mac(&id, b"message", &code), MacCheck::Good);
    assert_eq!(ring.check_mac(&id, b"massage", &code), MacCheck::Bad);
    assert_eq!(ring.check_mac(&id, b"message", &code[..31]), MacCheck::Bad);
    assert_eq!(ring.check_mac(&id, b"message", &[]), MacCheck::Bad);
    let (new_id, new_code) = ring.mac(b"message");
    assert_ne!(new_id, id);
    assert_eq!(ring.check_mac(&new_id, b"message", &code), MacCheck::Bad);
    assert_eq!(old.check_mac(&new_id, b"message", &new_code), MacCheck::UnknownKey);
    assert_eq!(ring.check_mac("", b"message", &code), MacCheck::UnknownKey);
    assert_eq!((id.len(), id.bytes().all(|byte| byte.is_ascii_hexdigit())), (16, true));
}

/// RFC 5869 by its two steps of HMAC, so that the derivation is not only compared with itself.
#[test]
fn the_derived_keys_are_those_of_rfc_5869_and_differ() {
    let hmac = |key: &[u8], message: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
    };
    let prk = hmac(SALT, &OLD);
    assert_eq!(sub_key(&OLD, b"seal").unwrap().as_slice(), hmac(&prk, b"seal\x01"));
    assert_eq!(sub_key(&OLD, b"mac").unwrap().as_slice(), hmac(&prk, b"mac\x01"));
    let (_, code) = ring(OLD, &[]).mac(b"message");
    assert_eq!(code.as_slice(), hmac(&hmac(&prk, b"mac\x01"), b"message"));
}

#[test]
fn a_key_is_read_as_base64_of_any_kind_or_hex() {
    let texts = [
        STANDARD.encode(NEW),
        STANDARD_NO_PAD.encode(NEW),
        URL_SAFE.encode(NEW),
        URL_SAFE_NO_PAD.encode(NEW),
        hex::encode(NEW),
        hex::encode_upper(NEW),
        format!(" {}\n", STANDARD.encode(NEW)),
    ];
    for text in texts {
        assert_eq!(parse_key(&text), Ok(NEW), "{text}");
    }
    let short = STANDARD.encode([1; 31]);
    let long = STANDARD.encode([1; 33]);
    let not_hex = "g".repeat(64);
    let pass_phrase = "correct horse battery staple";
    for wrong in ["", short.as_str(), &long, &not_hex, &not_hex[..63], pass_phrase] {
        assert_eq!(parse_key(wrong), Err(KeyringError::NotAKey), "{wrong}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let ring = ring(OLD, &[NEW]);
    assert_eq!(format!("{ring:?}"), "Keyring { previous: 1, .. }");
    let opened = ring.open("c", &ring.seal("c", b"text").unwrap()).unwrap();
    assert_eq!(format!("{opened:?}"), "Opened { stale: false, .. }");
}

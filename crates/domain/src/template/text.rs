//! Texts as FHIR and JSON want them.

/// The text without blanks and control characters at its ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b <= b' ';
    let Some(start) = text.iter().position(|b| !blank(b)) else { return &[] };
    let end = text.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Whether a trimmed text equals another one, which holds no control characters that FHIR forbids.
pub(super) fn equals(text: &[u8], other: &[u8]) -> bool {
    text == other || (text.iter().any(forbidden) && text.iter().filter(|b| !forbidden(b)).eq(other))
}

/// Control characters that a FHIR string may not hold.
fn forbidden(b: &u8) -> bool {
    *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r')
}

/// What becomes of a byte in a JSON string: itself, or something to be written in its place.
const PLAIN: u8 = 0;
const DROP: u8 = 1;
const fn table() -> [u8; 256] {
    let mut table = [PLAIN; 256];
    let mut b = 0;
    while b < 0x20 {
        table[b] = DROP;
        b += 1;
    }
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
}
static ESCAPES: [u8; 256] = table();

/// Writes a text as the inside of a JSON string; control characters that FHIR forbids are left out.
pub(super) fn write(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let plain = plain(text);
        out.extend_from_slice(&text[..plain]);
        let Some(special) = text.get(plain) else { return };
        match ESCAPES[usize::from(*special)] {
            DROP => {}
            escape => out.extend_from_slice(&[b'\\', escape]),
        }
        text = &text[plain + 1..];
    }
}

/// How many bytes from the start stand for themselves. Eight are looked at in one step: a byte that is below
/// 0x20, a quote or a backslash leaves its highest bit set, and none before the first such byte.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let below = |x: u64, n: u8| x.wrapping_sub(ONES * u64::from(n)) & !x & HIGH;
    let (chunks, rest) = text.as_chunks::<8>();
    for (i, chunk) in chunks.iter().enumerate() {
        let x = u64::from_le_bytes(*chunk);
        let special =
            below(x, 0x20) | below(x ^ (ONES * u64::from(b'"')), 1) | below(x ^ (ONES * u64::from(b'\\')), 1);
        if special != 0 {
            return i * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let special = rest.iter().position(|b| ESCAPES[usize::from(*b)] != PLAIN);
    chunks.len() * 8 + special.unwrap_or(rest.len())
}

/// Writes a text as the inside of a JSON string that is XHTML.
pub(super) fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b'&' | b'<' | b'>' | b'"' | b'\'');
    while let Some(at) = text.iter().position(special) {
        write(&text[..at], out);
        out.extend_from_slice(match text[at] {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            _ => b"&#39;",
        });
        text = &text[at + 1..];
    }
    write(text, out);
}

/// Writes JSON on one line. Strings hold no raw line feed, so those that are there stand between tokens.
pub(super) fn write_json(mut json: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr2(b'\n', b'\r', json) {
        out.extend_from_slice(&json[..at]);
        json = &json[at + 1..];
    }
    out.extend_from_slice(json);
}

/// `null`, `[]`, `{}` and `""` are no content.
pub(super) fn is_empty_json(json: &[u8]) -> bool {
    let json = trim(json);
    match json {
        b"null" | b"\"\"" => true,
        [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] => trim(inner).is_empty(),
        _ => false,
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a uuid in its usual form.
pub(super) fn write_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (b, at) in uuid.iter().zip(PLACES) {
        text[at] = HEX[usize::from(b >> 4)];
        text[at + 1] = HEX[usize::from(b & 15)];
    }
    out.extend_from_slice(&text);
}

/// Writes an integer.
pub(super) fn write_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes bytes in base64, straight to their place.
pub(super) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    use base64::Engine as _;
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    base64::engine::general_purpose::STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("the room is four bytes for three, as base64 needs");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_text_becomes_a_json_string_without_what_fhir_forbids() {
        let text = "a\"b\\c\td\ne\r\u{1}\u{1f}\u{7f}ä\u{2028}😀/";
        let json = format!("\"{}\"", written(|out| write(text.as_bytes(), out)));
        let read: String = serde_json::from_str(&json).unwrap();
        assert_eq!(read, "a\"b\\c\td\ne\r\u{7f}ä\u{2028}😀/");
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for special in [0_u8, 0x1f, b'"', b'\\', b'\n'] {
            for at in 0..40 {
                let mut text = "aé\u{7f}ÿ !#[]~".repeat(4).into_bytes();
                text.truncate(40);
                text[at] = special;
                assert_eq!(plain(&text), at, "{special} at {at}");
                assert_eq!(plain(&text[..at]), at);
            }
        }
    }

    #[test]
    fn blanks_at_the_ends_are_cut() {
        assert_eq!(trim(b" \t\x01 a b\n "), b"a b");
        assert_eq!(trim(b" \n\x00"), b"");
        assert!(equals(b"a\x01b", b"ab") && equals(b"ab", b"ab") && !equals(b"a", b"ab"));
    }

    #[test]
    fn xhtml_is_escaped_within_json() {
        assert_eq!(
            written(|out| write_escaped(b"<a href='x'>\"&\"\n", out)),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;\\n"
        );
    }

    #[test]
    fn json_comes_on_one_line() {
        assert_eq!(written(|out| write_json(b"[{\"a\":1},\r\n {\"b\":2}]\n", out)), "[{\"a\":1}, {\"b\":2}]");
        for empty in ["null", "[]", "{ }", "\"\"", " [ \n] "] {
            assert!(is_empty_json(empty.as_bytes()), "{empty}");
        }
        assert!(!is_empty_json(b"[null]") && !is_empty_json(b"0"));
    }

    #[test]
    fn uuids_integers_and_bytes_have_their_usual_form() {
        let uuid = *uuid::Uuid::parse_str("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b").unwrap().as_bytes();
        assert_eq!(written(|out| write_uuid(&uuid, out)), "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b");
        assert_eq!(written(|out| write_integer(i64::MIN, out)), i64::MIN.to_string());
        assert_eq!(written(|out| write_base64(b"a\xff", out)), "Yf8=");
    }
}

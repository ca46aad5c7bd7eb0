//! Writes one compact JSON object into a reused buffer. Documents are written, never built as trees: a
//! million of them take seconds, and a decimal keeps the digits it was given.

use super::codes::Code;
use super::moment::Moment;
use headgate_domain::ResourceType;

/// The object being written.
#[derive(Debug, Default)]
pub(super) struct Json {
    bytes: Vec<u8>,
    /// Whether the document has its narrative (`text`) already.
    has_narrative: bool,
}

/// A number with a fixed count of decimals: `Decimal(710, 2)` is `7.10`, and stays `7.10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal(pub i64, pub u32);

impl Json {
    /// Starts a resource: its type, id and meta, with `profile` below `http://hl7.org/fhir/us/core/`.
    pub(super) fn begin(&mut self, t: ResourceType, id: &str, updated: Moment, profile: &str) {
        self.bytes.clear();
        self.has_narrative = false;
        self.bytes.push(b'{');
        self.text("resourceType", t.name());
        self.text("id", id);
        self.object("meta", |meta| {
            meta.instant("lastUpdated", updated);
            meta.list("profile", |list| {
                list.string(&["http://hl7.org/fhir/us/core/StructureDefinition/", profile]);
            });
        });
    }

    /// Ends the resource, padded with a narrative to `line_bytes` if it is shorter, and returns its bytes
    /// with a line feed. (Narrative: FHIR R4, `DomainResource.text`: XHTML within JSON.)
    pub(super) fn finish(&mut self, line_bytes: Option<usize>, filler: &mut Filler) -> &[u8] {
        const OPEN: &str =
            r#","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">"#;
        const CLOSE: &str = "</div>\"}";
        let wanted = line_bytes.unwrap_or(0).saturating_sub(self.bytes.len() + OPEN.len() + CLOSE.len() + 1);
        if wanted > 0 && !self.has_narrative {
            self.bytes.extend_from_slice(OPEN.as_bytes());
            filler.write(wanted, &mut self.bytes);
            self.bytes.extend_from_slice(CLOSE.as_bytes());
        }
        self.bytes.extend_from_slice(b"}\n");
        &self.bytes
    }

    /// The narrative of a resource; `xhtml` goes within its `div`.
    pub(super) fn narrative(&mut self, xhtml: &str) {
        self.has_narrative = true;
        self.object("text", |text| {
            text.text("status", "generated");
            text.key("div");
            text.string(&["<div xmlns=\"http://www.w3.org/1999/xhtml\">", xhtml, "</div>"]);
        });
    }

    /// A comma, unless this is the first member of its object or list.
    fn separate(&mut self) {
        if !matches!(self.bytes.last(), None | Some(b'{' | b'[' | b':')) {
            self.bytes.push(b',');
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    /// A string (an element of a list, or the value after a key) of several parts.
    pub(super) fn string(&mut self, parts: &[&str]) {
        self.separate();
        self.bytes.push(b'"');
        for part in parts {
            escape(part, &mut self.bytes);
        }
        self.bytes.push(b'"');
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(&[value]);
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.bytes.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn decimal(&mut self, key: &str, value: Decimal) {
        self.key(key);
        self.bytes.extend_from_slice(value.to_string().as_bytes());
    }

    pub(super) fn object(&mut self, key: &str, members: impl FnOnce(&mut Self)) {
        self.key(key);
        self.item(members);
    }

    /// An object as element of a list.
    pub(super) fn item(&mut self, members: impl FnOnce(&mut Self)) {
        self.separate();
        self.bytes.push(b'{');
        members(self);
        self.bytes.push(b'}');
    }

    pub(super) fn list(&mut self, key: &str, elements: impl FnOnce(&mut Self)) {
        self.key(key);
        self.bytes.push(b'[');
        elements(self);
        self.bytes.push(b']');
    }

    /// A list of one object, as FHIR has so many.
    pub(super) fn one(&mut self, key: &str, members: impl FnOnce(&mut Self)) {
        self.list(key, |list| list.item(members));
    }

    pub(super) fn instant(&mut self, key: &str, at: Moment) {
        self.time(key, |out| at.write_instant(out));
    }

    pub(super) fn local(&mut self, key: &str, at: Moment) {
        self.time(key, |out| at.write_local(out));
    }

    pub(super) fn date(&mut self, key: &str, at: Moment) {
        self.time(key, |out| at.write_date(out));
    }

    fn time(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.bytes.push(b'"');
        write(&mut self.bytes);
        self.bytes.push(b'"');
    }

    pub(super) fn period(&mut self, key: &str, start: Moment, end: Moment) {
        self.object(key, |period| {
            period.local("start", start);
            period.local("end", end);
        });
    }

    pub(super) fn reference(&mut self, key: &str, t: ResourceType, id: &str) {
        self.object(key, |r| r.target(t, id));
    }

    /// The member `reference` of a Reference that is being written.
    pub(super) fn target(&mut self, t: ResourceType, id: &str) {
        self.key("reference");
        self.string(&[t.name(), "/", id]);
    }

    pub(super) fn coding(&mut self, code: &Code) {
        self.item(|coding| {
            coding.text("system", code.system);
            coding.text("code", code.code);
            if !code.display.is_empty() {
                coding.text("display", code.display);
            }
        });
    }

    /// The members of a CodeableConcept: the codings, and the first one's display as text.
    pub(super) fn concept_of(&mut self, codes: &[&Code]) {
        self.list("coding", |list| codes.iter().for_each(|code| list.coding(code)));
        if let Some(first) = codes.first().filter(|code| !code.display.is_empty()) {
            self.text("text", first.display);
        }
    }

    pub(super) fn concept(&mut self, key: &str, code: &Code) {
        self.object(key, |concept| concept.concept_of(&[code]));
    }

    /// A list of one CodeableConcept.
    pub(super) fn concepts(&mut self, key: &str, code: &Code) {
        self.one(key, |concept| concept.concept_of(&[code]));
    }

    /// A Quantity in UCUM units.
    pub(super) fn quantity(&mut self, key: &str, value: Decimal, unit: &str) {
        self.object(key, |quantity| {
            quantity.decimal("value", value);
            quantity.text("unit", unit);
            quantity.text("system", "http://unitsofmeasure.org");
            quantity.text("code", unit);
        });
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Decimal(scaled, decimals) = *self;
        if decimals == 0 {
            return write!(f, "{scaled}");
        }
        let unit = 10_i64.pow(decimals);
        let sign = if scaled < 0 { "-" } else { "" };
        let (whole, rest) = (scaled.abs() / unit, scaled.abs() % unit);
        write!(f, "{sign}{whole}.{rest:0width$}", width = decimals as usize)
    }
}

/// Escapes what JSON demands (RFC 8259, 7): quotes, backslashes, control characters. Everything else,
/// also U+2028, stays as it is.
fn escape(text: &str, out: &mut Vec<u8>) {
    let needs_escape = |b: u8| b == b'"' || b == b'\\' || b < 0x20;
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| needs_escape(*b)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Text for long lines: sentences in a turning order, so that lines differ and compress like prose.
#[derive(Debug, Default)]
pub(super) struct Filler {
    turn: usize,
}

/// Safe in XHTML; escapes and characters of two and three bytes are whole within a sentence.
const SENTENCES: [&str; 7] = [
    "The patient was seen today, feels well and has no new complaints; results were reviewed together. ",
    r#"Quoted from the referral: \"stabil, keine Änderung der Medikation empfohlen\" (translated on request). "#,
    r"Plan:\n\t1. continue the present medication\n\t2. repeat the laboratory panel in three months\n",
    "Señora Núñez accompanied the patient; Dr. Łukasz Wójcik was informed by telephone. ",
    "Blood pressure at home between 118 and 134 systolic, pulse regular, weight stable within 0.50 kg. ",
    r"Path of the scanned letter: C:\\scans\\2024\\letter.tif, page 2 of 3. ",
    "Lesion on the left forearm, 4.0 mm, well demarcated, unchanged since the previous examination. ",
];

impl Filler {
    /// Writes exactly `len` bytes of escaped text.
    fn write(&mut self, len: usize, out: &mut Vec<u8>) {
        let end = out.len() + len;
        loop {
            self.turn = self.turn.wrapping_mul(5).wrapping_add(3);
            let sentence = SENTENCES[(self.turn >> 4) % SENTENCES.len()];
            if out.len() + sentence.len() > end {
                out.resize(end, b'.');
                return;
            }
            out.extend_from_slice(sentence.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_keeps_its_trailing_zeros() {
        assert_eq!(Decimal(710, 2).to_string(), "7.10");
        assert_eq!(Decimal(-5, 1).to_string(), "-0.5");
        assert_eq!(Decimal(120, 0).to_string(), "120");
        assert_eq!(Decimal(7, 3).to_string(), "0.007");
    }

    #[test]
    fn a_text_comes_back_from_a_parser_as_it_was() {
        for text in ["", "\"\\\n\r\t\u{1}", "é e\u{301} 王 \u{2028} {[:,", "{"] {
            let mut json = Json::default();
            json.item(|object| {
                object.text("a", text);
                object.list("b", |list| list.string(&[text, text]));
            });
            let parsed: serde_json::Value = serde_json::from_slice(&json.bytes).unwrap();
            assert_eq!(parsed, serde_json::json!({"a": text, "b": [format!("{text}{text}")]}));
        }
    }

    #[test]
    fn a_padded_line_is_valid_and_exactly_as_long_as_asked() {
        let mut filler = Filler::default();
        for length in [400, 401, 997, 5000] {
            let mut json = Json::default();
            json.begin(ResourceType::Goal, "g", Moment(0), "us-core-goal");
            let line = json.finish(Some(length), &mut filler);
            assert_eq!(line.len(), length + 1);
            assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        }
    }
}

//! Small PDF files of plain text: a catalog, pages in Helvetica, a cross-reference table (ISO 32000-1, 7.5).

use std::io::Write as _;

/// Lines of a page, at a leading of 14 points on US Letter.
const PAGE_LINES: usize = 48;

/// Characters of a line, at 10 points and with margins of an inch; longer ones are broken.
const LINE_CHARS: usize = 84;

/// The number of the first object after catalog, page tree and font; each page has two.
const FIRST_PAGE: usize = 4;

/// A document of this text. Characters outside of Latin-1 become question marks, as the standard fonts have
/// no others.
pub(super) fn from_text(text: &str) -> Vec<u8> {
    let lines: Vec<String> = text.lines().flat_map(broken).collect();
    let pages: Vec<&[String]> = if lines.is_empty() { vec![&[]] } else { lines.chunks(PAGE_LINES).collect() };
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", FIRST_PAGE + 2 * page)).collect();
    let mut file = File::new();
    file.object(b"<< /Type /Catalog /Pages 2 0 R >>");
    let tree = format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len());
    file.object(tree.as_bytes());
    file.object(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>");
    for (number, lines) in pages.iter().enumerate() {
        let content = FIRST_PAGE + 2 * number + 1;
        file.object(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> \
                 /Contents {content} 0 R >>"
            )
            .as_bytes(),
        );
        file.object(&stream(lines));
    }
    file.finish()
}

/// The content of a page: each line is shown, then the next begins 14 points below.
fn stream(lines: &[String]) -> Vec<u8> {
    let mut content = b"BT /F1 10 Tf 14 TL 72 720 Td\n".to_vec();
    for line in lines {
        content.push(b'(');
        for character in line.chars() {
            match u8::try_from(u32::from(character)) {
                Ok(byte @ (b'(' | b')' | b'\\')) => content.extend_from_slice(&[b'\\', byte]),
                Ok(byte @ (b' '..=b'~' | 0xA0..)) => content.push(byte),
                _ => content.push(b'?'),
            }
        }
        content.extend_from_slice(b") Tj T*\n");
    }
    content.extend_from_slice(b"ET");
    let mut object = format!("<< /Length {} >>\nstream\n", content.len()).into_bytes();
    object.extend_from_slice(&content);
    object.extend_from_slice(b"\nendstream");
    object
}

fn broken(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in line.replace('\t', "    ").split(' ') {
        let used = parts.last().map_or(0, |part| part.chars().count());
        if used > 0 && used + 1 + word.chars().count() > LINE_CHARS {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(word);
        }
    }
    parts
}

/// A file being written, and where its objects begin.
struct File {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl File {
    /// The comment with bytes above 127 tells programs that the file is binary (7.5.2).
    fn new() -> Self {
        Self { bytes: b"%PDF-1.4\n%\xE2\xE3\xCF\xD3\n".to_vec(), offsets: Vec::new() }
    }

    fn object(&mut self, body: &[u8]) {
        self.offsets.push(self.bytes.len());
        writeln!(self.bytes, "{} 0 obj", self.offsets.len()).expect("a Vec takes everything");
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(b"\nendobj\n");
    }

    /// Cross-reference entries are exactly 20 bytes long, with their end of line of two (7.5.4).
    fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len();
        let size = self.offsets.len() + 1;
        write!(self.bytes, "xref\n0 {size}\n0000000000 65535 f \n").expect("a Vec takes everything");
        for offset in &self.offsets {
            writeln!(self.bytes, "{offset:010} 00000 n ").expect("a Vec takes everything");
        }
        write!(self.bytes, "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n")
            .expect("a Vec takes everything");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file by its cross-reference table and returns its objects.
    fn objects(file: &[u8]) -> Vec<String> {
        let text: String = file.iter().map(|byte| char::from(*byte)).collect();
        let start: usize =
            text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        let table: Vec<char> = text.chars().skip(start).collect();
        let table: String = table.into_iter().collect();
        let mut lines = table.lines();
        assert_eq!(lines.next(), Some("xref"));
        let count: usize = lines.next().unwrap().strip_prefix("0 ").unwrap().parse().unwrap();
        let characters: Vec<char> = text.chars().collect();
        (1..count)
            .map(|number| {
                let entry = lines.clone().nth(number).unwrap();
                assert_eq!(entry.len(), 19, "20 bytes with the line feed");
                let offset: usize = entry[..10].parse().unwrap();
                let object: String = characters[offset..].iter().collect();
                assert!(object.starts_with(&format!("{number} 0 obj\n")), "{entry}");
                object.split("\nendobj").next().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn every_object_stands_where_the_cross_reference_table_says() {
        let objects = objects(&from_text("Visit summary (draft)\n\nWójcik \\ Zoë"));
        assert_eq!(objects.len(), 5);
        assert!(objects[0].contains("/Catalog") && objects[1].contains("/Count 1"));
        assert!(objects[4].contains("(Visit summary \\(draft\\)) Tj"), "{}", objects[4]);
        assert!(objects[4].contains("(W\u{f3}jcik \\\\ Zo\u{eb}) Tj"));
        let length: usize =
            objects[4].split("/Length ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let content = objects[4].split("stream\n").nth(1).unwrap().strip_suffix("\nendstream").unwrap();
        assert_eq!(content.chars().count(), length);
    }

    #[test]
    fn a_long_text_has_several_pages_and_long_lines_are_broken() {
        let long = format!("{}\n{}", "word ".repeat(60), "line\n".repeat(100));
        let objects = objects(&from_text(&long));
        assert!(objects[1].contains("/Count 3"), "{}", objects[1]);
        assert!(from_text("").starts_with(b"%PDF-1.4"));
    }
}

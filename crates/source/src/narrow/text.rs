//! Finished resources in `text` and `json`: what must appear in the body.
//!
//! A text of plain characters stands in JSON as it is, unless somebody wrote it with escapes: a body with `\u`
//! in it passes, and where the text has a slash one with `\/`.

use headgate_domain::search::{Criterion, Value};

use super::wanted::{self, Wanted};

/// The body. Compared byte by byte: the column's collation may be one that cannot be searched.
const BODY: &str = "r.resource::text COLLATE \"C\"";

pub(super) fn wanted(criterion: &Criterion) -> Wanted {
    let mut has_slash = false;
    let mut any = Vec::new();
    for value in &criterion.values {
        let Some(texts) = texts(value) else { return Wanted::Always };
        if texts.iter().any(|text| text.contains('\0')) {
            continue;
        }
        if !texts.iter().all(|text| is_plain(text)) {
            return Wanted::Always;
        }
        has_slash |= texts.iter().any(|text| text.contains('/'));
        any.push(Wanted::all(
            texts
                .into_iter()
                .map(|text| Wanted::test(format!("strpos({BODY}, "), wanted::Value::Text(text), ") > 0")),
        ));
    }
    if any.is_empty() {
        return Wanted::Never;
    }
    let escapes = [Some(r"E'\\u'"), has_slash.then_some(r"E'\\/'")];
    let escapes = escapes.into_iter().flatten();
    let escaped = escapes.map(|escape| Wanted::sql(format!("strpos({BODY}, {escape}) > 0")));
    Wanted::any(any.into_iter().chain(escaped))
}

/// What must appear for the value to be there, all of it; none if nothing must.
fn texts(value: &Value) -> Option<Vec<String>> {
    let quoted = |text: &str| format!("\"{text}\"");
    match value {
        Value::Token { system, code } => {
            let system = system.as_deref().filter(|system| !system.is_empty()).map(quoted);
            // A boolean has no quotes.
            let code = code.as_deref().map(|code| match code {
                "true" | "false" => code.to_owned(),
                code => quoted(code),
            });
            Some(system.into_iter().chain(code).collect())
        }
        // Alone, behind a type, or with a version behind it.
        Value::Reference { id, .. } | Value::Id(id) => Some(vec![id.clone()]),
        // Can be written in many ways.
        Value::Date { .. } => None,
    }
}

/// Whether all characters stand for themselves within JSON, but for the quotes around a string.
fn is_plain(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    inner.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'))
}

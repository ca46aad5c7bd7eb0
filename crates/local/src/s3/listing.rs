//! Listing a bucket in key order, page by page.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::key::OBJECT;

/// What a page is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    pub(super) prefix: String,
    /// Keys that contain this after the prefix are folded into one common prefix. Not empty.
    pub(super) delimiter: Option<String>,
    /// Only keys after this one.
    pub(super) after: Option<Position>,
    /// Most keys and common prefixes together.
    pub(super) limit: usize,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    Key(String),
    /// All keys that begin with this are done.
    Prefix(String),
}

impl Position {
    /// As an opaque continuation token.
    pub(super) fn token(&self) -> String {
        match self {
            Self::Key(key) => format!("k{}", hex::encode(key)),
            Self::Prefix(prefix) => format!("p{}", hex::encode(prefix)),
        }
    }

    /// Reads a continuation token. `None` if it is none of ours.
    pub(super) fn parse(token: &str) -> Option<Self> {
        let text = String::from_utf8(hex::decode(token.get(1..)?).ok()?).ok()?;
        match token.get(..1)? {
            "k" => Some(Self::Key(text)),
            "p" => Some(Self::Prefix(text)),
            _ => None,
        }
    }
}

/// One page: keys and common prefixes, each in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) keys: Vec<String>,
    pub(super) prefixes: Vec<String>,
    /// Where the next page goes on; `None` on the last one.
    pub(super) next: Option<Position>,
}

/// Lists one page of the bucket in a folder. Blocking.
pub(super) fn page(bucket: &Path, query: &Query) -> io::Result<Page> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let mut last = None;
    let floor = match &query.after {
        None => "",
        Some(Position::Key(text) | Position::Prefix(text)) => text,
    };
    let mut visit = |key: &str| {
        let item = item(key, query);
        let done = Some(&item) == query.after.as_ref() || Some(&item) == last.as_ref();
        if done && matches!(item, Position::Prefix(_)) {
            return ControlFlow::Continue(());
        }
        if page.keys.len() + page.prefixes.len() == query.limit {
            page.next = last.take();
            return ControlFlow::Break(());
        }
        match &item {
            Position::Key(key) => page.keys.push(key.clone()),
            Position::Prefix(prefix) => page.prefixes.push(prefix.clone()),
        }
        last = Some(item);
        ControlFlow::Continue(())
    };
    let _ended_early = walk(bucket, "", &query.prefix, floor, &mut visit)?;
    Ok(page)
}

fn item(key: &str, query: &Query) -> Position {
    let folded = query.delimiter.as_ref().and_then(|delimiter| {
        let start = query.prefix.len();
        let end = start + key.get(start..)?.find(delimiter.as_str())? + delimiter.len();
        Some(Position::Prefix(key[..end].to_owned()))
    });
    folded.unwrap_or_else(|| Position::Key(key.to_owned()))
}

/// Calls `visit` with every key that begins with `prefix` and comes after `floor`, in byte order.
///
/// A folder sorts as its name with the slash, which is where its keys belong among the files beside it.
fn walk(
    folder: &Path,
    base: &str,
    prefix: &str,
    floor: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.file_type()?.is_dir() {
            names.push(format!("{base}{name}/"));
        } else if let Some(name) = name.strip_suffix(OBJECT).filter(|name| !name.starts_with(OBJECT)) {
            names.push(format!("{base}{name}"));
        }
    }
    names.sort_unstable();
    for name in names {
        let flow = if name.ends_with('/') {
            let apart = !name.starts_with(prefix) && !prefix.starts_with(&name);
            let before = name.as_str() < floor && !floor.starts_with(&name);
            if apart || before {
                continue;
            }
            let below = folder.join(&name[base.len()..]);
            match walk(&below, &name, prefix, floor, visit) {
                // A delete has just removed the folder as empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound => ControlFlow::Continue(()),
                flow => flow?,
            }
        } else if name.starts_with(prefix) && name.as_str() > floor {
            visit(&name)
        } else {
            ControlFlow::Continue(())
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::super::key::object_path;
    use super::*;

    fn bucket(keys: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for key in keys {
            let file = folder.path().join(object_path(key).unwrap());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        fs::write(folder.path().join("%tmp-abc"), "").unwrap();
        folder
    }

    /// Follows the pages of at most `limit`; each item as text.
    fn all(bucket: &Path, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let delimiter = delimiter.map(str::to_owned);
        let mut query = Query { prefix: prefix.to_owned(), delimiter, after: None, limit };
        let mut found = Vec::new();
        loop {
            let page = page(bucket, &query).unwrap();
            assert!(page.keys.len() + page.prefixes.len() <= limit);
            found.extend(page.keys);
            found.extend(page.prefixes);
            let Some(next) = page.next else { break };
            query.after = Some(Position::parse(&next.token()).unwrap());
        }
        found.sort();
        found
    }

    #[test]
    fn keys_come_in_byte_order_whatever_is_a_folder() {
        let folder = bucket(&["a/b", "a", "a-b", "a/b/c", "a0", "a.b"]);
        let query = Query { limit: 10, ..Query::default() };
        let keys = page(folder.path(), &query).unwrap().keys;
        assert_eq!(keys, ["a", "a-b", "a.b", "a/b", "a/b/c", "a0"]);
    }

    #[test]
    fn pages_of_any_size_give_every_key_once() {
        let keys: Vec<String> =
            (0..40).map(|n| format!("ema/{}/e{}/Patient_{n}.ndjson", n % 3, n % 5)).collect();
        let folder = bucket(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let mut expected = keys.clone();
        expected.sort();
        for limit in [1, 2, 7, 39, 40, 41] {
            assert_eq!(all(folder.path(), "", None, limit), expected, "pages of {limit}");
        }
        expected.retain(|key| key.starts_with("ema/1/e"));
        assert_eq!(all(folder.path(), "ema/1/e", None, 3), expected);
    }

    #[test]
    fn a_delimiter_folds_keys_into_common_prefixes_across_pages() {
        let folder = bucket(&["p/a/1", "p/a/2", "p/b", "p/c/1/2", "q"]);
        for limit in [1, 2, 3, 10] {
            assert_eq!(
                all(folder.path(), "p/", Some("/"), limit),
                ["p/a/", "p/b", "p/c/"],
                "pages of {limit}"
            );
            assert_eq!(all(folder.path(), "", Some("/"), limit), ["p/", "q"]);
        }
    }

    #[test]
    fn a_foreign_token_is_not_understood() {
        for token in ["", "x00", "kzz", "k0", "kff", "é"] {
            assert_eq!(Position::parse(token), None, "{token:?}");
        }
    }
}

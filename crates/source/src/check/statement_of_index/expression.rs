//! Expressions as the planner writes them, as far as they have to be understood to be put into an index.

use std::collections::BTreeSet;
use std::fmt;

use crate::identifier;

/// A column or expression of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub expression: String,
    is_text: bool,
}

impl Part {
    /// A column that is compared by its bytes.
    pub fn text(expression: &str) -> Self {
        Self { expression: expression.to_owned(), is_text: true }
    }

    /// Any other column.
    pub fn plain(expression: &str) -> Self {
        Self { expression: expression.to_owned(), is_text: false }
    }

    /// Whether the column of an index is this, but for brackets.
    pub fn is(&self, column: &str, collation: &str) -> bool {
        let bare = |text: &str| text.replace(['(', ')', ' '], "");
        bare(column) == bare(&self.expression) && (!self.is_text || matches!(collation, "C" | "POSIX"))
    }

    /// As a statement on its table writes it: `(p.patient_id)::text` is `patient_id::text`.
    pub fn without_aliases<'a>(mut self, aliases: impl Iterator<Item = &'a String> + Clone) -> Self {
        self.expression = without_aliases(&self.expression, aliases);
        self
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collation = if self.is_text { " COLLATE \"C\"" } else { "" };
        if identifier::is_valid(&self.expression) {
            write!(f, "{}{collation}", self.expression)
        } else {
            write!(f, "({}){collation}", self.expression)
        }
    }
}

/// Without the brackets around the whole.
pub(super) fn trimmed(expression: &str) -> &str {
    let Some(inner) = expression.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else {
        return expression;
    };
    let mut depth = 0_i32;
    for c in inner.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return expression;
        }
    }
    trimmed(inner)
}

/// A subquery cannot stand in an index. Of functions that are not immutable the planner says nothing;
/// `CREATE INDEX` will.
pub(super) fn can_be_indexed(expression: &str) -> bool {
    !expression.contains("SubPlan")
}

/// The aliases before the columns of an expression.
pub(super) fn aliases<'a>(expression: &str, known: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    known.map(String::as_str).filter(|alias| find(expression, alias).is_some()).collect()
}

/// Whether an expression is a column and nothing but casts of it.
pub(super) fn is_made_of(expression: &str, column: &str) -> bool {
    let (base, cast) = expression.split_once("::").unwrap_or((expression, "text"));
    trimmed(base) == column && identifier::is_valid(cast)
}

/// The columns that a condition compares with one value: `type` of `(l.type = 'allergy'::text)`.
pub(super) fn pinned(condition: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    condition.match_indices(" = ").map(move |(place, _)| {
        let before = &condition[..place];
        &before[before.trim_end_matches(is_name).len()..]
    })
}

fn without_aliases<'a>(expression: &str, aliases: impl Iterator<Item = &'a String>) -> String {
    let mut text = expression.to_owned();
    for alias in aliases {
        while let Some(place) = find(&text, alias) {
            text.replace_range(place..=place + alias.len(), "");
        }
    }
    match text.strip_prefix('(').and_then(|text| text.split_once(')')) {
        Some((column, cast)) if identifier::is_valid(column) && cast.starts_with("::") => {
            format!("{column}{cast}")
        }
        _ => text,
    }
}

/// Where `alias.` begins, as a word of its own and outside of texts.
fn find(expression: &str, alias: &str) -> Option<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '"');
    expression.match_indices(alias).map(|(place, _)| place).find(|place| {
        let (before, after) = (&expression[..*place], &expression[*place + alias.len()..]);
        after.starts_with('.') && !before.ends_with(is_word) && before.matches('\'').count() % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_loses_the_alias_of_its_table_and_brackets_that_say_nothing() {
        let names = ["p".to_owned(), "t".to_owned()];
        for (expression, index) in [
            ("p.id", "id"),
            ("((p.id)::text)", "id::text"),
            ("(p.at AT TIME ZONE 'p.m/New_York'::text)", "at AT TIME ZONE 'p.m/New_York'::text"),
            ("(('l'::text || (p.id)::text))", "'l'::text || (id)::text"),
            ("(p.a) + (p.b)", "(a) + (b)"),
            ("ehr.up.p(t.id)", "ehr.up.p(id)"),
        ] {
            assert_eq!(without_aliases(trimmed(expression), names.iter()), index);
        }
    }

    #[test]
    fn what_a_condition_pins_is_found() {
        let found: Vec<&str> =
            pinned("((l.type = 'allergy'::text) AND (l.n > 1) AND (activity = 1))").collect();
        assert_eq!(found, ["type", "activity"]);
    }

    #[test]
    fn an_id_is_made_of_its_key_when_it_is_cast_only() {
        assert!(is_made_of("(p.id)::text", "p.id"));
        assert!(is_made_of("p.id", "p.id"));
        assert!(!is_made_of("'l'::text || (p.id)::text", "p.id"));
        assert!(!is_made_of("(p.uuid)::text", "p.id"));
    }
}

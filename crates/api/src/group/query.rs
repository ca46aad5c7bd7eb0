//! The query of a search for groups (FHIR R4, Search), parsed at the edge.
//!
//! `_id`, `identifier` and `name`, each with alternatives separated by commas; a parameter given twice has to be met
//! twice. `name` is met by names that begin with the text, in either case. Modifiers are not supported. Each group is held
//! against everything that is asked for, so a query has a bound.

use headgate_domain::outcome::{Issue, IssueCode, OperationOutcome};
use headgate_store::ExportableGroup;
use url::form_urlencoded::{self, Serializer};

/// Groups on a page at most, and where the query names no number.
const PAGE: usize = 100;

/// Parameters and further alternatives of a query at most.
const MOST: usize = 100;

/// Longest name of a parameter that is quoted back.
const QUOTED: usize = 64;

/// A query that is understood.
#[derive(Debug, Default)]
pub(crate) struct Query {
    criteria: Vec<Criterion>,
    count: Option<usize>,
    /// Only groups behind this id: the next page. By id, so that groups that come or go meanwhile shift nothing.
    after: Option<String>,
    ignored: Vec<Issue>,
}

/// One parameter, as it was written and with its alternatives; those of a name are in lower case.
#[derive(Debug)]
struct Criterion {
    field: Field,
    text: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Identifier,
    Name,
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        [Field::Id, Field::Identifier, Field::Name].into_iter().find(|field| field.text() == name)
    }

    fn text(self) -> &'static str {
        match self {
            Field::Id => "_id",
            Field::Identifier => "identifier",
            Field::Name => "name",
        }
    }
}

impl Criterion {
    fn new(field: Field, text: &str) -> Self {
        let mut values = alternatives(text);
        if field == Field::Name {
            for value in &mut values {
                *value = value.to_lowercase();
            }
        }
        Self { field, text: text.to_owned(), values }
    }
}

impl Query {
    /// Parses a raw query string.
    ///
    /// # Errors
    /// Every issue found; of a query that asks for too much, this one. With lenient handling unknown parameters are
    /// ignored, and noted.
    pub(crate) fn parse(query: &str, lenient: bool) -> Result<Self, Vec<Issue>> {
        let mut parsed = Self::default();
        let mut errors = Vec::new();
        let mut parts = 0;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let criterion = Field::named(&name).map(|field| Criterion::new(field, &value));
            parts += criterion.as_ref().map_or(1, |criterion| criterion.values.len().max(1));
            if parts > MOST {
                let text = format!("a search for groups has at most {MOST} parameters and alternatives");
                return Err(vec![Issue::error(IssueCode::TooCostly, text)]);
            }
            if let Some(criterion) = criterion {
                parsed.criteria.push(criterion);
                continue;
            }
            match name.as_ref() {
                "_count" => match value.parse() {
                    Ok(count) => parsed.count = Some(count),
                    Err(_) => errors.push(Issue::error(IssueCode::Value, "_count is a number")),
                },
                "_after" => parsed.after = Some(value.into_owned()),
                // The one format there is.
                "_format" if matches!(value.as_ref(), "json" | "application/json" | "application/fhir+json") => {}
                "_format" => errors.push(Issue::error(IssueCode::NotSupported, "the only _format is json")),
                _ if lenient => parsed.ignored.push(Issue::warning(
                    IssueCode::NotSupported,
                    format!("the parameter {} was ignored (handling=lenient)", quoted(&name)),
                )),
                _ => errors.push(Issue::error(
                    IssueCode::NotSupported,
                    format!(
                        "the parameter {} is not supported here: groups are found by _id, identifier and name, \
                         in pages of _count",
                        quoted(&name)
                    ),
                )),
            }
        }
        if errors.is_empty() { Ok(parsed) } else { Err(errors) }
    }

    /// Whether a group is among those that are asked for. `system` is that of the groups' identifiers.
    pub(crate) fn matches(&self, group: &ExportableGroup, system: &str) -> bool {
        let name = group.name.as_deref().unwrap_or_default().to_lowercase();
        self.criteria.iter().all(|criterion| {
            criterion.values.iter().any(|value| match criterion.field {
                Field::Id => *value == group.group_id,
                Field::Identifier => match value.split_once('|') {
                    Some((of, "")) => of == system,
                    Some((of, id)) => of == system && id == group.group_id,
                    None => *value == group.group_id,
                },
                Field::Name => name.starts_with(value.as_str()),
            })
        })
    }

    /// The page of the groups that match, given by id, and whether more follow.
    pub(crate) fn page<'a>(&self, groups: &'a [ExportableGroup]) -> (&'a [ExportableGroup], bool) {
        let behind =
            |group: &ExportableGroup| self.after.as_ref().is_none_or(|after| group.group_id > *after);
        let first = groups.iter().position(behind).unwrap_or(groups.len());
        let length = self.count.unwrap_or(PAGE).min(PAGE);
        let rest = groups.get(first..).unwrap_or_default();
        rest.get(..length).map_or((rest, false), |page| (page, rest.len() > length))
    }

    /// What was ignored, to be told.
    pub(crate) fn ignored(&self) -> Option<OperationOutcome> {
        (!self.ignored.is_empty()).then(|| OperationOutcome::new(self.ignored.clone()))
    }

    /// The URL of this page, of what was understood.
    pub(crate) fn url(&self, base: &str) -> String {
        self.url_of(base, self.after.as_deref())
    }

    /// The URL of the page behind a group.
    pub(crate) fn url_after(&self, base: &str, last: &str) -> String {
        self.url_of(base, Some(last))
    }

    fn url_of(&self, base: &str, after: Option<&str>) -> String {
        let mut query = Serializer::new(String::new());
        if let Some(count) = self.count {
            query.append_pair("_count", &count.to_string());
        }
        for criterion in &self.criteria {
            query.append_pair(criterion.field.text(), &criterion.text);
        }
        if let Some(after) = after {
            query.append_pair("_after", after);
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}/Group{mark}{query}")
    }
}

fn quoted(name: &str) -> String {
    name.chars().take(QUOTED).collect()
}

/// The alternatives of a value: between commas, where no backslash stands before (FHIR R4, Search, Escaping). None
/// is empty, for every name begins with nothing.
fn alternatives(text: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => values.push(String::new()),
            c => {
                let c = if c == '\\' { chars.next() } else { Some(c) };
                if let Some(value) = values.last_mut() {
                    value.extend(c);
                }
            }
        }
    }
    values.retain(|value| !value.is_empty());
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "https://a.example/fhir/r4/Group";

    fn found(query: &str) -> bool {
        let group = ExportableGroup {
            group_id: "1.105681.22.0.1".to_owned(),
            name: Some("Diabetes, type 2 (Öhringen)".to_owned()),
            updated_at: None,
            member_count: 0,
        };
        Query::parse(query, false).unwrap().matches(&group, SYSTEM)
    }

    #[test]
    fn groups_are_found_by_id_identifier_and_name() {
        for query in [
            "",
            "_id=1.105681.22.0.1",
            "_id=other,1.105681.22.0.1",
            "identifier=1.105681.22.0.1",
            "identifier=https%3A%2F%2Fa.example%2Ffhir%2Fr4%2FGroup%7C1.105681.22.0.1",
            "identifier=https%3A%2F%2Fa.example%2Ffhir%2Fr4%2FGroup%7C",
            "name=diabetes",
            "name=DIABETES",
            "name=Diabetes%5C%2C+type+2+(%C3%B6",
            "name=asthma,dia",
            "name=dia&_id=1.105681.22.0.1&_format=json",
        ] {
            assert!(found(query), "{query}");
        }
    }

    #[test]
    fn what_does_not_match_is_not_found() {
        for query in [
            "_id=",
            "_id=1.105681.22.0",
            "identifier=%7C1.105681.22.0.1",
            "identifier=https%3A%2F%2Fb.example%7C1.105681.22.0.1",
            "name=",
            "name=,",
            "name=type+2",
            "name=diabetes&name=asthma",
            "name=dia&_id=other",
        ] {
            assert!(!found(query), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_or_on_request_ignored() {
        for query in ["member=Patient/1", "name:contains=x", "_include=Group:member", "_summary=count"] {
            assert_eq!(Query::parse(query, false).unwrap_err().len(), 1, "{query}");
            let lenient = Query::parse(query, true).unwrap();
            assert!(lenient.criteria.is_empty() && lenient.ignored().is_some(), "{query}");
        }
        for query in ["_count=many", "_count=-1", "_format=xml"] {
            assert!(Query::parse(query, true).is_err(), "{query}");
        }
    }

    #[test]
    fn a_query_that_asks_for_too_much_is_refused_even_leniently() {
        let alternatives = |count: usize| format!("name={}", vec!["a"; count].join(","));
        let parameters = |count: usize| vec!["name=a"; count].join("&");
        let together = |count: usize| format!("{}&_count=1&{}", alternatives(count - 2), parameters(1));
        let unknown = |count: usize| vec!["colour=blue"; count].join("&");
        for query in [alternatives(MOST), parameters(MOST), together(MOST), unknown(MOST)] {
            assert!(Query::parse(&query, true).is_ok(), "{query}");
        }
        let endless = alternatives(32_000);
        for query in
            [alternatives(MOST + 1), parameters(MOST + 1), together(MOST + 1), unknown(MOST + 1), endless]
        {
            for lenient in [false, true] {
                let issues = Query::parse(&query, lenient).unwrap_err();
                let issues = serde_json::to_value(issues).unwrap();
                assert!(issues[0]["code"] == "too-costly" && issues[1].is_null(), "{issues}");
            }
        }
    }

    #[test]
    fn a_page_is_never_longer_than_a_hundred() {
        let query = Query::parse("_count=1000000", false).unwrap();
        let groups: Vec<_> = (0..250)
            .map(|n| ExportableGroup {
                group_id: format!("{n:03}"),
                name: None,
                updated_at: None,
                member_count: 0,
            })
            .collect();
        let (page, more) = query.page(&groups);
        assert!(page.len() == 100 && more);
    }
}

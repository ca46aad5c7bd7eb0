//! The parameters of a kick-off as they were given: in the query of a GET, or in the `Parameters` resource of a
//! POST. Both become the same list of names and texts, so that both mean the same.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::outcome::{Issue, IssueCode};

/// Parameters in a request at most: more than any client needs, few enough to be looked at.
const MOST: usize = 1100;

/// How the parameters were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the query of a GET.
    Query,
    /// In the body of a POST.
    Body,
}

/// The parameters of a kick-off, in their order, each with its value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    form: Form,
    list: Vec<(String, String)>,
}

/// A `Parameters` resource. A member that is not one of it is refused: a misspelt `parameter` would be a request
/// without restrictions.
#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    parameter: Vec<Map<String, Value>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Parameters {
    /// Reads the raw query string of a GET.
    ///
    /// # Errors
    /// The issue to answer with, for a query that no client needs.
    pub fn from_query(query: &str) -> Result<Self, Issue> {
        let list: Vec<_> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().take(MOST + 1).collect();
        Self::bounded(Form::Query, list)
    }

    /// Reads the body of a POST; an empty one has no parameters.
    ///
    /// # Errors
    /// The issue to answer with: the body is not a `Parameters` resource, or a value is of no type that a
    /// kick-off knows.
    pub fn from_body(body: &[u8]) -> Result<Self, Issue> {
        if body.trim_ascii().is_empty() {
            return Ok(Self { form: Form::Body, list: Vec::new() });
        }
        let resource: Resource = serde_json::from_slice(body).map_err(|error| {
            let text = format!(
                "the body is not a Parameters resource (line {}, column {}): send {{\"resourceType\": \
                 \"Parameters\", \"parameter\": [{{\"name\": \"_since\", \"valueInstant\": \"…\"}}]}}",
                error.line(),
                error.column()
            );
            Issue::error(IssueCode::Invalid, text)
        })?;
        if resource.resource_type != "Parameters" {
            let text = "the body of a kick-off is a resource of the type Parameters";
            return Err(Issue::error(IssueCode::Invalid, text));
        }
        known("the body", resource.others.keys(), &["id", "meta", "implicitRules", "language"])?;
        let list = resource.parameter.iter().take(MOST + 1).map(parameter).collect::<Result<_, _>>()?;
        Self::bounded(Form::Body, list)
    }

    fn bounded(form: Form, list: Vec<(String, String)>) -> Result<Self, Issue> {
        if list.len() > MOST {
            return Err(Issue::error(IssueCode::TooCostly, format!("more than {MOST} parameters")));
        }
        Ok(Self { form, list })
    }

    /// How they were given.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Name and value of each, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Checks `_outputFormat` alone. It comes before everything else, as in the modelled product.
    ///
    /// # Errors
    /// The issue to answer with: `Invalid Tenant` (the modelled product's words), then what is wrong.
    pub fn check_output_format(&self) -> Result<(), Issue> {
        let formats: Vec<&str> =
            self.iter().filter(|(name, _)| *name == "_outputFormat").map(|(_, value)| value).collect();
        let wrong = formats.iter().find(|value| {
            !matches!(
                value.trim().to_ascii_lowercase().as_str(),
                // A `+` that was not percent-encoded arrives as a blank.
                "ndjson" | "application/ndjson" | "application/fhir+ndjson" | "application/fhir ndjson"
            )
        });
        if wrong.is_none() && formats.len() <= 1 {
            return Ok(());
        }
        Err(Issue::error(
            IssueCode::NotSupported,
            "Invalid Tenant: the only output format is ndjson; leave _outputFormat out, or give it once as \
             ndjson, application/ndjson or application/fhir+ndjson",
        )
        .with_text("Invalid Tenant"))
    }
}

/// Refuses members that the resource does not have. Those that begin with `_` only add to others.
fn known<'m>(what: &str, members: impl Iterator<Item = &'m String>, known: &[&str]) -> Result<(), Issue> {
    let unknown = members.filter(|member| !member.starts_with('_')).find(|m| !known.contains(&m.as_str()));
    match unknown {
        None => Ok(()),
        Some(member) => {
            let member: String = member.chars().take(64).collect();
            let text = format!("{what} has the member {member}, which is none of a Parameters resource here");
            Err(Issue::error(IssueCode::Invalid, text))
        }
    }
}

/// Name and value of one parameter. Clients of different versions of the guide send the same value as
/// `valueString`, `valueCode` or `valueCoding`.
fn parameter(members: &Map<String, Value>) -> Result<(String, String), Issue> {
    let Some(name) = members.get("name").and_then(Value::as_str) else {
        return Err(Issue::error(IssueCode::Required, "a parameter of the body has no name"));
    };
    let shown: String = name.chars().take(64).collect();
    let others = members.keys().filter(|member| !member.starts_with("value"));
    known(&format!("the parameter {shown}"), others, &["name", "id", "extension"])?;
    let mut values = members.iter().filter(|(member, _)| member.starts_with("value"));
    let (Some((kind, value)), None) = (values.next(), values.next()) else {
        let text = format!("the parameter {shown} must have one value[x]");
        return Err(Issue::error(IssueCode::Invalid, text));
    };
    let text = match (kind.as_str(), value) {
        ("valueBoolean", Value::Bool(value)) => Some(value.to_string()),
        ("valueReference", Value::Object(reference)) => {
            reference.get("reference").and_then(Value::as_str).map(str::to_owned)
        }
        ("valueCoding", Value::Object(coding)) => {
            coding.get("code").and_then(Value::as_str).map(str::to_owned)
        }
        // A reference is never guessed from a string: `patient` decides whose data leave.
        (_, Value::String(_)) if name == "patient" => None,
        (
            "valueString" | "valueCode" | "valueInstant" | "valueUri" | "valueId" | "valueDateTime",
            Value::String(text),
        ) => Some(text.clone()),
        _ => None,
    };
    let text = text.ok_or_else(|| {
        let wanted = if name == "patient" { "valueReference with reference" } else { "valueString" };
        Issue::error(
            IssueCode::Value,
            format!("the value of the parameter {shown} cannot be read: send {wanted}"),
        )
    })?;
    Ok((name.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parameters: &str) -> Result<Vec<(String, String)>, Issue> {
        let body = format!(r#"{{"resourceType":"Parameters","parameter":{parameters}}}"#);
        Parameters::from_body(body.as_bytes()).map(|parameters| parameters.list)
    }

    #[test]
    fn every_form_of_a_value_is_read_as_the_same_text() {
        for value in [
            r#""valueString":"x""#,
            r#""valueCode":"x""#,
            r#""valueCoding":{"system":"s","code":"x"}"#,
            r#""valueUri":"x""#,
        ] {
            let list = body(&format!(r#"[{{"name":"includeAssociatedData",{value}}}]"#)).unwrap();
            assert_eq!(list, [("includeAssociatedData".to_owned(), "x".to_owned())], "{value}");
        }
        let since = body(r#"[{"name":"_since","valueInstant":"2026-01-01T00:00:00Z"}]"#).unwrap();
        assert_eq!(since[0].1, "2026-01-01T00:00:00Z");
        let partial = body(r#"[{"name":"allowPartialManifests","valueBoolean":true}]"#).unwrap();
        assert_eq!(partial[0].1, "true");
        let patient = body(r#"[{"name":"patient","valueReference":{"reference":"Patient/1"}}]"#).unwrap();
        assert_eq!(patient[0].1, "Patient/1");
    }

    #[test]
    fn a_body_that_is_no_parameters_resource_is_refused() {
        for wrong in ["[]", "{", r#"{"resourceType":"Patient"}"#, "null", r#"{"parameter":[]}"#] {
            assert!(Parameters::from_body(wrong.as_bytes()).is_err(), "{wrong}");
        }
        for wrong in [
            r#"[{"valueString":"x"}]"#,
            r#"[{"name":"_type"}]"#,
            r#"[{"name":"_type","valueString":"a","valueCode":"b"}]"#,
            r#"[{"name":"_type","valueInteger":1}]"#,
            r#"[{"name":"patient","valueString":"Patient/1"}]"#,
            r#"[{"name":"patient","valueReference":{"display":"x"}}]"#,
        ] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Parameters::from_body(b" \n").unwrap().list, []);
        let plural = br#"{"resourceType":"Parameters","parameters":[]}"#;
        assert!(Parameters::from_body(plural).is_err(), "it would be a request without restrictions");
        assert!(body(r#"[{"name":"patient","part":[]}]"#).is_err());
        let meta = br#"{"resourceType":"Parameters","id":"1","meta":{},"_language":{}}"#;
        assert!(Parameters::from_body(meta).is_ok());
    }

    #[test]
    fn a_query_is_decoded_once() {
        let parameters = Parameters::from_query("_type=Patient%2CGoal&a=b%252C").unwrap();
        let list: Vec<_> = parameters.iter().collect();
        assert_eq!(list, [("_type", "Patient,Goal"), ("a", "b%2C")]);
        assert!(Parameters::from_query(&"a=b&".repeat(1101)).is_err());
    }
}

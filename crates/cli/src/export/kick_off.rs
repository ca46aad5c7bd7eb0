//! The kick-off request (Bulk Data IG, Kick-off Request): as a GET with a query, or as a POST with a Parameters
//! resource. Both are made of one list of parameters.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::args::Level;
use super::client::below;
use super::error::ExportError;

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to export.
    pub level: Level,
    /// `_since`, sent as it is.
    pub since: Option<String>,
    /// `_until`, sent as it is.
    pub until: Option<String>,
    /// `_type`; empty means all types.
    pub types: Vec<String>,
    /// `_typeFilter`, one query each.
    pub type_filters: Vec<String>,
    /// `_elements`.
    pub elements: Vec<String>,
    /// Ids for `patient`; they make the request a POST.
    pub patients: Vec<String>,
    /// `includeAssociatedData`.
    pub associated_data: Vec<String>,
    /// `_outputFormat`.
    pub output_format: Option<String>,
    /// `allowPartialManifests`.
    pub partial_manifests: bool,
    /// `Prefer: handling=lenient`.
    pub lenient: bool,
    /// POST also where GET would do.
    pub post: bool,
}

/// A request as it is sent and as it is remembered: two that are equal ask for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) url: Url,
    /// The Parameters resource of a POST.
    pub(super) body: Option<Value>,
    pub(super) prefer: String,
}

/// A value in each of its two forms: text, and `value[x]` of a Parameters resource.
struct Parameter {
    name: &'static str,
    text: String,
    value: (&'static str, Value),
}

impl Request {
    /// Everything of a level.
    pub fn new(level: Level) -> Self {
        Request {
            level,
            since: None,
            until: None,
            types: Vec::new(),
            type_filters: Vec::new(),
            elements: Vec::new(),
            patients: Vec::new(),
            associated_data: Vec::new(),
            output_format: None,
            partial_manifests: false,
            lenient: false,
            post: false,
        }
    }

    /// The request for one server.
    pub(super) fn at(&self, base_url: &Url) -> Result<Asked, ExportError> {
        if self.level == Level::System && !self.patients.is_empty() {
            return Err(ExportError::Option {
                option: "--patient",
                problem: "an export of everything cannot be limited to patients; say --level patient"
                    .to_owned(),
            });
        }
        let mut url = match &self.level {
            Level::System => below(base_url, &["$export"]),
            Level::Patient => below(base_url, &["Patient", "$export"]),
            Level::Group(id) => below(base_url, &["Group", id, "$export"]),
        };
        let prefer = if self.lenient { "respond-async, handling=lenient" } else { "respond-async" };
        let parameters = self.parameters();
        let post = self.post || !self.patients.is_empty();
        let body = post.then(|| in_body(&parameters));
        if !post && !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters.iter().map(|p| (p.name, &p.text)));
            // A plus sign itself is encoded, so each one that is left is a space: not every server reads it as one.
            let query = url.query().unwrap_or_default().replace('+', "%20");
            url.set_query(Some(&query));
        }
        Ok(Asked { url, body, prefer: prefer.to_owned() })
    }

    fn parameters(&self) -> Vec<Parameter> {
        let text =
            |name, text: &str| Parameter { name, text: text.to_owned(), value: ("valueString", json!(text)) };
        let instant = |name, text: &String| Parameter {
            name,
            text: text.clone(),
            value: ("valueInstant", json!(text)),
        };
        let list = |name, values: &[String]| (!values.is_empty()).then(|| text(name, &values.join(",")));
        let mut all = Vec::new();
        all.extend(self.output_format.as_ref().map(|format| text("_outputFormat", format)));
        all.extend(self.since.as_ref().map(|since| instant("_since", since)));
        all.extend(self.until.as_ref().map(|until| instant("_until", until)));
        all.extend(list("_type", &self.types));
        // A comma within a query means "or" there, so each query is a parameter of its own.
        all.extend(self.type_filters.iter().map(|filter| text("_typeFilter", filter)));
        all.extend(list("_elements", &self.elements));
        all.extend(list("includeAssociatedData", &self.associated_data));
        all.extend(self.patients.iter().map(|id| {
            let reference = format!("Patient/{id}");
            let value = ("valueReference", json!({ "reference": &reference }));
            Parameter { name: "patient", text: reference, value }
        }));
        if self.partial_manifests {
            let value = ("valueBoolean", json!(true));
            all.push(Parameter { name: "allowPartialManifests", text: "true".to_owned(), value });
        }
        all
    }
}

fn in_body(parameters: &[Parameter]) -> Value {
    let entry = |p: &Parameter| {
        let (kind, value) = &p.value;
        json!({ "name": p.name, *kind: value })
    };
    let mut body = json!({ "resourceType": "Parameters" });
    // FHIR has no empty lists.
    if !parameters.is_empty() {
        body["parameter"] = parameters.iter().map(entry).collect();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        "https://h.example/fhir/r4".parse().unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn full() -> Request {
        Request {
            since: Some("2026-01-01T00:00:00+02:00".to_owned()),
            until: Some("2026-02-01T00:00:00Z".to_owned()),
            types: words(&["Patient", "Observation"]),
            type_filters: words(&["Observation?code=http://loinc.org|1,2&date=ge2020", "Patient?name=a b+c"]),
            elements: words(&["id", "Patient.name"]),
            associated_data: words(&["LatestProvenanceResources"]),
            output_format: Some("application/fhir+ndjson".to_owned()),
            partial_manifests: true,
            ..Request::new(Level::Patient)
        }
    }

    #[test]
    fn the_three_endpoints_are_those_of_the_guide() {
        let url = |level, base: &Url| Request::new(level).at(base).unwrap().url.to_string();
        assert_eq!(url(Level::Patient, &base()), "https://h.example/fhir/r4/Patient/$export");
        assert_eq!(url(Level::System, &base()), "https://h.example/fhir/r4/$export");
        let group = Level::Group("1.2/3".to_owned());
        assert_eq!(url(group, &base()), "https://h.example/fhir/r4/Group/1.2%2F3/$export");
        let slash: Url = "https://h.example/fhir/r4/".parse().unwrap();
        assert_eq!(url(Level::Patient, &slash), url(Level::Patient, &base()));
    }

    #[test]
    fn a_get_has_each_parameter_encoded_and_each_filter_by_itself() {
        let asked = full().at(&base()).unwrap();
        assert_eq!(asked.body, None);
        assert_eq!(asked.prefer, "respond-async");
        assert_eq!(
            asked.url.query().unwrap(),
            "_outputFormat=application%2Ffhir%2Bndjson&_since=2026-01-01T00%3A00%3A00%2B02%3A00\
             &_until=2026-02-01T00%3A00%3A00Z&_type=Patient%2CObservation\
             &_typeFilter=Observation%3Fcode%3Dhttp%3A%2F%2Floinc.org%7C1%2C2%26date%3Dge2020\
             &_typeFilter=Patient%3Fname%3Da%20b%2Bc&_elements=id%2CPatient.name\
             &includeAssociatedData=LatestProvenanceResources&allowPartialManifests=true"
        );
        let back: Vec<String> = asked.url.query_pairs().map(|(_, value)| value.into_owned()).collect();
        assert_eq!(back[4..6], full().type_filters);
    }

    #[test]
    fn patients_make_it_a_post_with_typed_parameters_and_no_query() {
        let request = Request { patients: words(&["1", "2"]), lenient: true, ..full() };
        let asked = request.at(&base()).unwrap();
        assert_eq!(asked.url.as_str(), "https://h.example/fhir/r4/Patient/$export");
        assert_eq!(asked.prefer, "respond-async, handling=lenient");
        assert_eq!(
            asked.body.unwrap(),
            json!({ "resourceType": "Parameters", "parameter": [
                { "name": "_outputFormat", "valueString": "application/fhir+ndjson" },
                { "name": "_since", "valueInstant": "2026-01-01T00:00:00+02:00" },
                { "name": "_until", "valueInstant": "2026-02-01T00:00:00Z" },
                { "name": "_type", "valueString": "Patient,Observation" },
                { "name": "_typeFilter", "valueString": "Observation?code=http://loinc.org|1,2&date=ge2020" },
                { "name": "_typeFilter", "valueString": "Patient?name=a b+c" },
                { "name": "_elements", "valueString": "id,Patient.name" },
                { "name": "includeAssociatedData", "valueString": "LatestProvenanceResources" },
                { "name": "patient", "valueReference": { "reference": "Patient/1" } },
                { "name": "patient", "valueReference": { "reference": "Patient/2" } },
                { "name": "allowPartialManifests", "valueBoolean": true },
            ] })
        );
    }

    #[test]
    fn a_post_can_be_had_without_parameters_but_no_patients_of_everything() {
        let plain = Request { post: true, ..Request::new(Level::System) };
        let body = plain.at(&base()).unwrap().body.unwrap();
        assert_eq!(body, json!({ "resourceType": "Parameters" }));
        let wrong = Request { patients: words(&["secret"]), ..plain };
        let error = wrong.at(&base()).unwrap_err().to_string();
        assert!(error.contains("--patient") && !error.contains("secret"), "{error}");
    }
}

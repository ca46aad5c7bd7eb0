//! Mapping sets: which relations of a source make up each resource type, and by which templates.
//!
//! A set is one JSON document per resource type, `<set>/<Type>.json`; `docs/MAPPING.md` is its description
//! for those who write them. This module reads the documents and checks all that can be checked without the
//! source; the columns of the relations are checked when a worker looks at the source, or by
//! `headgate source check`.

mod json;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use json::Json;

use crate::ResourceType;
use crate::template::{self, CodeTables, Column, Problem, Program, Template, Variables};

/// The mapping documents of one kind of EHR, by resource type.
#[derive(Debug, Clone, Default)]
pub struct MappingSet {
    files: BTreeMap<ResourceType, Vec<StreamMapping>>,
}

/// One relation of a type and what its rows give: enough to be compiled wherever it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMapping {
    /// The type of its resources.
    pub resource_type: ResourceType,
    /// The name of the relation.
    pub relation: String,
    /// The variables of the practice that its templates use.
    #[serde(flatten)]
    pub variables: Variables,
    /// Where its templates stand in the file.
    path: String,
    /// The code tables of the file and the templates of the relation, as text: they keep the order of their
    /// members wherever they are stored.
    document: String,
}

/// The parts of a stream's document.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codes: Option<Json>,
    resources: Vec<Json>,
}

/// A mapping file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    resource_type: String,
    #[serde(default)]
    codes: Option<Json>,
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    relation: String,
    resources: Vec<Json>,
}

/// What is wrong in a mapping set: every problem with its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingError {
    /// File and problem.
    pub problems: Vec<(String, Problem)>,
}

impl std::error::Error for MappingError {}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (file, problem)) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{file}: {problem}")?;
        }
        Ok(())
    }
}

impl MappingSet {
    /// Parses the files of a set: file name and text of each. `variables` are those of the practice that uses it, or
    /// a version of US Core where there is no practice.
    ///
    /// # Errors
    /// Everything that is wrong in them.
    pub fn parse<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
        variables: impl Into<Variables>,
    ) -> Result<Self, MappingError> {
        let variables = variables.into();
        let mut set = Self::default();
        let mut problems = Vec::new();
        for (name, text) in files {
            let parsed = name
                .strip_suffix(".json")
                .and_then(|stem| stem.parse::<ResourceType>().ok())
                .ok_or_else(|| {
                    vec![problem("", "the name of a mapping file is <Type>.json, with a FHIR resource type")]
                })
                .and_then(|resource_type| Ok((resource_type, parse_file(text, resource_type, &variables)?)));
            match parsed {
                Ok((resource_type, streams)) => drop(set.files.insert(resource_type, streams)),
                Err(found) => problems.extend(found.into_iter().map(|problem| (name.to_owned(), problem))),
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(MappingError { problems }) }
    }

    /// The streams of a type; none if the set has no file for it.
    #[must_use]
    pub fn streams(&self, resource_type: ResourceType) -> Option<&[StreamMapping]> {
        self.files.get(&resource_type).map(Vec::as_slice)
    }
}

impl StreamMapping {
    /// The templates, parsed.
    ///
    /// # Errors
    /// Everything that is wrong in them.
    pub fn templates(&self) -> Result<Vec<Template>, Vec<Problem>> {
        let document: Document = serde_json::from_str(&self.document)
            .map_err(|error| vec![problem(&self.path, &format!("is no stream of a mapping: {error}"))])?;
        let codes = CodeTables::parse(document.codes.as_ref(), "codes")?;
        let mut templates: Vec<Template> = Vec::new();
        let mut problems = Vec::new();
        for (i, json) in document.resources.iter().enumerate() {
            let path = format!("{}.resources[{i}]", self.path);
            match Template::parse(json, self.resource_type, &codes, &self.variables, &path) {
                Ok(template) if templates.iter().any(|t| t.suffix() == template.suffix()) => {
                    problems.push(problem(
                        &format!("{path}.id"),
                        "another template of the stream has the same id",
                    ));
                }
                Ok(template) => templates.push(template),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(templates) } else { Err(problems) }
    }

    /// The programs of the templates, for a relation with these columns.
    ///
    /// # Errors
    /// Everything that is wrong in them, or does not fit the columns.
    pub fn programs(&self, columns: &[Column]) -> Result<Vec<Program>, Vec<Problem>> {
        let mut programs = Vec::new();
        let mut problems = Vec::new();
        for template in self.templates()? {
            match template.program(columns) {
                Ok(program) => programs.push(program),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(programs) } else { Err(problems) }
    }

    /// The most resources that a row can give: templates whose conditions exclude each other count once.
    ///
    /// # Errors
    /// As for [`StreamMapping::templates`].
    pub fn most_per_row(&self) -> Result<u32, Vec<Problem>> {
        let templates = self.templates()?;
        let mut groups: Vec<Vec<&Template>> = Vec::new();
        for template in &templates {
            match groups.iter_mut().find(|group| group.iter().all(|other| template.excludes(other))) {
                Some(group) => group.push(template),
                None => groups.push(vec![template]),
            }
        }
        Ok(u32::try_from(groups.len()).unwrap_or(u32::MAX))
    }

    /// The file that it comes from.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.json", self.resource_type)
    }
}

fn parse_file(
    text: &str,
    resource_type: ResourceType,
    variables: &Variables,
) -> Result<Vec<StreamMapping>, Vec<Problem>> {
    let file: File = serde_json::from_str(text)
        .map_err(|error| vec![problem("", &format!("is no mapping file: {error}"))])?;
    let mut problems = Vec::new();
    if file.resource_type != resource_type.name() {
        problems
            .push(problem("resourceType", &format!("must be \"{resource_type}\", as the file is called")));
    }
    if file.streams.is_empty() {
        problems.push(problem("streams", "a type has at least one stream"));
    }
    let mut streams: Vec<StreamMapping> = Vec::new();
    for (i, stream) in file.streams.into_iter().enumerate() {
        let path = format!("streams[{i}]");
        if !template::is_name(&stream.relation) {
            problems.push(problem(&format!("{path}.relation"), "must match [a-z_][a-z0-9_]*"));
        }
        if streams.iter().any(|known| known.relation == stream.relation) {
            problems.push(problem(&format!("{path}.relation"), "stands in another stream of this file"));
        }
        if stream.resources.is_empty() {
            problems.push(problem(&format!("{path}.resources"), "a stream has at least one template"));
        }
        let document = Document { codes: file.codes.clone(), resources: stream.resources };
        let document =
            serde_json::to_string(&document).map_err(|error| vec![problem("streams", &error.to_string())])?;
        let mapping = StreamMapping {
            resource_type,
            relation: stream.relation,
            variables: variables.used_by(&document),
            path,
            document,
        };
        match mapping.templates() {
            Ok(_) => streams.push(mapping),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(streams) } else { Err(problems) }
}

fn problem(path: &str, message: &str) -> Problem {
    Problem { path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;

//! Who may do what at the admin API: every operation of its own OpenAPI document, asked for by everybody, with ids of
//! their own, of somebody else and of nobody.
//!
//! What is expected follows from `x-headgate-roles` and from whose ids are in the path. A hole is an operation without
//! roles or without an example here, a caller who got further than that, a caller who did not get that far, a failure
//! of the server, and an answer by which what belongs to somebody else differs from what does not exist.

mod callers;
mod estate;
mod examples;

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::Value;

use crate::{Answer, TestApp};
use callers::{Caller, Role};
use estate::{Estate, Ids};
use examples::Example;

/// Whose ids a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of the caller.
    Own,
    /// Those of somebody else.
    Foreign,
    /// Those of nobody.
    Unknown,
    /// A practice or an app of the caller's, and below it an id of somebody else.
    ForeignBelow,
    /// The same with an id of nobody.
    UnknownBelow,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Whose::Own => "own",
            Whose::Foreign => "foreign",
            Whose::Unknown => "unknown",
            Whose::ForeignBelow => "own/foreign",
            Whose::UnknownBelow => "own/unknown",
        })
    }
}

/// One operation of the document.
#[derive(Debug)]
struct Operation {
    method: Method,
    /// Below the admin API.
    path: String,
    roles: Vec<String>,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it names what belongs to the whole installation.
    fn is_nobodys(&self) -> bool {
        (self.path.starts_with("/signing-keys") || self.path.starts_with("/mappings"))
            && self.path.contains('{')
    }

    /// Whether it names something inside of what the caller may own. (Putting a group makes it.)
    fn has_below(&self) -> bool {
        let is_within = self.path.matches('{').count() > 1;
        is_within && ["{export_id}", "{kid}"].iter().any(|name| self.path.contains(name))
            || (self.path.contains("{group_id}") && (self.path.ends_with("/members") || self.method == "GET"))
            || self.path.contains("/consents/{client_id}")
    }

    fn whose(&self, example: &Example) -> Vec<Whose> {
        let mut all = vec![Whose::Own];
        if self.is_nobodys() {
            all.push(Whose::Unknown);
        } else if self.path.contains('{') || example.body_is_bound {
            all.extend([Whose::Foreign, Whose::Unknown]);
        }
        if self.has_below() && !self.is_nobodys() {
            all.extend([Whose::ForeignBelow, Whose::UnknownBelow]);
        }
        all
    }
}

/// One request of the matrix.
#[derive(Debug)]
pub struct Row {
    /// Method and path template.
    pub operation: String,
    /// Who asked.
    pub caller: &'static str,
    /// With whose ids.
    pub whose: Whose,
    /// What came of it.
    pub status: u16,
}

/// The whole matrix.
#[derive(Debug, Default)]
pub struct Matrix {
    rows: Vec<Row>,
    holes: Vec<String>,
    operations: usize,
}

impl Matrix {
    /// Asks everything of a running Headgate, which needs a worker. What this makes there stays.
    ///
    /// # Errors
    /// When there is no answer at all, or what is needed to ask cannot be made.
    pub async fn of(app: &TestApp) -> Result<Self> {
        let estate = Estate::build(app).await?;
        let callers = callers::all(app, &estate).await?;
        let document = app.admin().get("openapi.json").await?.expect(200)?.json()?;
        let mut matrix = Self::default();
        for operation in operations(&document)? {
            matrix.operations += 1;
            if !operation.roles.iter().any(|role| role == "operator") {
                matrix.hole(&operation, "no roles, or the operator is not among them");
            }
            match examples::of(&operation.method, &operation.path) {
                Some(example) => matrix.ask(app, &estate, &callers, &operation, &example).await?,
                None => matrix.hole(&operation, "no example request: write one in matrix/examples.rs"),
            }
        }
        Ok(matrix)
    }

    /// Every request with its status.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What is not as it must be.
    #[must_use]
    pub fn holes(&self) -> &[String] {
        &self.holes
    }

    /// How many operations the document has.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// The matrix for people: a line for each operation, a column for each caller, the statuses for own, foreign and
    /// unknown ids.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut columns: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !columns.contains(&row.caller) {
                columns.push(row.caller);
            }
        }
        let _written = write!(text, "{:<70}", "operation");
        for column in &columns {
            let _written = write!(text, " {column:<21}");
        }
        text.truncate(text.trim_end().len());
        let mut operation = "";
        for row in &self.rows {
            if row.operation == operation {
                continue;
            }
            operation = &row.operation;
            let _written = write!(text, "\n{operation:<70}");
            for column in &columns {
                let cells =
                    self.rows.iter().filter(|row| row.operation == operation && row.caller == *column);
                let cells: Vec<String> = cells.map(|row| row.status.to_string()).collect();
                let _written = write!(text, " {:<21}", cells.join(" "));
            }
            text.truncate(text.trim_end().len());
        }
        let _written = write!(
            text,
            "\n\n{} operations, {} requests; statuses with ids that are one's own, somebody else's, nobody's, and \
             (where there is one) below one's own: somebody else's, nobody's",
            self.operations,
            self.rows.len()
        );
        text
    }

    fn hole(&mut self, operation: &Operation, what: &str) {
        self.holes.push(format!("{}: {what}", operation.name()));
    }

    async fn ask(
        &mut self,
        app: &TestApp,
        estate: &Estate,
        callers: &[Caller],
        operation: &Operation,
        example: &Example,
    ) -> Result<()> {
        for caller in callers {
            let mut answers = Vec::new();
            for whose in operation.whose(example) {
                let ids = estate.ids(&operation.path, whose);
                let answer = send(app, caller, operation, example, &ids).await?;
                if (200..300).contains(&answer.status) {
                    example.restore(app, &ids).await.with_context(|| operation.name())?;
                }
                let cell = format!("{} with ids {whose}", caller.name);
                if let Some(wrong) = wrong(operation, example, caller, whose, &answer) {
                    self.hole(operation, &format!("{cell} -> {}: {wrong}", answer.status));
                }
                self.rows.push(Row {
                    operation: operation.name(),
                    caller: caller.name,
                    whose,
                    status: answer.status,
                });
                answers.push((whose, answer));
            }
            for (one, other) in [(Whose::Foreign, Whose::Unknown), (Whose::ForeignBelow, Whose::UnknownBelow)]
            {
                let of = |whose| answers.iter().find(|(w, _)| *w == whose).map(|(_, answer)| answer);
                if let (Some(one), Some(other)) = (of(one), of(other))
                    && caller.role != Some(Role::Operator)
                    && !is_same(one, other)
                {
                    self.hole(operation, &format!("{}: foreign ids are told from unknown ones", caller.name));
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with an answer, if anything is.
fn wrong(
    operation: &Operation,
    example: &Example,
    caller: &Caller,
    whose: Whose,
    answer: &Answer,
) -> Option<String> {
    let expect =
        |wanted: u16| (answer.status != wanted).then(|| format!("expected {wanted}: {}", answer.text()));
    let Some(role) = caller.role else { return expect(401) };
    if !operation.roles.iter().any(|name| name == role.name()) {
        return expect(403);
    }
    let got_through = || {
        let through = matches!(answer.status, 200 | 201 | 202 | 409);
        (!through).then(|| format!("expected success or a conflict: {}", answer.text()))
    };
    match (whose, role) {
        (Whose::Own, _) | (Whose::Foreign, Role::Operator) => got_through(),
        (Whose::Unknown, Role::Operator) if example.creates => got_through(),
        // Below a practice, an operator is held to that practice like everybody.
        (Whose::Unknown | Whose::Foreign | Whose::ForeignBelow | Whose::UnknownBelow, _) => expect(404),
    }
}

/// Whether two answers are the same but for the moment.
fn is_same(one: &Answer, other: &Answer) -> bool {
    let headers = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.remove(reqwest::header::DATE);
        headers
    };
    one.status == other.status && one.body == other.body && headers(one) == headers(other)
}

async fn send(
    app: &TestApp,
    caller: &Caller,
    operation: &Operation,
    example: &Example,
    ids: &Ids,
) -> Result<Answer> {
    let url = format!("{}{}", app.admin().url(), ids.fill(&operation.path));
    let mut request = app.http().request(operation.method.clone(), url);
    if let Some(token) = &caller.token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = example.body(ids)? {
        request = request.json(&body);
    }
    Answer::to(request).await
}

/// The operations of an OpenAPI document.
fn operations(document: &Value) -> Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().context("a document without paths")? {
        let path =
            path.strip_prefix("/admin/v1").with_context(|| format!("{path} is not below the admin API"))?;
        for (method, operation) in item.as_object().context("a path that is no object")? {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if operation.get("responses").is_none() {
                // `parameters`, `summary` and the like, which stand beside the operations.
                continue;
            }
            let roles = operation["x-headgate-roles"].as_array().map(Vec::as_slice).unwrap_or_default();
            let roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            operations.push(Operation { method, path: path.to_owned(), roles });
        }
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: reqwest::header::HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    fn wrong_for(role: Option<Role>, roles: &[&str], whose: Whose, status: u16) -> bool {
        let operation = Operation {
            method: Method::GET,
            path: "/practices/{number}".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let example = examples::of(&Method::GET, "/practices/{number}").unwrap();
        let caller = Caller { name: "x", role, token: None };
        wrong(&operation, &example, &caller, whose, &answer(status, "")).is_some()
    }

    #[test]
    fn whoever_gets_further_than_they_may_is_a_hole() {
        let op = ["operator", "practice_admin"];
        for (role, whose, right) in [
            (None, Whose::Own, 401),
            (Some(Role::Vendor), Whose::Own, 403),
            (Some(Role::Vendor), Whose::Unknown, 403),
            (Some(Role::PracticeAdmin), Whose::Own, 200),
            (Some(Role::PracticeAdmin), Whose::Foreign, 404),
            (Some(Role::Operator), Whose::Foreign, 200),
            (Some(Role::Operator), Whose::Unknown, 404),
        ] {
            for status in [200, 401, 403, 404, 500] {
                assert_eq!(
                    wrong_for(role, &op, whose, status),
                    status != right,
                    "{role:?} {whose:?} {status}"
                );
            }
        }
    }

    #[test]
    fn a_foreign_id_that_is_answered_otherwise_than_an_unknown_one_is_seen() {
        assert!(is_same(&answer(404, "a"), &answer(404, "a")));
        assert!(!is_same(&answer(404, "a"), &answer(404, "b")));
        assert!(!is_same(&answer(404, "a"), &answer(403, "a")));
        let mut tagged = answer(404, "a");
        tagged.headers.insert(reqwest::header::ETAG, reqwest::header::HeaderValue::from_static("\"1\""));
        assert!(!is_same(&answer(404, "a"), &tagged));
    }

    #[test]
    fn operations_are_read_with_their_roles() {
        let document = serde_json::json!({ "paths": { "/admin/v1/a": {
            "parameters": [],
            "get": { "responses": {}, "x-headgate-roles": ["operator"] },
            "post": { "responses": {} },
        } } });
        let found = operations(&document).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().any(|operation| operation.roles.is_empty()));
    }
}

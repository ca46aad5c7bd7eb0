//! The OpenAPI document of the admin API.
//!
//! It is made from the router and the shapes beside the handlers. What follows from the table of [`access`] is put in
//! from there: who may use a route, the headers that it heeds, and how it can refuse.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Required,
    Response as Described, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::access::{self, Effect, Rule};
use super::{PREFIX, routes};

/// The version of the API, not of the program.
const VERSION: &str = "1.0.0";

const DESCRIPTION: &str = "\
Registration, consent, groups, exports and the audit trail.

Lists come in pages: `limit` and `cursor`, which is `next` of the page before. An object with a `revision` has it as \
`ETag`; `If-Match` makes a change depend on it. With an `Idempotency-Key` a deed is done once within 24 hours, and its \
repetition gets the first answer. What belongs to somebody else is answered as what does not exist.

`x-headgate-roles` names the roles that may use an operation at all.";

/// An error (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape in the document; errors are rendered in one place for every surface")]
struct Problem {
    /// `about:blank`
    r#type: String,
    title: String,
    status: u16,
    /// For people.
    detail: String,
    /// A stable code.
    reason: String,
}

/// The document as JSON, with a line feed at its end.
#[must_use]
pub fn openapi_document() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Answers with this document.
#[utoipa::path(get, path = "/openapi.json", tag = "me",
    operation_id = "document", responses((status = 200, body = Object)))]
pub(super) async fn show() -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], openapi_document()).into_response()
}

fn document() -> OpenApi {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description("The request was refused or failed: a problem with a stable `reason`.")
        .content("application/problem+json", problem);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = ComponentsBuilder::new()
        .schema("Problem", Problem::schema())
        .response("Problem", response.build())
        .security_scheme("token", SecurityScheme::Http(bearer));
    let head = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Headgate admin API")
                .version(VERSION)
                .description(Some(DESCRIPTION))
                .build(),
        )
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build();
    let mut document = OpenApiRouter::with_openapi(head).nest(PREFIX, routes()).into_openapi();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if let Some(rule) = path.strip_prefix(PREFIX).and_then(|path| access::find(&method, path)) {
                complete(operation, rule);
            }
        }
    }
    document
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Puts in what follows from the table.
fn complete(operation: &mut Operation, rule: &Rule) {
    let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    let handler = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{}_{handler}", tag.replace('-', "_")));
    let roles = ExtensionsBuilder::new().add("x-headgate-roles", json!(rule.roles.names())).build();
    operation.extensions = Some(roles);

    let parameters = operation.parameters.get_or_insert_default();
    let mut refusals = vec!["401", "403", "default"];
    if !parameters.is_empty() || operation.request_body.is_some() || rule.effect != Effect::Reads {
        refusals.push("400");
    }
    let named = rule.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let named: Vec<RefOr<Parameter>> = named.map(|name| path_parameter(name).into()).collect();
    if !named.is_empty() {
        refusals.push("404");
    }
    parameters.splice(0..0, named);
    if rule.effect != Effect::Reads {
        let text = "1 to 255 visible ASCII characters: the deed is done once under it.";
        parameters.push(header("Idempotency-Key", text).into());
        refusals.extend(["409", "422"]);
    }
    if rule.effect == Effect::ChangesRevised {
        let text = "The `ETag` that the object must have, or `*`.";
        parameters.push(header("If-Match", text).into());
        refusals.push("412");
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(Described { description, .. }) = response
            && description.is_empty()
        {
            let status = status.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok());
            *description = status.and_then(|status| status.canonical_reason()).unwrap_or("Answer").to_owned();
        }
    }
    for status in refusals {
        let problem = RefOr::Ref(Ref::from_response_name("Problem"));
        operation.responses.responses.entry(status.to_owned()).or_insert(problem);
    }
}

fn path_parameter(name: &str) -> Parameter {
    let (kind, description) = match name {
        "number" => (Type::Integer, "The number of the practice."),
        "vendor_id" => (Type::String, "The id of the vendor, a UUID."),
        "client_id" => (Type::String, "The client id of the app."),
        "kid" => (Type::String, "The id of the key."),
        "group_id" => (Type::String, "The id of the group."),
        "export_id" => (Type::String, "The id of the export."),
        _ => (Type::String, "The name of the mapping set."),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .build()
}

fn header(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_operation_has_a_row_of_the_table_and_every_row_an_operation() {
        let mut document = document();
        let mut served = BTreeSet::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let path = path.strip_prefix(PREFIX).expect("every path is below the prefix");
                assert!(access::find(&method, path).is_some(), "{method} {path} has no row");
                assert!(operation.summary.as_ref().is_some_and(|text| !text.is_empty()), "{method} {path}");
                assert!(operation.extensions.is_some(), "{method} {path} names no roles");
                served.insert((method.to_string(), path.to_owned()));
            }
        }
        for rule in access::RULES {
            assert!(served.contains(&(rule.method.to_string(), rule.path.to_owned())), "{rule:?}");
        }
        assert_eq!(served.len(), access::RULES.len());
    }

    #[test]
    fn names_of_operations_are_unique() {
        let mut document = document();
        let items = document.paths.paths.values_mut();
        let ids: Vec<String> = items
            .flat_map(operations)
            .map(|(_, operation)| operation.operation_id.clone().unwrap())
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = openapi_document();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        for reference in text.split("\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    /// `OPENAPI_UPDATE=1` writes the file.
    #[test]
    fn the_committed_document_is_that_of_the_router() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("OPENAPI_UPDATE").is_some() {
            std::fs::write(&file, openapi_document()).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == openapi_document(), "run this test with OPENAPI_UPDATE=1");
    }
}

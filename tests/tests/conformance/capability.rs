//! Server Capability Documentation, and the discovery documents beside it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, Level, Practice};

use crate::requests::{absolute, accepted, get_raw, levels, refusal};
use crate::stage::{Stage, TYPES, eventually, play};

const IG: &str = "http://hl7.org/fhir/uv/bulkdata";

/// `/metadata`, without a token.
async fn statement(stage: &Stage, practice: &Practice) -> Result<Value> {
    let answer = Answer::to(stage.app.http().get(format!("{}/metadata", practice.base_url))).await?;
    let answer = answer.expect(200)?;
    ensure!(answer.header("content-type") == Some("application/fhir+json"), "{:?}", answer.headers);
    answer.json()
}

fn resource<'a>(statement: &'a Value, resource_type: &str) -> Result<&'a Value> {
    let resources = statement["rest"][0]["resource"].as_array().context("no resources")?;
    resources.iter().find(|r| r["type"] == resource_type).with_context(|| format!("no {resource_type}"))
}

fn operations(of: &Value) -> Vec<(&str, &str)> {
    let list = of["operation"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|o| (o["name"].as_str().unwrap_or(""), o["definition"].as_str().unwrap_or(""))).collect()
}

#[test]
fn the_statement_instantiates_the_guides_and_lists_the_operation_of_each_level() -> Result<()> {
    play(async |stage| {
        let statement = statement(stage, &stage.clinic).await?;
        let canonical = format!("{IG}/CapabilityStatement/bulk-data");
        let instantiates = statement["instantiates"].as_array().context("no instantiates")?;
        ensure!(instantiates.iter().any(|i| i.as_str().is_some_and(|i| i.starts_with(&canonical))));
        ensure!(statement["rest"].as_array().is_some_and(|rest| rest.len() == 1), "more than one rest");
        let system = operations(&statement["rest"][0]);
        ensure!(system == [("export", &*format!("{IG}/OperationDefinition/export"))], "{system:?}");
        for (resource_type, older) in [("Patient", "patient-export"), ("Group", "group-export")] {
            let definition = format!("{IG}/OperationDefinition/{older}");
            let found = operations(resource(&statement, resource_type)?);
            // Versions 1 and 2 of the guide use one name, version 3 the other.
            ensure!(found == [("export", &*definition), (older, &*definition)], "{found:?}");
        }
        // Each operation that is listed is there.
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            accepted(&client, client.kick_off(&level, &[]).await?).await?;
        }
        Ok(())
    })
}

#[test]
fn the_statement_lists_the_types_that_are_exported_and_no_others() -> Result<()> {
    play(async |stage| {
        let statement = statement(stage, &stage.clinic).await?;
        let resources = statement["rest"][0]["resource"].as_array().context("no resources")?;
        let listed: BTreeSet<&str> = resources
            .iter()
            .filter(|r| r.get("extension").is_none())
            .filter_map(|r| r["type"].as_str())
            .collect();
        ensure!(TYPES.iter().all(|t| listed.contains(t)), "{listed:?}");
        let client = stage.client(&stage.clinic).await?;
        for resource_type in &listed {
            let query = format!("_type={resource_type}");
            accepted(&client, get_raw(&client, &Level::System, &query).await?).await?;
        }
        // Group is read and searched, and not part of an export.
        let group = resource(&statement, "Group")?;
        let url = group["extension"][0]["url"].as_str().unwrap_or_default();
        ensure!(url.ends_with("/operation-not-supported"), "{group}");
        ensure!(group["interaction"] == json!([{ "code": "read" }, { "code": "search-type" }]), "{group}");
        refusal(&client.kick_off(&Level::System, &[("_type", "Group")]).await?, 400)?;
        Ok(())
    })
}

#[test]
fn every_search_parameter_that_is_listed_can_be_used_in_a_filter() -> Result<()> {
    play(async |stage| {
        let statement = statement(stage, &stage.clinic).await?;
        let client = stage.client(&stage.clinic).await?;
        let mut tried = 0;
        for resource in statement["rest"][0]["resource"].as_array().context("no resources")? {
            let name = resource["type"].as_str().context("no type")?;
            let parameters = resource["searchParam"].as_array().map(Vec::as_slice).unwrap_or_default();
            if name == "Group" {
                continue;
            }
            for parameter in parameters {
                let value = match parameter["type"].as_str() {
                    Some("date") => "ge2020-01-01",
                    Some("reference") => "x",
                    Some("token") if parameter["name"] == "_id" => "x",
                    Some("token") => "true",
                    other => anyhow::bail!("{name}: a parameter of the type {other:?}"),
                };
                let parameter = parameter["name"].as_str().context("no name")?;
                let query = format!("_type={name}&_typeFilter={name}%3F{parameter}%3D{value}");
                let answer = get_raw(&client, &Level::System, &query).await?;
                accepted(&client, answer).await.with_context(|| query.clone())?;
                tried += 1;
            }
        }
        ensure!(tried > 50, "only {tried} parameters are listed");
        Ok(())
    })
}

#[test]
fn the_documentation_answers_what_the_guide_wants_servers_to_answer() -> Result<()> {
    play(async |stage| {
        let statement = statement(stage, &stage.clinic).await?;
        let text = statement["rest"][0]["documentation"].as_str().context("no documentation")?;
        for word in [
            "_outputFormat",
            "_since",
            "_until",
            "_type",
            "_typeFilter",
            "_elements",
            "patient",
            "includeAssociatedData",
            "allowPartialManifests",
            "organizeOutputBy",
            // How files are split, what comes from outside of the compartment, and who joins a group later.
            "1000",
            "Practitioner",
            "joined",
        ] {
            ensure!(text.contains(word), "it says nothing about {word}");
        }
        Ok(())
    })
}

#[test]
fn the_statement_names_the_token_endpoint_and_its_own_base_url() -> Result<()> {
    play(async |stage| {
        let statement = statement(stage, &stage.clinic).await?;
        let security = &statement["rest"][0]["security"]["extension"][0];
        let oauth = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
        ensure!(security["url"] == oauth, "{security}");
        ensure!(security["extension"][0]["url"] == "token", "{security}");
        ensure!(security["extension"][0]["valueUri"] == stage.clinic.token_url.as_str(), "{security}");
        ensure!(statement["implementation"]["url"] == stage.clinic.base_url.as_str());
        ensure!(statement["fhirVersion"] == "4.0.1" && statement["kind"] == "instance");
        ensure!(statement["format"].as_array().is_some_and(|f| f.contains(&json!("application/fhir+json"))));
        Ok(())
    })
}

#[test]
fn smart_configuration_is_json_with_absolute_urls_and_what_a_backend_service_needs() -> Result<()> {
    play(async |stage| {
        let url = format!("{}/.well-known/smart-configuration", stage.clinic.base_url);
        for accept in ["application/json", "text/html", "*/*"] {
            let answer =
                Answer::to(stage.app.http().get(&url).header("Accept", accept)).await?.expect(200)?;
            ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
            let document = answer.json()?;
            absolute(&document["token_endpoint"])?;
            ensure!(document["token_endpoint"] == stage.clinic.token_url.as_str(), "{document}");
            let has = |member: &str, value: &str| {
                document[member].as_array().is_some_and(|list| list.iter().any(|v| v == value))
            };
            ensure!(has("grant_types_supported", "client_credentials"), "{document}");
            ensure!(has("token_endpoint_auth_methods_supported", "private_key_jwt"), "{document}");
            for algorithm in ["RS384", "ES384"] {
                ensure!(has("token_endpoint_auth_signing_alg_values_supported", algorithm), "{document}");
            }
            for capability in ["client-confidential-asymmetric", "permission-v1", "permission-v2"] {
                ensure!(has("capabilities", capability), "{document}");
            }
            ensure!(has("code_challenge_methods_supported", "S256"), "{document}");
            ensure!(!has("code_challenge_methods_supported", "plain"), "{document}");
            ensure!(has("scopes_supported", "system/*.rs") && document.get("issuer").is_none(), "{document}");
        }
        Ok(())
    })
}

#[test]
fn every_practice_is_listed_with_its_base_url() -> Result<()> {
    play(async |stage| {
        let answer =
            Answer::to(stage.app.http().get(format!("{}/endpoints", stage.app.public_url()))).await?;
        let answer = answer.expect(200)?;
        ensure!(answer.header("content-type") == Some("application/fhir+json"), "{:?}", answer.headers);
        let bundle = answer.json()?;
        ensure!(bundle["resourceType"] == "Bundle" && bundle["type"] == "collection", "{bundle}");
        let entries = bundle["entry"].as_array().context("no entries")?;
        let mine = entries.iter().map(|entry| &entry["resource"]);
        let mut mine = mine.filter(|r| r["address"] == stage.clinic.base_url.as_str());
        let endpoint = mine.next().context("the clinic is not listed")?;
        ensure!(endpoint["resourceType"] == "Endpoint" && endpoint["status"] == "active", "{endpoint}");
        ensure!(endpoint["connectionType"]["code"] == "hl7-fhir-rest", "{endpoint}");
        // At the root of a host with several practices nothing is guessed.
        let root = format!("{}/.well-known/smart-configuration", stage.app.public_url());
        stage.empty().await?;
        eventually("the root names no practice of several", async || {
            let answer = Answer::to(stage.app.http().get(&root)).await?;
            Ok(answer.status == 404 && refusal(&answer, 404).is_ok())
        })
        .await
    })
}

//! Attachments by URL (Bulk Data IG, Attachments): where clients get at the files with their token, the contents to
//! which exported resources lead are had in the same way.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::ehr::grant_reader;
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use headgate_testkit::{Answer, BulkClient, Level, READER, TestAppBuilder};

use crate::gate::Gate;
use crate::world::{Export, World, options};

/// The relation of attachments.
pub const BINARY: &str = "CREATE TABLE fhir_export.binary (
        id text PRIMARY KEY, patient_id text, last_updated timestamptz NOT NULL DEFAULT clock_timestamp(),
        content_type text, content bytea);
    GRANT SELECT ON fhir_export.binary TO PUBLIC;";

/// A practice whose clients get at the files with their token.
pub async fn world(builder: TestAppBuilder) -> Result<World> {
    let token = json!({ "file_access": "token" });
    let world = World::with(builder, |practice| practice.options(token)).await?;
    world.source(BINARY).await?;
    for patient in ["ann", "bob"] {
        world.practice.insert("Patient", patient, Some(patient)).await?;
    }
    Ok(world)
}

/// Inserts a resource of a patient with this attachment.
pub async fn attach(world: &World, t: &str, id: &str, patient: &str, attachment: Value) -> Result<()> {
    let mut body =
        json!({ "resourceType": t, "id": id, "subject": { "reference": format!("Patient/{patient}") } });
    match t {
        "DiagnosticReport" => body["presentedForm"] = json!([attachment]),
        _ => body["content"] = json!([{ "attachment": attachment }]),
    }
    world.practice.insert_body(t, id, Some(patient), &body.to_string()).await
}

/// The URL under which the practice's server has an attachment.
pub fn url(world: &World, id: &str) -> String {
    format!("{}/Binary/{id}", world.practice.base_url)
}

/// The attachments of exported lines.
fn attachments(export: &Export) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for (t, lines) in export.download.by_type() {
        for line in lines {
            let resource: Value = serde_json::from_str(&line)?;
            let list =
                if t == "DiagnosticReport" { &resource["presentedForm"] } else { &resource["content"] };
            for entry in list.as_array().into_iter().flatten() {
                found.push(entry.get("attachment").unwrap_or(entry).clone());
            }
        }
    }
    Ok(found)
}

/// The content of an attachment and its type: with the token to this server, without it to where that sends on.
async fn content(client: &BulkClient, url: &str) -> Result<(String, Vec<u8>)> {
    let sent_on = Answer::to(client.request(Method::GET, url)).await?.expect(307)?;
    ensure!(sent_on.body.is_empty() && sent_on.header("cache-control") == Some("no-store"));
    let link = sent_on.header("location").context("307 without Location")?;
    let http = headgate_testkit::reqwest::Client::builder().no_proxy().build()?;
    let there = Answer::to(http.get(link)).await?.expect(200)?;
    Ok((there.header("content-type").context("no content type")?.to_owned(), there.body))
}

async fn status(client: &BulkClient, method: Method, url: &str) -> Result<u16> {
    Ok(Answer::to(client.request(method, url)).await?.status)
}

/// What the error file tells.
fn told(export: &Export) -> Result<Vec<String>> {
    let outcomes = export.download.outcomes()?;
    let text = |outcome: &Value| outcome["issue"][0]["diagnostics"].as_str().map(str::to_owned);
    outcomes.iter().map(|outcome| text(outcome).context("an issue without diagnostics")).collect()
}

#[tokio::test]
async fn an_attachment_by_url_is_had_with_the_token_as_long_as_an_export_is_there_that_leads_to_it()
-> Result<()> {
    let world = world(options()).await?;
    world
        .source(
            "INSERT INTO fhir_export.binary (id, patient_id, content_type, content) VALUES
                ('note-1', 'ann', 'application/pdf', '\\x255044462d312e37000aff'),
                ('logo.2', NULL, 'no type', '\\x00'), ('nobody-asks', 'ann', 'text/plain', 'x')",
        )
        .await?;
    let (note, logo) = (url(&world, "note-1"), url(&world, "logo.2"));
    let pdf = json!({ "contentType": "application/pdf", "url": note });
    attach(&world, "DocumentReference", "d-1", "ann", pdf.clone()).await?;
    attach(&world, "DocumentReference", "d-2", "ann", json!({ "contentType": "text/plain", "data": "eA==" }))
        .await?;
    attach(&world, "DiagnosticReport", "r-1", "bob", json!({ "contentType": "image/png", "url": logo }))
        .await?;
    attach(&world, "DiagnosticReport", "r-2", "bob", pdf).await?;
    assert_eq!(status(&world.client, Method::GET, &note).await?, 404, "nothing was exported yet");

    let status_url = world.start(&Level::System, &[]).await?;
    let export = world.complete(&status_url).await?;
    let found = attachments(&export)?;
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|a| a.get("data").is_some() != a.get("url").is_some()), "{found:?}");
    assert_eq!(told(&export)?, [""; 0]);
    assert!(!export.manifest.to_string().contains("inary"), "no manifest lists them: {}", export.manifest);
    let folder = format!("{}/{}/binary/", world.practice.s3_prefix, export.id);
    let keys: Vec<String> = world.keys()?.into_iter().filter(|key| key.starts_with(&folder)).collect();
    assert_eq!(
        keys,
        [format!("{folder}1"), format!("{folder}2")],
        "each once, and only those that were led to"
    );

    let pdf = ("application/pdf".to_owned(), b"%PDF-1.7\0\n\xff".to_vec());
    assert_eq!(content(&world.client, &note).await?, pdf);
    assert_eq!(content(&world.client, &logo).await?, ("application/octet-stream".to_owned(), vec![0]));
    let head = Answer::to(world.client.request(Method::HEAD, &note)).await?.expect(307)?;
    let head = world.app.http().head(head.header("location").context("no Location")?);
    let head = Answer::to(head).await?.expect(200)?;
    assert_eq!(
        (head.header("content-length"), head.header("content-type")),
        (Some("11"), Some("application/pdf"))
    );

    let again = world.start(&Level::System, &[("_type", "DocumentReference")]).await?;
    world.complete(&again).await?;
    assert_eq!(content(&world.client, &note).await?, pdf);
    assert_eq!(world.client.delete(&again).await?.status, 202);
    assert_eq!(content(&world.client, &note).await?, pdf, "the first export still has it");
    // Nor do pages of partial manifests list them, or wait for them.
    let pages = world.start(&Level::System, &[("allowPartialManifests", "true")]).await?;
    world.until("all are completed", "SELECT bool_and(state <> 'running' AND (ended_at IS NOT NULL OR completed_at IS NOT NULL)) FROM headgate.export").await?;
    let page = world.complete(&pages).await?;
    assert_eq!(attachments(&page)?.len(), 4);
    assert!(
        page.manifest.get("link").is_none() && !page.manifest.to_string().contains("inary"),
        "{}",
        page.manifest
    );
    assert_eq!(world.client.delete(&pages).await?.status, 202);
    assert_eq!(world.client.delete(&status_url).await?.status, 202);
    assert_eq!(status(&world.client, Method::GET, &note).await?, 404);
    world.until_purged().await?;
    assert!(world.keys()?.is_empty());
    assert_eq!(world.number("SELECT count(*) FROM headgate.file WHERE attachment_id IS NOT NULL").await?, 0);
    Ok(())
}

#[tokio::test]
async fn who_may_not_have_the_documents_does_not_get_their_attachments() -> Result<()> {
    let world = world(options()).await?;
    world.source("INSERT INTO fhir_export.binary VALUES ('7', 'ann', now(), 'text/plain', 'secret')").await?;
    let note = url(&world, "7");
    attach(&world, "DocumentReference", "d-1", "ann", json!({ "contentType": "text/plain", "url": note }))
        .await?;
    let export = world.export(&Level::System, &[]).await?;
    assert_eq!(content(&world.client, &note).await?.1, b"secret");

    Answer::to(world.app.http().get(&note)).await?.expect(401)?;
    assert_eq!(status(&world.client.with_token("x"), Method::GET, &note).await?, 401);
    assert_eq!(status(&world.client, Method::POST, &note).await?, 405);
    for id in ["8", "..%2F7", "%2E%2E", "a%20b", "7%00"] {
        assert_eq!(status(&world.client, Method::GET, &url(&world, id)).await?, 404, "{id}");
    }
    let narrow = world.app.token(&world.practice, &world.vendor, "system/Patient.rs").await?;
    assert_eq!(status(&world.client.with_token(narrow), Method::GET, &note).await?, 403);
    // The content lies beside the files, but is none of them.
    let beside = format!("{}/fhir-services/files/{}/binary-1.ndjson", world.practice.base_url, export.id);
    assert_eq!(status(&world.client, Method::GET, &beside).await?, 404);

    let stranger = world.app.vendor_app(&["system/*.rs"]).await?;
    world.app.consent(&world.practice, &stranger).await?;
    let stranger = world.app.client(&world.practice, &stranger).await?;
    assert_eq!(status(&stranger, Method::GET, &note).await?, 404, "another app's export");
    let other = world.app.practice(100_492, "other").create().await?;
    world.app.consent(&other, &world.vendor).await?;
    let other = world.app.token(&other, &world.vendor, "system/*.rs").await?;
    assert_eq!(
        status(&world.client.with_token(other), Method::GET, &note).await?,
        403,
        "another practice's token"
    );

    world.app.revoke(&world.practice, &world.vendor).await?;
    assert_eq!(status(&world.client, Method::GET, &note).await?, 404);
    assert!(!world.app.logs().contains("Binary/7"), "no URL is logged");
    Ok(())
}

/// A mapping that leads to attachments by the base URL of whatever practice uses it.
const DOCUMENTS: &str = r#"{
  "resourceType": "DocumentReference",
  "streams": [{ "relation": "document", "resources": [{
    "resourceType": "DocumentReference", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
    "subject": { "reference": "Patient/{{patient_id}}" },
    "content": [{ "attachment": { "contentType": "{{mime}}", "url": "{{$base_url}}/Binary/{{note_id}}" } }]
  }] }]
}"#;

const DOCUMENT_TABLES: &str = "
    CREATE SCHEMA fhir_export;
    CREATE TABLE fhir_export.patient (id text PRIMARY KEY, patient_id text NOT NULL,
        last_updated timestamptz NOT NULL DEFAULT clock_timestamp(), resource text NOT NULL);
    CREATE TABLE fhir_export.document (id text PRIMARY KEY, patient_id text NOT NULL,
        last_updated timestamptz NOT NULL DEFAULT clock_timestamp(), mime text, note_id text);
    INSERT INTO fhir_export.patient (id, patient_id, resource)
        SELECT p, p, format('{\"resourceType\":\"Patient\",\"id\":\"%s\"}', p) FROM unnest('{ann,bob}'::text[]) AS p;
    INSERT INTO fhir_export.document (id, patient_id, mime, note_id) VALUES
        ('d-1', 'ann', 'text/plain', 'of-ann'), ('d-2', 'ann', 'text/plain', 'of-bob'), ('d-3', 'ann', 'text/plain', 'of-all'),
        ('d-4', 'ann', 'text/plain', 'gone'), ('d-5', 'ann', 'text/plain', 'long'), ('d-6', 'ann', 'text/plain', 'null'),
        ('d-7', 'ann', 'text/plain', 'nil'), ('d-8', 'ann', 'text/plain', NULL), ('d-9', 'bob', 'text/plain', 'of-bob-too');";

const NOTES: &str = "
    INSERT INTO fhir_export.binary (id, patient_id, content_type, content) VALUES
        ('of-ann', 'ann', 'text/plain', 'a'), ('of-bob', 'bob', 'text/plain', 'b'), ('of-all', NULL, 'text/plain', 'c'),
        ('long', 'ann', 'text/plain', repeat('x', 3000)::bytea), ('null', 'ann', 'text/plain', NULL),
        ('nil', 'ann', 'text/plain', ''), ('of-bob-too', 'bob', 'text/plain', 'd');";

#[tokio::test]
async fn templates_lead_to_attachments_by_the_base_url_and_only_those_of_the_group_are_exported() -> Result<()>
{
    let app = options().set("limits.resource_bytes", 2048).start().await?;
    let database = app.new_empty_database().await?;
    let mut ehr = PgConnection::connect(&app.ehr_url(&database)).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("{DOCUMENT_TABLES}{BINARY}{NOTES}"))).execute(&mut ehr).await?;
    grant_reader(&app.ehr_url(&database), "fhir_export", READER).await?;
    app.put_mapping("mine", &[("DocumentReference.json", DOCUMENTS)]).await?;
    let practice = app.practice(100_491, "pod").in_database(&database).mapping("mine");
    let practice = practice.options(json!({ "file_access": "token" })).create().await?;
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(&practice, &vendor).await?;
    let client = app.client(&practice, &vendor).await?;
    app.group(&practice, "g", &["ann"]).await?;
    let world = World { app, practice, vendor, client };

    let export = world.export(&Level::Group("g".to_owned()), &[]).await?;
    let found = attachments(&export)?;
    let urls: Vec<&str> = found.iter().filter_map(|attachment| attachment["url"].as_str()).collect();
    assert_eq!((found.len(), urls.len()), (8, 7), "a document without a note has no URL");
    assert!(urls.iter().all(|there| there.starts_with(&url(&world, ""))), "{urls:?}");
    for (id, expected) in [("of-ann", "a"), ("of-all", "c")] {
        assert_eq!(content(&world.client, &url(&world, id)).await?.1, expected.as_bytes());
    }
    for id in ["of-bob", "of-bob-too", "gone", "long", "null", "nil"] {
        assert_eq!(status(&world.client, Method::GET, &url(&world, id)).await?, 404, "{id}");
    }
    assert_eq!(
        told(&export)?,
        [
            "2 attachments could not be exported: the source has a row for it, but no content",
            "2 attachments could not be exported: the source has no such content, or not of the patients of this export",
            "1 attachment could not be exported: it is longer than this server exports",
        ]
    );
    let all = world.export(&Level::Patient, &[]).await?;
    assert_eq!(all.ids("DocumentReference").len(), 9);
    for (id, expected) in [("of-bob", "b"), ("of-bob-too", "d")] {
        assert_eq!(content(&world.client, &url(&world, id)).await?.1, expected.as_bytes());
    }
    Ok(())
}

#[tokio::test]
async fn urls_at_which_nothing_can_be_had_are_told_in_the_error_file() -> Result<()> {
    let world = World::new().await?;
    world.source(BINARY).await?;
    world.source("INSERT INTO fhir_export.binary VALUES ('7', NULL, now(), 'text/plain', 'x')").await?;
    for (id, to) in
        [("d-1", url(&world, "7")), ("d-2", url(&world, "7")), ("d-3", "https://a.example/7".into())]
    {
        attach(&world, "DocumentReference", id, "ann", json!({ "url": to })).await?;
    }
    let export = world.export(&Level::System, &[]).await?;
    world.assert_rows(&export, "DocumentReference", "true").await?;
    assert_eq!(
        told(&export)?,
        [
            "2 DocumentReference resources lead by URL to attachments that cannot be had here: attachments by URL need \
          the practice's option file_access: token, and it is another"
        ]
    );
    assert_eq!(status(&world.client, Method::GET, &url(&world, "7")).await?, 404);
    assert!(world.keys()?.iter().all(|key| !key.contains("binary")));

    let token = json!({ "file_access": "token" });
    let world = World::with(options(), |practice| practice.options(token)).await?;
    attach(&world, "DocumentReference", "d-1", "ann", json!({ "url": url(&world, "7") })).await?;
    let export = world.export(&Level::System, &[]).await?;
    assert_eq!(
        told(&export)?,
        [
            "1 DocumentReference resource leads by URL to attachments that cannot be had here: the source has no usable \
          relation binary"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_among_attachments_is_replaced_and_each_is_there_once() -> Result<()> {
    // The documents are one file, so that all of their attachments become known at once. No lease but that of the killed
    // worker is to end.
    let settings = options().set("worker.shards", 2).set("worker.publish_files", 1);
    let settings = settings.set("worker.publish_interval_ms", 10).set("lease.duration_s", 10);
    let mut world = world(settings).await?;
    world
        .source(
            "INSERT INTO fhir_export.binary
                 SELECT 'b-' || to_char(n, 'FM000'), 'ann', now(), 'text/plain', ('content ' || n)::bytea
                   FROM generate_series(1, 130) AS n",
        )
        .await?;
    for n in 1..=130 {
        let to = url(&world, &format!("b-{n:03}"));
        attach(&world, "DocumentReference", &format!("d-{n}"), "ann", json!({ "url": to })).await?;
    }
    // In the middle of the first of two shards.
    let mut gate = Gate::before_contents(&world, "b-041").await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    world
        .until(
            "what lies before the gate is published",
            "SELECT count(*) = 40 FROM headgate.file WHERE kind = 'attachment'",
        )
        .await?;
    assert_eq!(status(&world.client, Method::GET, &url(&world, "b-001")).await?, 404, "it is not complete");
    world.app.worker(0).kill()?;
    gate.open().await?;
    world.app.restart_worker(0)?;

    let export = world.complete(&status_url).await?;
    assert_eq!(told(&export)?, [""; 0]);
    let of_fence = "SELECT count(*) FROM headgate.file WHERE kind = 'attachment' AND fence = 1";
    assert_eq!(world.number(of_fence).await?, 40, "what was published is not made again");
    assert_eq!(world.number("SELECT count(*) FROM headgate.file WHERE kind = 'attachment'").await?, 130);
    for n in 1..=130 {
        let there = content(&world.client, &url(&world, &format!("b-{n:03}"))).await?;
        assert_eq!(there, ("text/plain".to_owned(), format!("content {n}").into_bytes()));
    }
    Ok(())
}

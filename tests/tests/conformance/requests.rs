//! Requests as the guide and its clients write them, and what tests ask of the answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::{Method, Url};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, BulkClient, Download, Level};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::GROUP;

pub const ACCEPT: (&str, &str) = ("Accept", "application/fhir+json");
pub const PREFER: (&str, &str) = ("Prefer", "respond-async");
pub const LENIENT: (&str, &str) = ("Prefer", "respond-async, handling=lenient");
pub const SEPARATE: (&str, &str) = ("Prefer", "respond-async, separate-export-status");

/// A pause between polls of one export that a test repeats. Polls are counted: without it a long wait would use up
/// those that come after it.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Surely less than the age at which the stage tells that an export is complete.
const YOUNG: Duration = Duration::from_millis(300);

/// The three levels, the last with the group of the stage.
pub fn levels() -> [Level; 3] {
    [Level::System, Level::Patient, group()]
}

/// The level of the stage's group.
pub fn group() -> Level {
    Level::Group(GROUP.to_owned())
}

/// A parameter of a POST with `valueString`.
pub fn string(name: &str, value: &str) -> Value {
    json!({ "name": name, "valueString": value })
}

/// A parameter of a POST with `valueInstant`.
pub fn instant(name: &str, value: &str) -> Value {
    json!({ "name": name, "valueInstant": value })
}

/// A `patient` of a POST.
pub fn patient(id: &str) -> Value {
    json!({ "name": "patient", "valueReference": { "reference": format!("Patient/{id}") } })
}

/// A `Parameters` resource.
pub fn parameters(list: &[Value]) -> String {
    json!({ "resourceType": "Parameters", "parameter": list }).to_string()
}

/// Kicks off by POST with the headers of the guide.
pub async fn post(client: &BulkClient, level: &Level, list: &[Value]) -> Result<Answer> {
    post_with(client, level, parameters(list), &[ACCEPT, PREFER, CONTENT]).await
}

const CONTENT: (&str, &str) = ("Content-Type", "application/fhir+json");

/// Kicks off by POST with any body and the given headers.
pub async fn post_with(
    client: &BulkClient,
    level: &Level,
    body: String,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    let mut request = client.request(Method::POST, &level.path()).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::to(request).await
}

/// Kicks off by GET with the query exactly as it is written here.
pub async fn get_raw(client: &BulkClient, level: &Level, query: &str) -> Result<Answer> {
    let request = client.request(Method::GET, &format!("{}?{query}", level.path()));
    Answer::to(request.header(ACCEPT.0, ACCEPT.1).header(PREFER.0, PREFER.1)).await
}

/// Kicks off by GET with lenient handling.
pub async fn get_lenient(client: &BulkClient, level: &Level, query: &[(&str, &str)]) -> Result<Answer> {
    client.kick_off_with(level, query, &[ACCEPT, LENIENT]).await
}

/// The polling URL of a kick-off that was accepted.
pub fn status_url(answer: Answer) -> Result<String> {
    let answer = answer.expect(202)?;
    answer.header("content-location").map(str::to_owned).context("202 without Content-Location")
}

/// Kicks off and polls at once: the polling URL, and the answer, which has to be that of an export in progress. Where
/// the machine stalled in between, the export may be complete by right; then another one is kicked off.
pub async fn first_poll(
    client: &BulkClient,
    kick_off: impl AsyncFn() -> Result<Answer>,
) -> Result<(String, Answer)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let begun = Instant::now();
        let url = status_url(kick_off().await?)?;
        let answer = client.poll(&url).await?;
        // Only who has to come again is told when.
        let in_progress = answer.header("retry-after").is_some();
        if in_progress || begun.elapsed() < YOUNG || tries == 5 {
            return Ok((url, answer));
        }
    }
}

/// A completed export, downloaded.
pub struct Export {
    pub status_url: String,
    pub manifest: Value,
    pub download: Download,
}

impl Export {
    /// The ids of a type's output, in byte order; one that came out twice is there twice.
    pub fn ids(&self, resource_type: &str) -> Vec<String> {
        self.download.ids(resource_type).expect("exported lines are resources")
    }

    /// The resources of a type by id.
    pub fn resources(&self, resource_type: &str) -> BTreeMap<String, Value> {
        let parse = |line: String| {
            let resource: Value = line.parse().expect("exported lines are JSON");
            (resource["id"].as_str().unwrap_or_default().to_owned(), resource)
        };
        self.download.lines(resource_type).into_iter().map(parse).collect()
    }

    /// The types that came out.
    pub fn types(&self) -> Vec<String> {
        self.download.by_type().into_keys().collect()
    }

    /// `type/id` of everything that came out, in byte order.
    pub fn all(&self) -> Vec<String> {
        let of = |t: String| self.ids(&t).into_iter().map(move |id| format!("{t}/{id}")).collect::<Vec<_>>();
        let mut all: Vec<String> = self.types().into_iter().flat_map(of).collect();
        all.sort();
        all
    }

    /// The diagnostics of the error files, one a line.
    pub fn told(&self) -> Result<String> {
        Ok(self.download.outcomes()?.iter().map(diagnostics).collect::<Vec<_>>().join("\n"))
    }

    /// The references that the files of deletions tell, in byte order, each line being a Bundle as the guide wants it.
    pub fn deleted(&self) -> Result<Vec<String>> {
        let mut deleted = Vec::new();
        for line in self.download.section("deleted").flat_map(|file| &file.lines) {
            let bundle: Value = line.parse()?;
            ensure!(bundle["resourceType"] == "Bundle" && bundle["type"] == "transaction", "{bundle}");
            let entries = bundle["entry"].as_array().context("a bundle without entries")?;
            ensure!(!entries.is_empty(), "an empty bundle");
            for entry in entries {
                ensure!(entry["request"]["method"] == "DELETE", "{entry}");
                deleted.push(entry["request"]["url"].as_str().context("no url")?.to_owned());
            }
        }
        deleted.sort();
        Ok(deleted)
    }
}

/// Waits for the export of a kick-off and downloads it, holding every file against its entry in the manifest.
pub async fn finish(client: &BulkClient, kick_off: Answer) -> Result<Export> {
    let status_url = status_url(kick_off)?;
    let manifest = client.wait_complete(&status_url).await?;
    let download = client.download_all(&manifest).await?;
    Ok(Export { status_url, manifest, download })
}

/// Exports from a kick-off by GET to the last file.
pub async fn export(client: &BulkClient, level: &Level, query: &[(&str, &str)]) -> Result<Export> {
    finish(client, client.kick_off(level, query).await?).await
}

/// Exports from a kick-off by POST to the last file.
pub async fn export_by_post(client: &BulkClient, level: &Level, list: &[Value]) -> Result<Export> {
    finish(client, post(client, level, list).await?).await
}

/// Fails unless the kick-off was accepted; the export is deleted.
pub async fn accepted(client: &BulkClient, kick_off: Answer) -> Result<()> {
    client.delete(&status_url(kick_off)?).await?.expect(202)?;
    Ok(())
}

/// What a refusal says. Fails unless it has this status and is an OperationOutcome of errors for a developer.
pub fn refusal(answer: &Answer, status: u16) -> Result<String> {
    let text = answer.text();
    ensure!(answer.status == status, "status {} instead of {status}: {text}", answer.status);
    ensure!(answer.header("content-type") == Some("application/fhir+json"), "{:?}", answer.headers);
    ensure!(answer.header("content-location").is_none(), "a refusal names a polling URL");
    let outcome = answer.json()?;
    ensure!(outcome["resourceType"] == "OperationOutcome", "{text}");
    let issues = outcome["issue"].as_array().context("no issue")?;
    ensure!(!issues.is_empty(), "no issue: {text}");
    for issue in issues {
        ensure!(issue["severity"] == "error" && issue["code"].is_string(), "{text}");
    }
    Ok(diagnostics(&outcome))
}

/// The diagnostics of an OperationOutcome, one a line.
pub fn diagnostics(outcome: &Value) -> String {
    let issues = outcome["issue"].as_array().map(Vec::as_slice).unwrap_or_default();
    issues.iter().filter_map(|issue| issue["diagnostics"].as_str()).collect::<Vec<_>>().join("\n")
}

/// The entries of a list of a manifest.
pub fn entries<'a>(manifest: &'a Value, list: &str) -> Result<&'a Vec<Value>> {
    manifest[list].as_array().with_context(|| format!("no array {list}: {manifest}"))
}

/// The URL of the first file of a type.
pub fn url_of(manifest: &Value, resource_type: &str) -> Result<String> {
    let entry = entries(manifest, "output")?.iter().find(|entry| entry["type"] == resource_type);
    let url = entry.and_then(|entry| entry["url"].as_str());
    url.map(str::to_owned).with_context(|| format!("no file of {resource_type}"))
}

/// Fails unless a text is an absolute http or https URL.
pub fn absolute(url: &Value) -> Result<Url> {
    let text = url.as_str().context("no URL")?;
    let parsed: Url = text.parse().with_context(|| format!("not absolute: {text}"))?;
    ensure!(matches!(parsed.scheme(), "http" | "https") && parsed.has_host(), "{text}");
    Ok(parsed)
}

/// Status and body of a request with exactly these headers beside `Host`; an HTTP client would add some of its own.
pub async fn bare(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, String)> {
    let (host, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("not an http URL")?;
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

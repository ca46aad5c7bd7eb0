//! Partial manifests, pages of manifests, and the two forms of a kick-off.

use super::scripted::*;
use super::*;

const LINE: &str = "{\"resourceType\":\"A\",\"id\":\"1\"}\n";

fn files() -> Script {
    Script::default().with_files(&[("a.ndjson", LINE), ("b.ndjson", LINE), ("c.ndjson", LINE)])
}

#[tokio::test]
async fn files_of_a_partial_manifest_come_while_the_export_runs_each_once() {
    let a = ("a.ndjson", "A");
    let b = ("b.ndjson", "A");
    let script = files().with_job(vec![
        // It is not before a is downloaded that the export goes on.
        vec![
            running(),
            ready(manifest("2026-01-01T00:00:00Z", &[a], None)).until("a.ndjson"),
            ready(manifest("2026-01-01T00:00:00Z", &[a], Some(1))),
        ],
        vec![
            running(),
            ready(manifest("2026-01-01T00:00:00Z", &[b], None)).until("b.ndjson"),
            running(),
            ready(manifest("2026-01-01T00:00:00Z", &[b], Some(2))),
        ],
        vec![running(), complete(manifest("2026-01-01T00:00:00Z", &[("c.ndjson", "A")], None))],
    ]);
    let server = serve(script).await;
    let out = tempfile::tempdir().unwrap();
    let summary = export(&server, &asked(out.path())).await.unwrap();
    assert_eq!((summary.files, summary.resources), (3, 3));
    for name in ["a.ndjson", "b.ndjson", "c.ndjson"] {
        assert_eq!(server.downloads_of(name), 1, "{name}");
        assert_eq!(std::fs::read_to_string(out.path().join(name)).unwrap(), LINE);
    }
    let record = std::fs::read_to_string(out.path().join("manifest.json")).unwrap();
    assert_eq!(record.matches("\"file\":").count(), 3, "{record}");
}

#[tokio::test]
async fn a_complete_manifest_in_pages_is_read_to_its_end() {
    let script = files().with_job(vec![
        vec![complete(manifest("2026-01-01T00:00:00Z", &[("a.ndjson", "A")], Some(1)))],
        vec![complete(manifest("2026-01-01T00:00:00Z", &[("b.ndjson", "A"), ("c.ndjson", "A")], None))],
    ]);
    let server = serve(script).await;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(export(&server, &asked(out.path())).await.unwrap().files, 3);
}

#[tokio::test]
async fn pages_in_a_circle_and_pages_of_two_exports_are_refused() {
    let circle = files().with_job(vec![
        vec![complete(manifest("2026-01-01T00:00:00Z", &[("a.ndjson", "A")], Some(1)))],
        vec![complete(manifest("2026-01-01T00:00:00Z", &[("b.ndjson", "A")], Some(1)))],
    ]);
    let out = tempfile::tempdir().unwrap();
    let error = export(&*serve(circle).await, &asked(out.path())).await.unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");

    let mixed = files().with_job(vec![
        vec![complete(manifest("2026-01-01T00:00:00Z", &[("a.ndjson", "A")], Some(1)))],
        vec![complete(manifest("2026-01-02T00:00:00Z", &[("b.ndjson", "A")], None))],
    ]);
    let out = tempfile::tempdir().unwrap();
    let error = export(&*serve(mixed).await, &asked(out.path())).await.unwrap_err();
    assert!(matches!(error, ExportError::ManifestChanged("another transactionTime")), "{error}");
}

#[tokio::test]
async fn a_kick_off_is_sent_by_get_or_by_post() {
    let done = || vec![vec![complete(manifest("2026-01-01T00:00:00Z", &[("a.ndjson", "A")], None))]];
    let server = serve(files().with_job(done()).with_job(done())).await;
    let parent = tempfile::tempdir().unwrap();
    let mut options = asked(&parent.path().join("get"));
    options.request = Request {
        type_filters: vec!["A?x=1|2,3".to_owned(), "A?y=+".to_owned()],
        ..Request::new(Level::Patient)
    };
    export(&server, &options).await.unwrap();
    options.out = parent.path().join("post");
    options.request =
        Request { patients: vec!["p1".to_owned()], lenient: true, ..Request::new(Level::Patient) };
    export(&server, &options).await.unwrap();
    let sent = server.script(|script| script.kicked_off.clone());
    assert_eq!((sent[0].method.as_str(), sent[0].prefer.as_str()), ("GET", "respond-async"));
    assert_eq!(sent[0].uri, "/fhir/Patient/$export?_typeFilter=A%3Fx%3D1%7C2%2C3&_typeFilter=A%3Fy%3D%2B");
    assert_eq!((sent[1].method.as_str(), sent[1].uri.as_str()), ("POST", "/fhir/Patient/$export"));
    assert_eq!(sent[1].prefer, "respond-async, handling=lenient");
    assert_eq!(sent[1].content_type.as_deref(), Some("application/fhir+json"));
    let body: Value = serde_json::from_str(&sent[1].body).unwrap();
    assert_eq!(body["parameter"][0]["valueReference"]["reference"], "Patient/p1");
}

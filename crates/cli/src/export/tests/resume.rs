//! Exports that are interrupted, and gone on with.

use super::scripted::*;
use super::*;

const A: &str = "{\"resourceType\":\"A\",\"id\":\"1\"}\n";
const B: &str = "{\"resourceType\":\"B\",\"id\":\"1\"}\n{\"resourceType\":\"B\",\"id\":\"2\"}\n";
const TIME: &str = "2026-01-01T00:00:00Z";

/// An export of two files whose size and digest are told, and one of which nothing is told.
fn script() -> Script {
    let files = [("a.ndjson", "A"), ("b.ndjson", "B"), ("plain.ndjson", "A")];
    Script::default()
        .with_files(&[("a.ndjson", A), ("b.ndjson", B), ("plain.ndjson", A)])
        .with_job(vec![vec![running(), complete(manifest(TIME, &files, None))]])
}

fn assert_whole(out: &Path) {
    for (name, text) in [("a.ndjson", A), ("b.ndjson", B), ("plain.ndjson", A)] {
        assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), text, "{name}");
    }
    assert_eq!(names(out), ["a.ndjson", "b.ndjson", "export.json", "manifest.json", "plain.ndjson"]);
}

/// Exports until `b` hangs and the rest is here, then drops everything.
async fn interrupted(server: &Arc<Server>, out: &Path) {
    server.script(|script| script.stalls.insert("b.ndjson".to_owned()));
    let (client, options) = (server.client(), asked(out));
    let task = tokio::spawn(async move { client.export(&options, &Progress::silent()).await });
    let here = |name: &str| out.join(name).exists();
    while !(here("a.ndjson") && here("plain.ndjson") && server.downloads_of("b.ndjson") > 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    let _ = task.await;
    server.script(|script| script.stalls.clear());
}

#[tokio::test]
async fn an_interrupted_export_is_gone_on_with_and_what_is_whole_is_kept() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    interrupted(&server, out.path()).await;
    let summary = export(&server, &asked(out.path())).await.unwrap();
    assert_eq!((summary.resources, summary.already_complete), (4, false));
    assert_whole(out.path());
    assert_eq!(server.script(|script| script.kicked_off.len()), 1);
    assert_eq!(server.downloads_of("a.ndjson"), 1);
    assert_eq!(server.downloads_of("b.ndjson"), 2);
}

#[tokio::test]
async fn an_export_dropped_at_any_moment_comes_to_the_same_end() {
    let server = serve(script()).await;
    server.script(|script| script.ranges = true);
    let out = tempfile::tempdir().unwrap();
    let mut dropped = 0;
    loop {
        if dropped % 3 == 1 {
            server.script(|script| script.breaks.insert("b.ndjson".to_owned(), 9));
        }
        let limit = Duration::from_millis(1).mul_f64(1.25_f64.powi(dropped));
        let (client, options) = (server.client(), asked(out.path()));
        match tokio::time::timeout(limit, client.export(&options, &Progress::silent())).await {
            Ok(done) => break drop(done.unwrap()),
            Err(_) => dropped += 1,
        }
        // Only the first export of the script exists: a kick-off that was sent and not written down is repeated.
        server.script(|script| script.jobs = vec![script.jobs[0].clone(); script.kicked_off.len() + 1]);
    }
    assert!(dropped > 3, "{dropped}");
    assert_whole(out.path());
}

#[tokio::test]
async fn a_file_that_was_changed_meanwhile_is_fetched_again() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    interrupted(&server, out.path()).await;
    std::fs::write(out.path().join("a.ndjson"), A.replace('1', "9")).unwrap();
    export(&server, &asked(out.path())).await.unwrap();
    assert_whole(out.path());
    assert_eq!(server.downloads_of("a.ndjson"), 2);
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_behind_what_is_here() {
    let server = serve(script()).await;
    server.script(|script| {
        script.ranges = true;
        script.breaks.insert("b.ndjson".to_owned(), 20);
        script.breaks.insert("plain.ndjson".to_owned(), 20);
    });
    let out = tempfile::tempdir().unwrap();
    export(&server, &asked(out.path())).await.unwrap();
    assert_whole(out.path());
    let asked_for = |name: &str| -> Vec<Option<String>> {
        let of = |script: &mut Script| script.downloads.iter().filter(|(n, _)| n == name).cloned().collect();
        let all: Vec<(String, Option<String>)> = server.script(of);
        all.into_iter().map(|(_, range)| range).collect()
    };
    assert_eq!(asked_for("b.ndjson"), [None, Some("bytes=20-".to_owned())]);
    // Without a digest nothing would show whether the parts belong together.
    assert_eq!(asked_for("plain.ndjson"), [None, None]);
}

#[tokio::test]
async fn a_beginning_of_another_file_is_found_out_and_thrown_away() {
    let server = serve(script()).await;
    server.script(|script| {
        script.ranges = true;
        script.breaks.insert("b.ndjson".to_owned(), 20);
    });
    let out = tempfile::tempdir().unwrap();
    interrupted(&server, out.path()).await;
    let part = out.path().join("b.ndjson.part");
    let mut wrong = std::fs::read(&part).unwrap_or_default();
    wrong.resize(20, b'x');
    wrong[0] = b'x';
    std::fs::write(&part, wrong).unwrap();
    std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o600)).unwrap();
    export(&server, &asked(out.path())).await.unwrap();
    assert_whole(out.path());
}

#[tokio::test]
async fn an_export_that_is_gone_is_started_anew_only_on_demand() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    interrupted(&server, out.path()).await;
    let files = [("a.ndjson", "A"), ("b.ndjson", "B")];
    server.script(|script| {
        script.jobs = vec![
            vec![],
            vec![
                vec![complete(manifest(TIME, &files, None))]
                    .into_iter()
                    .collect::<std::collections::VecDeque<_>>(),
            ],
        ];
    });
    let error = export(&server, &asked(out.path())).await.unwrap_err();
    assert!(matches!(error, ExportError::Gone) && error.to_string().contains("--restart"), "{error}");
    assert_eq!(server.script(|script| script.kicked_off.len()), 1);
    let anew = Options { restart: true, ..asked(out.path()) };
    assert_eq!(export(&server, &anew).await.unwrap().resources, 3);
    assert_eq!(server.script(|script| script.kicked_off.len()), 2);
    // Nothing of the former export is left between the files of the new one.
    assert_eq!(names(out.path()), ["a.ndjson", "b.ndjson", "export.json", "manifest.json"]);
}

#[tokio::test]
async fn a_complete_folder_says_so_without_asking_and_notices_what_is_missing() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    let first = export(&server, &asked(out.path())).await.unwrap();
    let polls = server.script(|script| script.polls);
    let again = export(&server, &asked(out.path())).await.unwrap();
    assert_eq!(again, Summary { already_complete: true, ..first });
    assert!(again.table().contains("complete already"), "{}", again.table());
    assert_eq!(server.script(|script| (script.polls, script.kicked_off.len())), (polls, 1));
    std::fs::remove_file(out.path().join("b.ndjson")).unwrap();
    let error = export(&server, &asked(out.path())).await.unwrap_err();
    assert!(matches!(&error, ExportError::FileChanged { name } if name == "b.ndjson"), "{error}");
}

#[tokio::test]
async fn a_folder_with_another_request_is_left_alone() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    interrupted(&server, out.path()).await;
    let mut other = asked(out.path());
    other.request.types.push("B".to_owned());
    let error = export(&server, &other).await.unwrap_err();
    assert!(matches!(error, ExportError::OtherRequest(_)), "{error}");
    export(&server, &asked(out.path())).await.unwrap();
    assert_whole(out.path());
}

#[tokio::test]
async fn the_record_is_private_and_holds_neither_token_nor_signature() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    export(&server, &asked(out.path())).await.unwrap();
    let path = out.path().join("export.json");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains("s3cret") && !text.contains("secret"), "{text}");
    assert!(text.contains("\"sha256\"") && text.contains("\"state\": \"complete\""), "{text}");
}

#[tokio::test]
async fn a_record_that_leads_out_of_the_folder_is_refused() {
    let server = serve(script()).await;
    let out = tempfile::tempdir().unwrap();
    export(&server, &asked(out.path())).await.unwrap();
    let path = out.path().join("export.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"a.ndjson\"", "\"../a.ndjson\"")).unwrap();
    let error = export(&server, &asked(out.path())).await.unwrap_err();
    assert!(matches!(error, ExportError::Remembered { .. }), "{error}");
}

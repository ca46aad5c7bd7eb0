//! Increments: a full export and what changed since add up to the end state.

use std::collections::{BTreeSet, VecDeque};

use super::scripted::*;
use super::*;
use crate::export::increment;
use crate::export::merge::merge;

type Resources = BTreeMap<(&'static str, u32), u32>;

fn line(name: &str, id: u32, version: u32) -> String {
    format!("{{\"resourceType\":\"{name}\",\"id\":\"{id}\",\"version\":{version}}}\n")
}

/// The server's data: two types of resources, which change from run to run.
#[derive(Default)]
struct Ehr {
    now: Resources,
    runs: u32,
}

impl Ehr {
    /// Changes something, and adds the export of what changed to the script.
    fn export(&mut self, server: &Server, changes: &[(&'static str, u32, Option<u32>)]) {
        self.runs += 1;
        let run = self.runs;
        let mut changed: BTreeMap<&str, String> = BTreeMap::new();
        let mut deleted = String::new();
        for (name, id, version) in changes {
            match version {
                Some(version) => {
                    self.now.insert((name, *id), *version);
                    changed.entry(name).or_default().push_str(&line(name, *id, *version));
                }
                None => {
                    self.now.remove(&(*name, *id));
                    let entry = json!({ "request": { "method": "DELETE", "url": format!("{name}/{id}") } });
                    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
                    deleted.push_str(&format!("{bundle}\n"));
                }
            }
        }
        let mut files = Vec::new();
        for (name, text) in changed {
            files.push((format!("{name}_{run}.ndjson"), name, text));
        }
        if !deleted.is_empty() {
            files.push((format!("deleted_{run}.ndjson"), "Bundle", deleted));
        }
        let listed: Vec<(&str, &str)> = files.iter().map(|(file, kind, _)| (file.as_str(), *kind)).collect();
        let time = format!("2026-01-01T00:00:{run:02}.500Z");
        let pages = vec![VecDeque::from([running(), complete(manifest(&time, &listed, None))])];
        server.script(|script| {
            script.jobs.push(pages);
            script.files.extend(files.into_iter().map(|(file, _, text)| (file, text)));
        });
    }

    fn lines(&self) -> BTreeSet<String> {
        self.now.iter().map(|((name, id), version)| line(name, *id, *version).trim().to_owned()).collect()
    }
}

/// All lines of the current state; each only once.
fn current(out: &Path) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for name in names(&out.join("current")) {
        for line in std::fs::read_to_string(out.join("current").join(name)).unwrap().lines() {
            assert!(lines.insert(line.to_owned()), "{line} is there twice");
        }
    }
    lines
}

async fn next(server: &Server, out: &Path) -> Result<Summary, ExportError> {
    increment::run(&server.client(), &asked(out), &out.join("state.json"), &Progress::silent()).await
}

#[tokio::test]
async fn a_full_export_and_increments_add_up_to_the_end_state() {
    let server = serve(Script::default()).await;
    let out = tempfile::tempdir().unwrap();
    let mut ehr = Ehr::default();
    ehr.export(&server, &[("A", 1, Some(1)), ("A", 2, Some(1)), ("A", 3, Some(1)), ("B", 1, Some(1))]);
    let summary = next(&server, out.path()).await.unwrap();
    assert_eq!(summary.merged.as_ref().map(|m| (m.run, m.written, m.removed)), Some((1, 4, 0)));
    assert_eq!(current(out.path()), ehr.lines());

    ehr.export(&server, &[("A", 2, Some(2)), ("A", 4, Some(1)), ("B", 1, None), ("A", 1, None)]);
    let summary = next(&server, out.path()).await.unwrap();
    assert_eq!(summary.merged.as_ref().map(|m| (m.run, m.written, m.removed)), Some((2, 2, 2)));
    assert_eq!(current(out.path()), ehr.lines());
    // A type without resources has no file.
    assert_eq!(names(&out.path().join("current")), ["A.ndjson"]);

    ehr.export(&server, &[("A", 1, Some(3)), ("B", 9, Some(1)), ("A", 3, None), ("A", 77, None)]);
    next(&server, out.path()).await.unwrap();
    assert_eq!(current(out.path()), ehr.lines());

    let uris: Vec<String> =
        server.script(|script| script.kicked_off.iter().map(|sent| sent.uri.clone()).collect());
    assert!(!uris[0].contains("_since"), "{uris:?}");
    assert!(uris[1].contains("_since=2026-01-01T00%3A00%3A01.500Z"), "{uris:?}");
    assert!(uris[2].contains("_since=2026-01-01T00%3A00%3A02.500Z"), "{uris:?}");
    let state = std::fs::read_to_string(out.path().join("state.json")).unwrap();
    assert!(state.contains("2026-01-01T00:00:03.500Z") && state.contains("\"level\": \"system\""), "{state}");
    let mode = |name: &str| out.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state.json"), mode("current"), mode("current/A.ndjson")), (0o600, 0o700, 0o600));
}

#[tokio::test]
async fn a_chain_that_is_interrupted_anywhere_adds_up_to_the_same() {
    let server = serve(Script::default()).await;
    let out = tempfile::tempdir().unwrap();
    let mut ehr = Ehr::default();
    ehr.export(&server, &[("A", 1, Some(1)), ("A", 2, Some(1)), ("B", 1, Some(1))]);
    next(&server, out.path()).await.unwrap();
    ehr.export(&server, &[("A", 2, Some(2)), ("B", 1, None), ("B", 2, Some(1))]);
    let before = std::fs::read(out.path().join("state.json")).unwrap();
    next(&server, out.path()).await.unwrap();

    // As if it had been killed after the merge, and half-way through it: the state still names the first run.
    for undone in [&["A.ndjson"][..], &["A.ndjson", "B.ndjson"], &[]] {
        std::fs::write(out.path().join("state.json"), &before).unwrap();
        for name in undone {
            let text =
                std::fs::read_to_string(out.path().join("runs/1").join(name.replace('.', "_1."))).unwrap();
            std::fs::write(out.path().join("current").join(name), text).unwrap();
        }
        std::fs::write(out.path().join("current/A.ndjson.part"), "{half a li").unwrap();
        ehr.export(&server, &[("A", 5, Some(ehr.runs))]);
        let summary = next(&server, out.path()).await.unwrap();
        // The run that was complete is merged, and a further one is made.
        assert!(!summary.already_complete);
        assert_eq!(summary.merged.map(|merged| merged.run), Some(3));
        assert_eq!(current(out.path()), ehr.lines(), "{undone:?}");
        std::fs::remove_dir_all(out.path().join("runs/3")).unwrap();
    }
}

#[tokio::test]
async fn merging_a_run_twice_gives_the_same_as_merging_it_once() {
    let server = serve(Script::default()).await;
    let out = tempfile::tempdir().unwrap();
    let mut ehr = Ehr::default();
    ehr.export(&server, &[("A", 1, Some(1)), ("A", 2, Some(1)), ("B", 1, Some(1))]);
    next(&server, out.path()).await.unwrap();
    ehr.export(&server, &[("A", 2, Some(2)), ("B", 1, None)]);
    next(&server, out.path()).await.unwrap();
    let (run, state) = (out.path().join("runs/2"), out.path().join("current"));
    merge(&run, &state, false).await.unwrap();
    assert_eq!(current(out.path()), ehr.lines());
    // A full run takes the place of all that is there.
    std::fs::write(state.join("C.ndjson"), line("C", 1, 1)).unwrap();
    merge(&out.path().join("runs/1"), &state, true).await.unwrap();
    assert_eq!(names(&state), ["A.ndjson", "B.ndjson"]);
}

#[tokio::test]
async fn what_cannot_be_merged_changes_neither_files_nor_state() {
    for (wrong, why) in [
        (
            "{\"resourceType\":\"Bundle\",\"entry\":[{\"request\":{\"method\":\"PUT\",\"url\":\"A/1\"}}]}\n",
            "deletion",
        ),
        (
            "{\"resourceType\":\"Bundle\",\"entry\":[{\"request\":{\"method\":\"DELETE\",\"url\":\"A?x=1\"}}]}\n",
            "name",
        ),
        ("{}\n", "Bundle"),
    ] {
        let server = serve(Script::default()).await;
        let out = tempfile::tempdir().unwrap();
        let mut ehr = Ehr::default();
        ehr.export(&server, &[("A", 1, Some(1))]);
        next(&server, out.path()).await.unwrap();
        let lines = ehr.lines();
        ehr.export(&server, &[("A", 1, Some(2)), ("A", 3, None)]);
        server.script(|script| script.files.insert("deleted_2.ndjson".to_owned(), wrong.to_owned()));
        let before = std::fs::read(out.path().join("state.json")).unwrap();
        let error = next(&server, out.path()).await.unwrap_err();
        assert!(matches!(&error, ExportError::Merge { .. }) && error.to_string().contains(why), "{error}");
        assert_eq!(current(out.path()), lines);
        assert_eq!(std::fs::read(out.path().join("state.json")).unwrap(), before);
    }
}

#[tokio::test]
async fn a_chain_is_continued_only_by_the_same_request_and_from_a_usable_time() {
    let server = serve(Script::default()).await;
    let out = tempfile::tempdir().unwrap();
    let mut ehr = Ehr::default();
    ehr.export(&server, &[("A", 1, Some(1))]);
    next(&server, out.path()).await.unwrap();
    let mut other = asked(out.path());
    other.request.level = Level::Patient;
    let state = out.path().join("state.json");
    let error = increment::run(&server.client(), &other, &state, &Progress::silent()).await.unwrap_err();
    assert!(error.to_string().contains("another request"), "{error}");
    // A state that lost its file and its first run is not taken for a new one.
    std::fs::remove_file(&state).unwrap();
    std::fs::remove_dir_all(out.path().join("runs")).unwrap();
    assert!(matches!(next(&server, out.path()).await, Err(ExportError::Remembered { .. })));

    let timeless = Script::default().with_job(vec![vec![complete(manifest("yesterday", &[], None))]]);
    let out = tempfile::tempdir().unwrap();
    let error = next(&*serve(timeless).await, out.path()).await.unwrap_err();
    assert!(error.to_string().contains("transactionTime"), "{error}");
    assert!(!out.path().join("state.json").exists());
}

#[tokio::test]
async fn a_run_whose_export_is_over_at_the_server_is_started_anew_by_the_chain_itself() {
    for over in [vec![], vec![VecDeque::from([failed()])]] {
        let server = serve(Script::default()).await;
        let out = tempfile::tempdir().unwrap();
        let mut ehr = Ehr::default();
        ehr.export(&server, &[("A", 1, Some(1)), ("B", 2, Some(1))]);
        server.script(|script| script.stalls.insert("B_1.ndjson".to_owned()));
        let (one, folder) = (server.clone(), out.path().to_owned());
        let task = tokio::spawn(async move { next(&one, &folder).await.map(drop) });
        while server.downloads_of("B_1.ndjson") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        task.abort();
        let _ = task.await;
        server.script(|script| {
            script.stalls.clear();
            let anew = std::mem::replace(&mut script.jobs[0], over);
            script.jobs.push(anew);
        });
        next(&server, out.path()).await.unwrap();
        assert_eq!(current(out.path()), ehr.lines());
        assert_eq!(server.script(|script| script.kicked_off.len()), 2);
    }
}

//! Groups: their members as JSON, NDJSON and CSV.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, TestApp};
use tokio::io::AsyncWriteExt as _;

use crate::scene::{Scene, alone, eventually, play, problem};

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv";

/// A group of a practice, by its path.
struct Group<'a> {
    scene: &'a Scene,
    path: String,
}

impl<'a> Group<'a> {
    async fn new(scene: &'a Scene) -> Result<Self> {
        let path = format!("practices/{}/groups/g{}", scene.clinic.number, scene.number());
        let made = scene.app.admin().put(&path, &json!({ "name": "A group" })).await?.expect(201)?;
        ensure!(made.json()?["member_count"] == 0, "{}", made.text());
        Ok(Self { scene, path })
    }

    async fn send(&self, method: Method, query: &str, content_type: &str, body: &str) -> Result<Answer> {
        let path = format!("{}/members{query}", self.path);
        let request = self.scene.app.admin().request(method, &path).header("Content-Type", content_type);
        Answer::to(request.body(body.to_owned())).await
    }

    async fn members(&self) -> Result<Vec<(String, String)>> {
        let path = format!("{}/members?limit=1000", self.path);
        let list = self.scene.app.admin().get(&path).await?.expect(200)?.json()?;
        let members = list["members"].as_array().context("no members")?;
        let text = |member: &Value, name: &str| member[name].as_str().unwrap_or_default().to_owned();
        Ok(members.iter().map(|m| (text(m, "patient_id"), text(m, "member_since"))).collect())
    }

    async fn ids(&self) -> Result<Vec<String>> {
        let mut ids: Vec<String> = self.members().await?.into_iter().map(|(id, _)| id).collect();
        ids.sort();
        Ok(ids)
    }
}

/// Whether the counts of an answer are these: joined, left, members, duplicates.
fn counted(answer: &Answer, counts: [u64; 4]) -> Result<()> {
    let body = answer.json()?;
    let found = ["joined", "left", "member_count", "duplicates"].map(|name| body[name].as_u64());
    ensure!(found == counts.map(Some), "{body}");
    ensure!(body["group"]["member_count"] == counts[2], "{body}");
    Ok(())
}

#[test]
fn members_come_in_three_forms_with_the_same_result() -> Result<()> {
    play(async |scene| {
        let group = Group::new(scene).await?;
        let put = Method::PUT;
        let answer = group
            .send(put.clone(), "", "application/json", r#"{"patient_ids":["a","b","a"]}"#)
            .await?
            .expect(200)?;
        counted(&answer, [2, 0, 2, 1])?;
        let before = group.members().await?;
        let answer = group
            .send(put.clone(), "", NDJSON, "\"b\"\n{\"patient_id\":\"c-1\"}\n\n\"b\"\n")
            .await?
            .expect(200)?;
        counted(&answer, [1, 1, 2, 1])?;
        ensure!(group.ids().await? == ["b", "c-1"]);
        // Who stays keeps the time of joining.
        let kept = |members: &[(String, String)]| members.iter().find(|(id, _)| id == "b").cloned();
        ensure!(kept(&before) == kept(&group.members().await?), "{before:?}");
        let answer = group
            .send(put.clone(), "", CSV, "patient_id,name\r\nc-1,Meier\r\n\"d.2\",\"Mei,er\"\r\n")
            .await?
            .expect(200)?;
        counted(&answer, [1, 1, 2, 0])?;
        ensure!(group.ids().await? == ["c-1", "d.2"]);

        for (query, content_type, body, counts, ids) in [
            ("?action=add", NDJSON, "\"e\"\n\"c-1\"\n", [1, 0, 3, 0], vec!["c-1", "d.2", "e"]),
            ("?action=remove", CSV, "e\nnobody\n", [0, 1, 2, 0], vec!["c-1", "d.2"]),
            ("", "application/json", r#"{"add":["f"],"remove":["d.2"]}"#, [1, 1, 2, 0], vec!["c-1", "f"]),
            ("", "application/json", "{}", [0, 0, 2, 0], vec!["c-1", "f"]),
            ("?action=remove", NDJSON, "", [0, 0, 2, 0], vec!["c-1", "f"]),
        ] {
            let answer = group.send(Method::POST, query, content_type, body).await?.expect(200)?;
            counted(&answer, counts).with_context(|| format!("{query} {body}"))?;
            ensure!(group.ids().await? == ids, "{query} {body}");
        }
        counted(&group.send(put, "", NDJSON, "").await?.expect(200)?, [0, 2, 0, 0])?;
        ensure!(group.ids().await?.is_empty());
        Ok(())
    })
}

#[test]
fn a_wrong_id_is_told_by_its_place_and_nothing_changes() -> Result<()> {
    play(async |scene| {
        let group = Group::new(scene).await?;
        group.send(Method::PUT, "", "application/json", r#"{"patient_ids":["a","b"]}"#).await?.expect(200)?;
        let revision = async || {
            let shown = scene.app.admin().get(&group.path).await?.expect(200)?.json()?;
            Ok::<_, anyhow::Error>(shown["revision"].clone())
        };
        let before = revision().await?;
        let many = format!("{}\"wrong one\"\n", "\"x\"\n".repeat(12_000));
        let (put, post) = (Method::PUT, Method::POST);
        for (method, query, content_type, body, place) in [
            (&put, "", NDJSON, "\"c\"\n\"Jane Doe\"\n", "2"),
            (&put, "", NDJSON, "\"c\"\n{\"patient_id\":\"d\",\"name\":\"Jane Doe\"}\n", "2"),
            (&put, "", NDJSON, "\"c\"\n\n[\"Jane Doe\"]", "3"),
            (&put, "", NDJSON, many.as_str(), "12001"),
            (&put, "", CSV, "patient_id\nc\nJane Doe\n", "3"),
            (&put, "", CSV, "c\n\"Jane Doe", "2"),
            (&post, "?action=add", CSV, "c\nJane Doe,x\n", "2"),
            (&post, "?action=remove", NDJSON, "\"a\"\n\"Jane/Doe\"", "2"),
            (&put, "", "application/json", r#"{"patient_ids":["c","Jane Doe"]}"#, "2"),
            (&post, "", "application/json", r#"{"add":["c","d","Jane Doe"]}"#, "3"),
        ] {
            let answer = group.send(method.clone(), query, content_type, body).await?;
            let told = problem(&answer, 400, "invalid")
                .with_context(|| body.chars().take(60).collect::<String>())?;
            let detail = told["detail"].as_str().unwrap_or_default();
            ensure!(detail.contains(place), "{place}: {detail}");
            ensure!(!answer.text().contains("Jane") && !answer.text().contains("Doe"), "{}", answer.text());
        }
        for (method, query, content_type, body) in [
            (&put, "", "application/json", r#"{"patient_ids":"a"}"#),
            (&put, "", "application/json", r#"{"ids":["a"]}"#),
            (&put, "", "application/json", "{}"),
            (&put, "?action=add", NDJSON, "\"c\"\n"),
            (&post, "", NDJSON, "\"c\"\n"),
            (&post, "?action=replace", NDJSON, "\"c\"\n"),
            (&post, "?action=add&action=remove", NDJSON, "\"c\"\n"),
            (&post, "", "application/json", r#"{"add":["c"],"remove":["c"]}"#),
        ] {
            let answer = group.send(method.clone(), query, content_type, body).await?;
            problem(&answer, 400, "invalid").with_context(|| format!("{method} {query} {body}"))?;
        }
        let keyed = scene.app.admin().request(Method::PUT, &format!("{}/members", group.path));
        let keyed = keyed.header("Content-Type", CSV).header("Idempotency-Key", "a").body("c");
        problem(&Answer::to(keyed).await?, 400, "invalid")?;
        let gone = format!("practices/{}/groups/no.such/members", scene.clinic.number);
        let gone = scene.app.admin().request(Method::PUT, &gone).header("Content-Type", CSV).body("c\n");
        problem(&Answer::to(gone).await?, 404, "not_found")?;
        ensure!(revision().await? == before, "something changed");
        ensure!(group.ids().await? == ["a", "b"]);
        Ok(())
    })
}

#[test]
fn an_upload_that_breaks_off_changes_nothing() -> Result<()> {
    play(async |scene| {
        let group = Group::new(scene).await?;
        group.send(Method::PUT, "", CSV, "a\n").await?.expect(200)?;
        let admin = scene.app.admin();
        let (host, path) = admin.url().trim_start_matches("http://").split_once('/').context("a path")?;
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        let lines: String = (0..20_000).map(|n| format!("patient-{n}\n")).collect();
        let head = format!(
            "PUT /{path}/{}/members HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\n\
             Content-Length: {}\r\n\r\n",
            group.path,
            admin.token(),
            lines.len() + 1000,
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(lines.as_bytes()).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(stream);
        tokio::time::sleep(Duration::from_millis(500)).await;
        ensure!(group.ids().await? == ["a"]);
        // Nor does it keep the group from the next one.
        counted(&group.send(Method::PUT, "", CSV, "b\n").await?.expect(200)?, [1, 1, 1, 0])
    })
}

#[test]
fn how_many_members_the_source_knows_is_told_after_a_refresh() -> Result<()> {
    play(async |scene| {
        let group = Group::new(scene).await?;
        group.send(Method::PUT, "", CSV, "p1\nnobody\nnobody.else\n").await?.expect(200)?;
        eventually("the members are matched", Duration::from_secs(30), async || {
            let shown = scene.app.admin().get(&group.path).await?.expect(200)?.json()?;
            let matched = &shown["matched"];
            ensure!(matched.is_null() || (matched["members_known"] == 1 && matched["of"] == 3), "{shown}");
            Ok(!matched.is_null())
        })
        .await
    })
}

/// The most memory that a process has had, in KiB.
fn peak_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

#[test]
fn half_a_million_ids_are_streamed_and_one_more_is_refused() -> Result<()> {
    alone(async || {
        let app = TestApp::builder().workers(0).start().await?;
        let mut scene = Scene::adopt(app).await?;
        let pid = scene.app.api().id();
        let ids =
            |count: u32| (0..count).map(|n| format!("\"patient-{n:08}-of-many\"\n")).collect::<String>();
        let group = Group::new(&scene).await?;
        group.send(Method::PUT, "", CSV, "a\n").await?.expect(200)?;
        let before = peak_kib(pid)?;
        let answer = group.send(Method::PUT, "", NDJSON, &ids(500_000)).await?.expect(200)?;
        counted(&answer, [500_000, 1, 500_000, 0])?;
        let grown = peak_kib(pid)?.saturating_sub(before);
        ensure!(grown < 100 * 1024, "the upload cost {grown} KiB");
        // One more, and a line without an end. They are refused while they are still being sent, so the answer may
        // not be seen.
        for too_much in [ids(500_001), format!("\"{}", "a".repeat(4 << 20))] {
            if let Ok(answer) = group.send(Method::PUT, "", NDJSON, &too_much).await {
                problem(&answer, 400, "invalid")?;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let shown = scene.app.admin().get(&group.path).await?.expect(200)?.json()?;
        ensure!(shown["member_count"] == 500_000, "{shown}");
        let grown = peak_kib(pid)?.saturating_sub(before);
        ensure!(grown < 100 * 1024, "the refused uploads cost {grown} KiB");
        scene.app.stop().await;
        Ok(())
    })
}

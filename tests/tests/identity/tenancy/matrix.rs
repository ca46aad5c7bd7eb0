//! Every protected operation, by every kind of bearer, with every kind of id.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::{Answer, TestApp};

use super::tenants::Tenants;
use crate::raw::{Reply, Request};
use crate::stage::play;

/// An operation below a base URL.
struct Route {
    method: &'static str,
    /// `{}` stands for the id.
    path: &'static str,
    ids: Ids,
    /// The status for the bearer whose it is.
    good: u16,
}

/// Of what kind an id is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    None,
    Export,
    File,
    Attachment,
    Group,
}

const fn route(method: &'static str, path: &'static str, ids: Ids, good: u16) -> Route {
    Route { method, path, ids, good }
}

const ROUTES: &[Route] = &[
    route("GET", "$export", Ids::None, 202),
    route("POST", "$export", Ids::None, 202),
    route("GET", "Patient/$export", Ids::None, 202),
    route("POST", "Patient/$export", Ids::None, 202),
    route("GET", "Group/{}/$export", Ids::Group, 202),
    route("POST", "Group/{}/$export", Ids::Group, 202),
    route("GET", "fhir-services/$export-status", Ids::None, 200),
    route("GET", "fhir-services/$export-status/{}", Ids::Export, 200),
    route("DELETE", "fhir-services/$export-status/{}", Ids::Export, 202),
    route("GET", "fhir-services/files/{}", Ids::File, 307),
    route("HEAD", "fhir-services/files/{}", Ids::File, 307),
    route("GET", "Binary/{}", Ids::Attachment, 307),
    route("GET", "Group", Ids::None, 200),
    route("GET", "Group/{}", Ids::Group, 200),
];

/// Ids that cannot be one of anything.
fn impossible() -> Vec<String> {
    let mut ids: Vec<String> =
        ["..%2f..%2fx", "%2e%2e", "%C3%A9", "a%00b", "'%20OR%201=1--", "$export", "a%2Fb"]
            .map(str::to_owned)
            .into();
    ids.extend(["x".repeat(1024), "0".repeat(33), "f".repeat(31)]);
    ids
}

/// The ids of a kind: the bearer's own first, then one that nobody has, then those that are somebody else's.
fn ids(tenants: &Tenants, kind: Ids) -> (String, String, Vec<String>) {
    let unknown = "0123456789abcdef".repeat(2);
    let (own, nobodys, mut foreign) = match kind {
        Ids::None => return (String::new(), String::new(), Vec::new()),
        Ids::Export => {
            let own = tenants.my_export.id.clone();
            let foreign = vec![
                tenants.my_export_elsewhere.id.clone(),
                tenants.their_export.id.clone(),
                own.to_uppercase(),
            ];
            (own, unknown, foreign)
        }
        Ids::File => {
            let of = |id: &str, file: &str| format!("{id}/{file}");
            let (my, there, their) =
                (&tenants.my_export, &tenants.my_export_elsewhere, &tenants.their_export);
            let mut foreign = vec![
                of(&there.id, &there.file),
                of(&their.id, &their.file),
                of(&my.id, "patient_99.ndjson"),
                of(&my.id, &format!("..%2f{}%2f{}", their.id, their.file)),
                of(&my.id, &my.file.to_uppercase()),
            ];
            foreign.extend(impossible().iter().map(|name| of(&my.id, name)));
            foreign.extend(impossible().iter().map(|id| of(id, &my.file)));
            return (of(&my.id, &my.file), of(&unknown, &my.file), foreign);
        }
        Ids::Attachment => ("note-here".to_owned(), unknown, vec!["note-elsewhere".to_owned()]),
        Ids::Group => ("group-here".to_owned(), unknown, vec!["group-elsewhere".to_owned()]),
    };
    foreign.extend(impossible());
    (own, nobodys, foreign)
}

async fn ask(
    app: &TestApp,
    tenants: &Tenants,
    route: &Route,
    id: &str,
    token: Option<&str>,
) -> Result<Reply> {
    let url = format!("{}/{}", tenants.here.base_url, route.path.replace("{}", id));
    Request::to(route.method, &url, token)?.send(app).await
}

fn at(route: &Route, id: &str) -> String {
    let id: String = id.chars().take(60).collect();
    format!("{} {}", route.method, route.path.replace("{}", &id))
}

#[test]
fn what_is_not_the_bearers_answers_as_what_does_not_exist_byte_for_byte() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let token = Some(tenants.client.token());
        for route in ROUTES {
            let (own, nobodys, foreign) = ids(tenants, route.ids);
            // Deleting comes last.
            if route.method != "DELETE" {
                let reply = ask(app, tenants, route, &own, token).await?;
                ensure!(reply.status == route.good, "{}: {} {}", at(route, &own), reply.status, reply.body);
                clean_up(app, tenants, &reply).await?;
            }
            if route.ids == Ids::None {
                continue;
            }
            let unknown = ask(app, tenants, route, &nobodys, token).await?;
            ensure!(unknown.status == 404, "{}: {}", at(route, &nobodys), unknown.status);
            for id in &foreign {
                let reply = ask(app, tenants, route, id, token).await?;
                if route.ids == Ids::Group && route.good == 202 && reply.status == 400 {
                    // A kick-off is a request to be mended: it is told that this is no id of anything.
                    ensure!(impossible().contains(id), "{}: {reply:?}", at(route, id));
                    continue;
                }
                ensure!(reply == unknown, "{}: {reply:?}\nunknown: {unknown:?}", at(route, id));
            }
        }
        Ok(())
    })
}

#[test]
fn another_app_at_the_same_practice_sees_nothing_of_an_export() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let theirs = Some(tenants.theirs.token());
        for route in ROUTES.iter().filter(|route| matches!(route.ids, Ids::Export | Ids::File)) {
            let (own, nobodys, _) = ids(tenants, route.ids);
            let unknown = ask(app, tenants, route, &nobodys, theirs).await?;
            let reply = ask(app, tenants, route, &own, theirs).await?;
            ensure!(unknown.status == 404 && reply == unknown, "{}: {reply:?}", at(route, &own));
        }
        let list = Answer::to(tenants.theirs.request(Method::GET, "fhir-services/$export-status")).await?;
        ensure!(!list.text().contains(&tenants.my_export.id), "{}", list.text());
        // An attachment is had through an export; this app has none.
        let none = Some(tenants.of_group.token());
        for route in ROUTES.iter().filter(|route| route.ids == Ids::Attachment) {
            let (own, nobodys, _) = ids(tenants, route.ids);
            let unknown = ask(app, tenants, route, &nobodys, none).await?;
            let reply = ask(app, tenants, route, &own, none).await?;
            ensure!(unknown.status == 404 && reply == unknown, "{reply:?}");
        }
        Ok(())
    })
}

#[test]
fn a_group_that_the_consent_leaves_out_is_not_there() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let token = Some(tenants.of_group.token());
        for route in ROUTES.iter().filter(|route| route.ids == Ids::Group) {
            let (own, nobodys, _) = ids(tenants, route.ids);
            let good = ask(app, tenants, route, &own, token).await?;
            ensure!(good.status == route.good, "{}: {good:?}", at(route, &own));
            if let Some(url) = good.header("content-location") {
                tenants.of_group.delete(url).await?.expect(202)?;
            }
            let unknown = ask(app, tenants, route, &nobodys, token).await?;
            let closed = ask(app, tenants, route, "closed", token).await?;
            ensure!(unknown.status == 404 && closed == unknown, "{}: {closed:?}", at(route, "closed"));
        }
        for level in ["$export", "Patient/$export"] {
            let answer = Answer::to(
                tenants
                    .of_group
                    .request(Method::GET, level)
                    .header("Accept", "application/fhir+json")
                    .header("Prefer", "respond-async"),
            )
            .await?;
            ensure!(answer.status == 403, "{level}: {}", answer.text());
        }
        let search = Answer::to(tenants.of_group.request(Method::GET, "Group")).await?.expect(200)?;
        ensure!(
            !search.text().contains("closed") && search.text().contains("group-here"),
            "{}",
            search.text()
        );
        Ok(())
    })
}

/// Bearers that are nobody here, and the status that each gets wherever it knocks.
async fn strangers(app: &TestApp, tenants: &Tenants) -> Result<Vec<(&'static str, Option<String>, u16)>> {
    let own = tenants.client.token();
    let (head, signature) = own.rsplit_once('.').context("not a JWT")?;
    // Not at the end, where bits may be without meaning.
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{head}.{other}{}", &signature[1..]);
    let assertion = tenants.mine.assertion(&tenants.here.token_url)?;
    let by_host = tenants.token_by_host(app).await?;
    Ok(vec![
        ("nobody", None, 401),
        ("garbage", Some("garbage".to_owned()), 401),
        ("three dots", Some("a.b.c".to_owned()), 401),
        ("1 KB", Some("x".repeat(1024)), 401),
        ("altered", Some(altered), 401),
        ("without signature", Some(format!("{head}.")), 401),
        ("a practice's administrator", Some(tenants.admin_token(app)?), 401),
        ("operator", Some(app.admin().token().to_owned()), 401),
        ("an assertion", Some(assertion), 401),
        ("of another practice", Some(tenants.client_elsewhere.token().to_owned()), 403),
        ("of a practice told apart by host", Some(by_host), 403),
    ])
}

#[test]
fn a_stranger_gets_one_answer_from_an_operation_whatever_id_it_names() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        for (who, token, status) in strangers(app, tenants).await? {
            for route in ROUTES {
                let (own, nobodys, foreign) = ids(tenants, route.ids);
                let reply = ask(app, tenants, route, &own, token.as_deref()).await?;
                ensure!(reply.status == status, "{who}, {}: {reply:?}", at(route, &own));
                if status == 401 {
                    ensure!(reply.header("www-authenticate").is_some(), "{who}, {}", at(route, &own));
                }
                // Every third of the impossible ones will do here.
                let others = [nobodys].into_iter().chain(foreign.into_iter().step_by(3));
                for id in others.filter(|_| route.ids != Ids::None) {
                    let other = ask(app, tenants, route, &id, token.as_deref()).await?;
                    ensure!(other == reply, "{who}, {}: {other:?}\nown: {reply:?}", at(route, &id));
                }
            }
        }
        told_whose(app, tenants)
    })
}

/// Whoever is called because of a token at another practice reads in the log whose it was, and never the token.
fn told_whose(app: &TestApp, tenants: &Tenants) -> Result<()> {
    let logs = app.logs();
    let lines = logs.lines().filter(|line| line.contains("a token was used at another practice"));
    let mut told = 0;
    for line in lines {
        let line: Value = serde_json::from_str(line)?;
        let of = line["token_practice"].as_str().context("no practice of the token")?;
        ensure!(of.starts_with("http") && line["asked"] != of && line["level"] == "WARN", "{line}");
        told +=
            i32::from(line["client"] == tenants.mine.client_id && line["practice"] == tenants.here.number);
    }
    ensure!(told > 1, "{told} lines");
    let token = tenants.client_elsewhere.token();
    ensure!(!logs.contains(token) && !logs.contains(&token[token.len() - 40..]), "the log has the token");
    Ok(())
}

#[test]
fn a_token_of_apps_is_nothing_to_the_admin_api() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let assertion = tenants.mine.assertion(&tenants.here.token_url)?;
        for token in [tenants.client.token(), &assertion] {
            let admin = app.admin().with_token(token.to_owned());
            let number = tenants.here.number;
            for path in ["me", "vendors", "practices", &format!("practices/{number}/exports"), "openapi.json"]
            {
                admin.get(path).await?.expect(401)?;
            }
            let body = json!({ "client_id": tenants.mine.client_id });
            admin.post(&format!("practices/{number}/consents"), &body).await?.expect(401)?;
        }
        // Nor does the admin API stand where apps can reach it.
        for path in ["/admin/v1/me", "/admin/v1/openapi.json", "/livez"] {
            let url = format!("{}{path}", app.public_url());
            let reply = Request::to("GET", &url, Some(app.admin().token()))?.send(app).await?;
            ensure!(reply.status == 404, "{path}: {reply:?}");
        }
        Ok(())
    })
}

/// Deletes what a kick-off has started.
async fn clean_up(app: &TestApp, tenants: &Tenants, reply: &Reply) -> Result<()> {
    let Some(url) = reply.header("content-location") else { return Ok(()) };
    ensure!(url.starts_with(&format!("{}/", tenants.here.base_url)), "{url}");
    let reply = Request::to("DELETE", url, Some(tenants.client.token()))?.send(app).await?;
    ensure!(reply.status == 202, "{reply:?}");
    Ok(())
}

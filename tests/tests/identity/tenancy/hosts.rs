//! The host of a request selects among configured names, and is otherwise nobody's word.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::{Level, TestApp};

use super::tenants::Tenants;
use crate::raw::Request;
use crate::stage::{eventually, play};

const EVIL: &str = "evil.example";

/// What stands below a practice's base URL for everybody.
const PUBLIC: [&str; 2] = ["metadata", ".well-known/smart-configuration"];

#[test]
fn an_unknown_host_is_nowhere_and_another_practices_host_is_not_this_one() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let own_host = host_of(&tenants.by_host.base_url)?;
        let token = Some(tenants.client.token());
        for path in [PUBLIC[0], PUBLIC[1], "$export", "Group"] {
            let url = format!("{}/{path}", tenants.here.base_url);
            for host in
                [EVIL, &own_host, "", "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]", "a b", "a/b", "*"]
            {
                let reply = Request::to("GET", &url, token)?.host(host).send(app).await?;
                ensure!(matches!(reply.status, 400 | 404), "{path} at {host:?}: {reply:?}");
                ensure!(!reply.body.contains(EVIL), "{}", reply.body);
            }
            let url = format!("{}/{path}", tenants.by_host.base_url);
            let shared = host_of(app.public_url())?;
            let reply = Request::to("GET", &url, token)?.host(&shared).send(app).await?;
            ensure!(reply.status == 404, "{path} at {shared}: {reply:?}");
        }
        Ok(())
    })
}

#[test]
fn a_practice_told_apart_by_host_is_served_and_bound_like_any_other() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let token = tenants.token_by_host(app).await?;
        let base = &tenants.by_host.base_url;
        for path in PUBLIC {
            let reply = Request::to("GET", &format!("{base}/{path}"), None)?.send(app).await?;
            ensure!(reply.status == 200, "{reply:?}");
        }
        let url = format!("{base}/{}", Level::System.path());
        let reply = Request::to("GET", &url, Some(&token))?.send(app).await?;
        ensure!(reply.status == 202, "{reply:?}");
        let status_url = reply.header("content-location").context("no Content-Location")?.to_owned();
        ensure!(status_url.starts_with(&format!("{base}/")), "{status_url}");
        eventually("the export of the practice by host is complete", async || {
            Ok(Request::to("GET", &status_url, Some(&token))?.send(app).await?.status == 200)
        })
        .await?;
        // The last poll was one of many: the next has to wait its turn.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let manifest = Request::to("GET", &status_url, Some(&token))?.send(app).await?.json()?;
        ensure!(manifest["request"].as_str().is_some_and(|request| request == url), "{manifest}");
        // Its token is none elsewhere, and other tokens are none there.
        let reply = Request::to("GET", &status_url, Some(tenants.client.token()))?.send(app).await?;
        ensure!(reply.status == 403, "{reply:?}");
        let here = format!("{}/{}", tenants.here.base_url, Level::System.path());
        let reply = Request::to("GET", &here, Some(&token))?.send(app).await?;
        ensure!(reply.status == 403, "{reply:?}");
        Ok(())
    })
}

#[test]
fn no_url_is_ever_made_from_what_a_request_says_of_its_host() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let base = &tenants.here.base_url;
        let own = format!("{base}/fhir-services/$export-status/{}", tenants.my_export.id);
        let urls = [
            format!("{base}/metadata"),
            format!("{base}/.well-known/smart-configuration"),
            format!("{base}/$export"),
            format!("{base}/Group"),
            format!("{base}/fhir-services/$export-status"),
            own,
        ];
        for url in &urls {
            let request = Request::to("GET", url, Some(tenants.client.token()))?
                .with("X-Forwarded-Host", EVIL)
                .with("X-Forwarded-Proto", "https")
                .with("X-Forwarded-Prefix", "/evil.example")
                .with("X-Original-URL", "/evil.example")
                .with("X-Rewrite-URL", "/evil.example")
                .with("Forwarded", "host=evil.example;proto=https");
            let reply = request.send(app).await?;
            ensure!((200..300).contains(&reply.status), "{url}: {reply:?}");
            silent(&format!("{reply:?}"))?;
            if let Some(status_url) = reply.header("content-location") {
                ensure!(status_url.starts_with(&format!("{base}/")), "{status_url}");
                tenants.client.delete(status_url).await?.expect(202)?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_target_with_a_host_goes_before_the_header() -> Result<()> {
    play(async |app| {
        let tenants = Tenants::of(app).await?;
        let url = format!("{}/metadata", tenants.here.base_url);
        let good = Request::to("GET", &url, None)?;
        let path = good.target.clone();
        let named = good.clone().target(&url).host(EVIL).send(app).await?;
        ensure!(named.status == 200, "{named:?}");
        silent(&format!("{named:?}"))?;
        let evil = good.clone().target(format!("http://{EVIL}{path}")).send(app).await?;
        ensure!(evil.status == 404, "{evil:?}");
        silent(&format!("{evil:?}"))?;
        let twice = two_hosts(app, &good).await?;
        ensure!(matches!(twice, 200 | 400 | 404), "{twice}");
        Ok(())
    })
}

/// The status where a second `Host` follows the good one.
async fn two_hosts(app: &TestApp, good: &Request) -> Result<u16> {
    let reply = good.clone().with("Host", EVIL).send(app).await?;
    silent(&format!("{reply:?}"))?;
    Ok(reply.status)
}

fn silent(reply: &str) -> Result<()> {
    ensure!(!reply.contains("evil"), "{reply}");
    Ok(())
}

fn host_of(url: &str) -> Result<String> {
    let rest = url.strip_prefix("http://").context("not an http URL")?;
    Ok(rest.split('/').next().unwrap_or_default().to_owned())
}

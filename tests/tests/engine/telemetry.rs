//! What processes tell of themselves: traces, metrics and logs, over OTLP and at the private port.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_metrics::{Kind, Role, Values, definitions};
use headgate_testkit::{Collector, Level, SeenSpan, TestAppBuilder};

use crate::world::{World, options, small_files};

/// How long a batch may take to be sent.
const WITHIN: Duration = Duration::from_secs(20);

fn sending_to(collector: &Collector, builder: TestAppBuilder) -> TestAppBuilder {
    builder
        .set("telemetry.otlp_endpoint", collector.endpoint())
        .set("telemetry.metrics_interval_s", 1)
        .set("telemetry.trace_ratio", 1.0)
}

/// Rows that make a few shards.
async fn fill(world: &World) -> Result<()> {
    for n in 1..=30 {
        let id = format!("p{n:02}");
        world.practice.insert("Patient", &id, Some(&id)).await?;
        world.practice.insert("Observation", &id, Some(&id)).await?;
    }
    Ok(())
}

/// Waits for something to have been sent.
async fn sent(what: &str, there: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !there() {
        ensure!(started.elapsed() < WITHIN, "{what} was not sent within {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn named<'a>(spans: &'a [SeenSpan], name: &str) -> Vec<&'a SeenSpan> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn a_trace_leads_from_the_kick_off_to_the_plan_and_every_shard_links_to_it() -> Result<()> {
    let collector = Collector::grpc().await?;
    let world = World::of(sending_to(&collector, small_files().set("export.shard_rows", 10))).await?;
    fill(&world).await?;
    let export = world.export(&Level::System, &[]).await?;
    // They come from two processes, in batches, each when it ended.
    sent("a trace with all of its spans", || {
        let spans = collector.spans();
        let expected = [("GET kick_off", 1), ("plan", 1), ("shard", 6), ("finish", 1)];
        expected.into_iter().all(|(name, least)| named(&spans, name).len() >= least)
    })
    .await?;

    let spans = collector.spans();
    let kick_off = named(&spans, "GET kick_off");
    ensure!(kick_off.len() == 1, "one kick-off, not {}", kick_off.len());
    let kick_off = kick_off[0];
    ensure!(kick_off.parent.is_empty() && kick_off.service == "headgate-api", "{kick_off:?}");
    ensure!(kick_off.attributes["http.response.status_code"] == "202", "{kick_off:?}");

    let plan = named(&spans, "plan");
    let plan = plan.first().context("no plan")?;
    ensure!(plan.trace == kick_off.trace && plan.parent == kick_off.id, "{plan:?} follows {kick_off:?}");
    ensure!(plan.service == "headgate-worker" && plan.attributes["export"] == export.id, "{plan:?}");

    let shards = named(&spans, "shard");
    ensure!(shards.len() >= 6, "{} shards", shards.len());
    let mut traces = BTreeSet::from([kick_off.trace.clone()]);
    for shard in shards.iter().chain(&named(&spans, "finish")) {
        ensure!(shard.links == [(kick_off.trace.clone(), kick_off.id.clone())], "{shard:?}");
        ensure!(
            shard.parent.is_empty() && traces.insert(shard.trace.clone()),
            "a trace of its own: {shard:?}"
        );
    }
    // What a shard asks of the bucket and of the databases is part of its trace.
    for part in ["S3/PutObject", "publish"] {
        let of_shards = named(&spans, part);
        ensure!(!of_shards.is_empty(), "no {part}");
        ensure!(
            of_shards.iter().all(|span| traces.contains(&span.trace) && !span.parent.is_empty()),
            "{part}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn traces_metrics_and_logs_are_sent_over_http_too() -> Result<()> {
    let collector = Collector::http()?;
    let builder = sending_to(&collector, options()).set("telemetry.otlp_protocol", "http/protobuf");
    let world = World::of(builder.set("telemetry.environment", "testing")).await?;
    fill(&world).await?;
    world.export(&Level::Patient, &[]).await?;
    sent("a span of a shard", || !named(&collector.spans(), "shard").is_empty()).await?;
    sent("the metrics", || {
        let metrics = collector.metrics();
        ["export.resources", "http.server.request.duration", "export.queue.depth"]
            .iter()
            .all(|name| metrics.contains(*name))
    })
    .await?;
    sent("the line of the end", || collector.logs().iter().any(|line| line == "export completed")).await?;
    ensure!(collector.has("testing") && collector.has("service.instance.id"), "the resource");
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_or_never_answers_holds_nothing_up() -> Result<()> {
    let silent = Collector::silent()?;
    let away = "http://127.0.0.1:1";
    for (endpoint, protocol) in
        [(away, "grpc"), (silent.endpoint(), "grpc"), (silent.endpoint(), "http/protobuf")]
    {
        let builder = small_files()
            .set("telemetry.otlp_endpoint", endpoint)
            .set("telemetry.otlp_protocol", protocol)
            .set("telemetry.trace_ratio", 1.0);
        let mut world =
            World::of(builder.set("telemetry.otlp_timeout_s", 60).set("log.filter", "debug")).await?;
        fill(&world).await?;
        let export = world.export(&Level::System, &[]).await?;
        assert_eq!(export.ids("Patient").len(), 30);
        let before = (world.app.api().peak_rss()?, world.app.worker(0).peak_rss()?);
        for _ in 0..3 {
            world.export(&Level::System, &[]).await?;
        }
        // More spans and lines than the queues take.
        let requests = (0..20).map(|_| {
            let (http, url) = (world.app.http().clone(), format!("{}/metadata", world.practice.base_url));
            tokio::spawn(async move {
                for _ in 0..250 {
                    http.get(&url).send().await?;
                }
                Ok::<(), anyhow::Error>(())
            })
        });
        for request in requests.collect::<Vec<_>>() {
            request.await??;
        }
        let now = (world.app.api().peak_rss()?, world.app.worker(0).peak_rss()?);
        for (of, grown) in
            [("API", now.0.saturating_sub(before.0)), ("worker", now.1.saturating_sub(before.1))]
        {
            ensure!(
                grown < 40 * 1024 * 1024,
                "{of}: {} MiB more, with {endpoint} by {protocol}",
                grown >> 20
            );
        }
        // Three seconds for all that is left to be sent, whether it is taken or not.
        let started = Instant::now();
        let api = world.app.api().terminate().await?;
        let first = started.elapsed();
        let worker = world.app.worker(0).terminate().await?;
        ensure!(api.success() && worker.success(), "{api} {worker}");
        for took in [first, started.elapsed() - first] {
            ensure!(took < Duration::from_secs(10), "the end took {took:?}, with {endpoint} by {protocol}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_filter_of_the_log_is_changed_while_the_process_runs() -> Result<()> {
    let mut world = World::of(options()).await?;
    let url = format!("http://127.0.0.1:{}/logfilter", world.app.api().private_port());
    let http = world.app.http().clone();
    assert_eq!(http.get(&url).send().await?.text().await?.trim(), "info");
    let refused = http.put(&url).body("=;=").send().await?;
    assert_eq!(refused.status(), 400);
    ensure!(refused.text().await?.contains("target=level"), "what to send");
    assert_eq!(http.put(&url).body("warn").send().await?.status(), 200);
    assert_eq!(http.get(&url).send().await?.text().await?.trim(), "warn");
    let before = world.app.api().log().lines().count();
    world.app.http().get(format!("{}/metadata", world.practice.base_url)).send().await?;
    assert_eq!(world.app.api().log().lines().count(), before, "nothing is said at warn");
    Ok(())
}

/// A sample of `/metrics`: names with the labels of their series.
type Exported = BTreeMap<String, BTreeSet<String>>;

async fn exported(world: &mut World, api: bool) -> Result<(Exported, String)> {
    let port = if api { world.app.api().private_port() } else { world.app.worker(0).private_port() };
    let text = world.app.http().get(format!("http://127.0.0.1:{port}/metrics")).send().await?.text().await?;
    let mut found = Exported::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').context("a sample without a value")?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    Ok((found, text))
}

#[tokio::test]
async fn what_is_exported_is_what_is_defined_and_nothing_else() -> Result<()> {
    let mut world = World::of(options()).await?;
    fill(&world).await?;
    world.export(&Level::Patient, &[]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (api, role) in [(true, Role::Api), (false, Role::Worker)] {
        let (found, text) = exported(&mut world, api).await?;
        let mut unknown: BTreeSet<&str> =
            found.keys().map(String::as_str).filter(|n| *n != "target_info").collect();
        for definition in definitions() {
            let name = definition.prometheus_name();
            let names =
                [name.clone(), format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count")];
            let labels: BTreeSet<String> =
                definition.labels.iter().map(|l| l.name.replace('.', "_")).collect();
            let mut there = false;
            for series in names.iter().filter_map(|name| Some((name, found.get(name)?))) {
                there = true;
                unknown.remove(series.0.as_str());
                let more: Vec<&String> =
                    series.1.iter().filter(|l| *l != "le" && !labels.contains(*l)).collect();
                ensure!(more.is_empty(), "{} has labels that are not defined: {more:?}", series.0);
            }
            ensure!(!there || definition.role.includes(role), "{name} is not of this role");
            // What counts from the start: an alert can tell "never" from "not measured".
            let known = definition.labels.iter().all(|label| matches!(label.values, Values::Known(_)));
            let from_the_start = definition.kind == Kind::Counter && known && definition.role.includes(role);
            ensure!(there || !from_the_start, "{name} is not there before its first event");
        }
        ensure!(unknown.is_empty(), "not defined: {unknown:?}");
        ensure!(text.contains("# HELP") && !text.contains("otel_scope"), "{text}");
    }
    Ok(())
}

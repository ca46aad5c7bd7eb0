//! `make deployed`: starts the pods of the rendered Kubernetes manifests on this machine, with exactly their arguments,
//! environment, user, mounted files, read-only root and limit of memory, and uses them: probes, a practice, an export,
//! SIGTERM. What it had to change is printed, and what it could not apply.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use headgate_testkit::auth::{Algorithm, Jwks, PrivateKey};
use headgate_testkit::deployed::{Cluster, Sandbox, Servers, read_pods};
use headgate_testkit::ehr::{GenerateOptions, Generator};
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::oracle::{Difference, Multiset, read_export};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Settings, headgate, trial};

/// The role that is run to its end first, and those that stay.
const MIGRATE: &str = "headgate-migrate";
const ROLES: [&str; 3] = ["headgate-api", "headgate-admin", "headgate-worker"];

/// How long the whole may take, and a process until it listens, and a migration, and a worker until it looks at something.
const LIMIT: Duration = Duration::from_secs(300);
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
const REFRESHED_WITHIN: Duration = Duration::from_secs(30);

/// Start the manifests' pods without a cluster, and export with them.
#[derive(Debug, Parser)]
struct Args {
    /// What `scripts/manifests/run pods OVERLAY` has printed.
    #[arg(long, value_name = "FILE")]
    pods: PathBuf,
    /// How many resources the practice has.
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    generate: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(LIMIT, run(args))
}

async fn run(args: Args) -> Result<bool> {
    let sandbox = Sandbox::probe();
    let mut cluster = Cluster::new(read_pods(&args.pods)?, sandbox.clone())?;
    let wrong = tried(&mut cluster, &sandbox, args.generate).await?;
    for one in &wrong {
        println!("WRONG     {one}");
    }
    println!("{}", if wrong.is_empty() { "deployed: all well" } else { "deployed: FAILED" });
    Ok(wrong.is_empty())
}

/// Everything; returns what is wrong.
async fn tried(cluster: &mut Cluster, sandbox: &Sandbox, resources: u64) -> Result<Vec<String>> {
    for one in sandbox.missing() {
        println!("not here  {one}");
    }
    let folder = cluster.folder().to_path_buf();
    let input = folder.join("input");
    std::fs::create_dir(&input)?;
    let into = input.clone();
    tokio::task::spawn_blocking(move || {
        Generator::new(GenerateOptions::resources(1, resources))?.write_ndjson(&into, &ProgressBar::hidden())
    })
    .await??;
    let worker = cluster.pod("headgate-worker")?.clone();
    let given =
        |variable: &str, other: &str| Cluster::value(&worker, variable).unwrap_or_else(|| other.to_owned());
    let bucket = given("HEADGATE__S3__BUCKET", "");
    let access_key = given("HEADGATE__S3__ACCESS_KEY_ID", "deployed");
    let secret = given("HEADGATE__S3__SECRET_ACCESS_KEY", "deployed-secret");
    let servers = Servers::start(&folder, &input, &bucket, &access_key, &secret).await?;
    if sandbox.is_contained() {
        servers.admit(worker.gid)?;
    }
    cluster.fill_in(&servers, &access_key, &secret)?;
    println!("changed   {}", cluster.changed().collect::<Vec<_>>().join(", "));
    println!("changed   the values of mounted secrets");
    let mut wrong = Vec::new();
    start(cluster, &servers, &mut wrong).await?;
    if sandbox.is_contained() {
        for name in ROLES {
            wrong.extend(cluster.container(name)?.unlike_the_manifest());
        }
        println!("as asked  user, group, capabilities, no new privileges, no writable mount: every process");
    }
    let app = onboard(cluster).await?;
    let expected = Multiset::of_folder(&input)?.sorted();
    let out = folder.join("undisturbed");
    let exporting = tokio::spawn(app.clone().export(out.clone()));
    wrong.extend(compare(&expected, exporting.await??, &out)?);
    // The same while the worker is told to go, and another comes.
    let out = folder.join("with-a-rollout");
    let exporting = tokio::spawn(app.export(out.clone()));
    wait_until_running(cluster).await?;
    end(cluster, "headgate-worker", &mut wrong).await?;
    cluster.start("headgate-worker", &servers)?;
    cluster.wait_for("headgate-worker", "readiness", &servers).await?;
    wrong.extend(compare(&expected, exporting.await??, &out)?);
    for name in ROLES {
        end(cluster, name, &mut wrong).await?;
    }
    servers.stop().await?;
    Ok(wrong)
}

/// All at once, as `kubectl apply` does: the roles wait for the schema while the migration makes it.
async fn start(cluster: &mut Cluster, servers: &Servers, wrong: &mut Vec<String>) -> Result<()> {
    let started = Instant::now();
    for name in ROLES {
        cluster.start(name, servers)?;
    }
    // Long enough for most to have found that there is no schema; those that are slower to start are waited for.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for name in ROLES {
        let (startup, liveness) =
            (first_answer(cluster, name, "startup").await?, cluster.probe(name, "liveness").await?);
        println!("waiting   {name:<16} startup {}, liveness {}", said(startup), said(liveness));
        if (startup, liveness) != (Some(503), Some(200)) {
            wrong
                .push(format!("{name} must say 503 to startup and 200 to liveness while there is no schema"));
        }
    }
    cluster.start(MIGRATE, servers)?;
    let migration = cluster.container(MIGRATE)?;
    let status = migration.wait(MIGRATED_WITHIN).await?;
    anyhow::ensure!(status.success(), "the migration ended with {status}:\n{}", migration.log_tail());
    println!("migrated  {:.1} s after the start", started.elapsed().as_secs_f64());
    for name in ROLES {
        // Readiness is what a rollout waits for; startup has to have been said by then.
        cluster.wait_for(name, "readiness", servers).await?;
        let probes = [cluster.probe(name, "startup").await?, cluster.probe(name, "liveness").await?];
        let metrics = cluster.ask(name, "private", "/metrics").await?;
        let known =
            metrics.as_ref().is_some_and(|(status, text)| *status == 200 && text.contains("build_info"));
        let restarts = cluster.restarts().get(name).copied().unwrap_or_default();
        println!(
            "ready     {name:<16} after {:.1} s, startup {}, liveness {}, metrics {}, restarts {restarts}",
            started.elapsed().as_secs_f64(),
            said(probes[0]),
            said(probes[1]),
            said(metrics.map(|(status, _)| status)),
        );
        if probes != [Some(200); 2] {
            wrong.push(format!("{name} is ready, but not by its other probes"));
        }
        if !known {
            wrong.push(format!("{name} has no /metrics with build_info"));
        }
        if restarts > 0 {
            wrong.push(format!("{name} ended while it should have waited"));
        }
    }
    Ok(())
}

/// What a probe is answered as soon as something listens; nothing when that takes too long.
async fn first_answer(cluster: &Cluster, name: &str, probe: &str) -> Result<Option<u16>> {
    let until = Instant::now() + LISTENS_WITHIN;
    loop {
        let answer = cluster.probe(name, probe).await?;
        if answer.is_some() || Instant::now() > until {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn said(status: Option<u16>) -> String {
    status.map_or_else(|| "silent".to_owned(), |status| status.to_string())
}

/// A consented app at a practice.
#[derive(Clone)]
struct App {
    base_url: String,
    client_id: String,
    key_file: PathBuf,
}

impl App {
    /// Exports everything by the real client; returns the seconds it took.
    async fn export(self, out: PathBuf) -> Result<f64> {
        let started = Instant::now();
        let (key_file, out) = (self.key_file.display().to_string(), out.display().to_string());
        let arguments = [
            ["export", "--json"].as_slice(),
            &["--quiet", "--level", "system"],
            &["--base-url", &self.base_url],
            &["--client-id", &self.client_id],
            &["--key", &key_file],
            &["--out", &out],
        ];
        headgate::run(&arguments.concat(), &Settings::new()).await?.success()?;
        Ok(started.elapsed().as_secs_f64())
    }
}

/// A practice, a vendor, an app and a consent, by the admin pod.
async fn onboard(cluster: &Cluster) -> Result<App> {
    let admin = cluster.admin()?;
    let base_url = format!("{}/trial/fhir/r4", cluster.url("headgate-api", "public"));
    let practice = json!({
        "number": 100_491, "slug": "trial", "name": "Trial", "base_url": base_url,
        "source": { "dsn_ref": format!("file:{}", cluster.source_file()) },
    });
    admin.post("practices", &practice).await?.expect(201)?;
    let until = Instant::now() + REFRESHED_WITHIN;
    loop {
        let source = admin.get("practices/100491/source").await?.expect(200)?.json()?;
        if !source["refreshed_at"].is_null() {
            break;
        }
        anyhow::ensure!(Instant::now() < until, "no worker has looked at the source: {source}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = |value: &Value, key: &str| {
        value[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"))
    };
    let vendor = json!({ "name": "Vendor", "contact_email": "vendor@vendor.example" });
    let vendor = text(&admin.post("vendors", &vendor).await?.expect(201)?.json()?, "vendor_id")?;
    let key = PrivateKey::generate(Algorithm::Es384)?;
    let app = json!({
        "vendor_id": vendor, "name": "App", "security_contact": "security@vendor.example", "scopes": "system/*.rs",
        "jwks": Jwks::new(vec![key.public_jwk().clone()])?.to_json(),
    });
    let client_id = text(&admin.post("apps", &app).await?.expect(201)?.json()?, "client_id")?;
    admin.post("practices/100491/consents", &json!({ "client_id": client_id })).await?.expect(201)?;
    let key_file = cluster.folder().join("key.jwk");
    std::fs::write(&key_file, key.to_private_jwk()?)?;
    Ok(App { base_url, client_id, key_file })
}

/// Waits until a worker is in the midst of an export.
async fn wait_until_running(cluster: &Cluster) -> Result<()> {
    let admin = cluster.admin()?;
    let until = Instant::now() + REFRESHED_WITHIN;
    loop {
        let exports = admin.get("practices/100491/exports").await?.expect(200)?.text();
        if exports.contains("\"running\"") {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "no export is running; give a larger number with --generate");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Line for line; returns what differs.
fn compare(expected: &Multiset, seconds: f64, out: &Path) -> Result<Vec<String>> {
    let (found, files) = read_export(out)?;
    let (of, found, how) = (expected.len(), found.sorted(), out.file_name().unwrap_or_default().display());
    println!("exported  {how}: {} of {of} resources in {} files, {seconds:.1} s", found.len(), files.len());
    let wrong = |one: &Difference| {
        format!("{how}: {}: {} lines are missing, {} are too many", one.resource_type, one.missing, one.extra)
    };
    Ok(expected.differences(&found).iter().map(wrong).collect())
}

/// SIGTERM, as the kubelet sends it once preStop is over.
async fn end(cluster: &mut Cluster, name: &str, wrong: &mut Vec<String>) -> Result<()> {
    let container = cluster.container(name)?;
    let pod = container.pod().clone();
    let (peak, limit) = (container.peak_rss() >> 20, pod.memory_bytes >> 20);
    let within = Duration::from_secs(pod.grace_s - pod.pre_stop_s);
    let (status, took) = container.terminate(within).await?;
    println!(
        "ended     {name:<16} with {status} after {:.1} s of {} s; at its peak {peak} MiB of {limit} MiB",
        took.as_secs_f64(),
        within.as_secs()
    );
    if !status.success() {
        wrong.push(format!("{name} ended with {status}:\n{}", container.log_tail()));
    }
    if peak > limit {
        wrong.push(format!("{name} took {peak} MiB of {limit} MiB"));
    }
    Ok(())
}

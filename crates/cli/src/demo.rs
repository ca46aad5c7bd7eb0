//! `headgate demo`: the whole of Headgate on this machine alone, through its real doors.
//!
//! One process holds what in production are several: a private PostgreSQL cluster with the control database and two
//! practices' EHR databases, an S3 server, the API and a worker. Nothing is a mock: the practices are registered
//! over the admin API, the app signs its assertions, and the files come by presigned links through the same client
//! that `headgate export` is. At the end the exports are compared with `SELECT count(*)` of the source.
//!
//! [`walk`] is the happy path. It may be dropped at any await, because Ctrl-C comes when it comes: what runs is held
//! by [`Running`], outside of it, which is stopped in every case.

mod certificate;
mod credentials;
mod databases;
mod engine;
mod exports;
mod files;
mod folder;
mod next;
mod registration;
mod report;
mod running;
mod screen;
mod secrets;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use headgate_local::postgres;
use headgate_runtime::{Lifecycle, exit};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, with_causes};
use credentials::Credentials;
use exports::Finished;
use folder::{Folder, FolderError};
use running::Running;
use screen::Screen;
use secrets::Secrets;

/// Exit status after Ctrl-C, as shells number it: 128 and SIGINT.
const INTERRUPTED: u8 = 130;

/// Run everything on this machine: two practices in PostgreSQL, an S3 server, the engine, and an app that exports
/// both. Stays up until Ctrl-C.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Exit after the exports instead of staying up: with 0, or with 1 when a count differs from the source.
    #[arg(long)]
    pub once: bool,
    /// Print a summary as one line of JSON to stdout, and everything else to stderr.
    #[arg(long)]
    pub json: bool,
    /// Patients of each practice; a patient comes to some 400 resources.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub patients: u32,
    /// Folder for everything the demo makes. It stays, and a later run may use it again: databases and files in it
    /// are then made anew. By default a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the FHIR API listens, such as 127.0.0.1:8080; by default any free port. Links to files lead to
    /// 127.0.0.1 in any case.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), hide_default_value = true)]
    pub listen: SocketAddr,
    /// Serve the FHIR API and the admin API over TLS, with a certificate of the demo's own; ca.pem in its folder is what
    /// clients have to trust.
    #[arg(long)]
    pub tls: bool,
    /// Leave PostgreSQL up and all files in place, and print the command that stops it.
    #[arg(long)]
    pub keep: bool,
}

/// Runs the command. Whatever becomes of it, what was started is stopped before it returns.
pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let screen = Screen::new(args.json);
    let life = Lifecycle::new();
    listen_for_signals(&life).map_err(|error| Failure::software(format!("no signals: {error}")))?;
    let folder = Folder::open(args.dir.as_deref()).map_err(Failure::config)?;
    let log = folder.log().map_err(Failure::config)?;
    engine::begin_telemetry(log)?;

    let mut running = Running::default();
    let interrupted = || Failure::with_status(INTERRUPTED, "interrupted");
    let walked = tokio::select! {
        biased;
        () = life.soft().cancelled_owned() => Err(interrupted()),
        walked = walk(&args, &folder, &screen, &life, &mut running) => walked.map_err(|error| {
            // What fails because of the interruption is not the reason.
            if life.soft().is_cancelled() { interrupted() } else { failure(&error) }
        }),
    };
    let outcome = match &walked {
        Ok(walked) => show(walked, &args, &folder, &screen, &life).await,
        Err(_) => Ok(()),
    };
    let keep = args.keep && walked.is_ok();
    running.stop(&life, folder, &screen, keep).await?;
    walked.and(outcome)
}

/// What the happy path leads to.
struct Walked {
    exports: Vec<Finished>,
    credentials: Credentials,
}

/// The happy path, top to bottom.
async fn walk(
    args: &DemoArgs,
    folder: &Folder,
    screen: &Screen,
    life: &Lifecycle,
    running: &mut Running,
) -> Result<Walked> {
    let ports = engine::Ports::bind(args.listen).await?;
    folder.clear()?;
    let secrets = Secrets::make(folder, args.tls, args.listen.ip())?;
    let cluster = running.start_cluster(folder, screen).await?;
    let databases = databases::make(cluster, args.patients, folder, screen).await?;
    let bucket = running.start_s3(folder, screen).await?;
    let engine = engine::start(ports, &databases, &bucket, &secrets, life, screen).await?;
    let registered = registration::register(&engine, &secrets, &databases, screen).await?;
    let credentials = Credentials::new(engine, &secrets, &databases, bucket, &registered)?;
    credentials.write(folder)?;
    let exports = exports::run(&registered, &secrets, &databases, folder, screen).await?;
    Ok(Walked { exports, credentials })
}

/// Prints what came out, and stays up if that is wanted.
async fn show(
    walked: &Walked,
    args: &DemoArgs,
    folder: &Folder,
    screen: &Screen,
    life: &Lifecycle,
) -> Result<(), Failure> {
    screen.say(&report::tables(&walked.exports));
    if args.json {
        report::print_json(&walked.exports, folder.path());
    }
    if !args.once {
        screen.say(&next::text(&walked.credentials, folder));
        life.soft().cancelled().await;
    }
    if walked.exports.iter().all(Finished::is_equal) {
        return Ok(());
    }
    Err(Failure::failed("an export is not equal to its source; the tables say where"))
}

/// The exit status says whether another option, an installation, or nothing helps.
fn failure(error: &anyhow::Error) -> Failure {
    let missing = |error: &postgres::Error| {
        matches!(error, postgres::Error::NotInstalled | postgres::Error::AptFailed { .. })
    };
    let message = with_causes(error.as_ref());
    if let Some(failure) = error.downcast_ref::<Failure>() {
        Failure::with_status(failure.status(), message)
    } else if error.downcast_ref::<postgres::Error>().is_some_and(missing) {
        Failure::with_status(exit::UNAVAILABLE, message)
    } else if error.is::<FolderError>() {
        Failure::config(message)
    } else {
        Failure::software(message)
    }
}

/// Ctrl-C, SIGTERM and a closed terminal end the demo softly; a second signal stops the engine at once.
fn listen_for_signals(life: &Lifecycle) -> std::io::Result<()> {
    life.listen_for_signals()?;
    let mut hangup = signal(SignalKind::hangup())?;
    let life = life.clone();
    tokio::spawn(async move {
        if hangup.recv().await.is_some() {
            life.stop();
        }
    });
    Ok(())
}

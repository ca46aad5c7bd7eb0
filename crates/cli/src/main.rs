//! `headgate`: one program for every role and every tool. Each subcommand is a file.
//!
//! Results go to standard output, as text or with `--json` as JSON; logs, progress and errors go to standard
//! error. The exit statuses are those of [`headgate_runtime::exit`].

mod admin;
mod api;
mod bootstrap;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod ehr;
mod export;
mod failure;
mod input;
mod keygen;
mod migrate;
mod openapi;
mod orphans;
mod output;
mod private_file;
mod source;
mod time_span;
mod token;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headgate_runtime::exit;
use tokio::runtime::Builder;

use failure::Failure;

/// Bulk FHIR export: consented apps get a practice's data as NDJSON files in S3.
#[derive(Debug, Parser)]
#[command(name = "headgate", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    /// Configuration file; what it does not say is taken from the built-in defaults. HEADGATE_CONFIG names it
    /// too, and HEADGATE__SECTION__KEY sets single options.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the FHIR API, the token endpoint and the admin API.
    Api,
    /// Run exports.
    Worker,
    /// Print the OpenAPI document of the admin API.
    Openapi,
    /// Bring the control database's schema up to date.
    Migrate(migrate::MigrateArgs),
    /// Check a deployment end to end, and say what to mend.
    ///
    /// Looks at the configuration, the control database (version, encryption, connections, schema, roles, queue,
    /// housekeeping), the clocks, the bucket, the keys of access tokens, the public URL, the issuers of tokens, and for
    /// each practice at its part of the bucket and at its source.
    ///
    /// Run it where the role runs, with the role's configuration and environment. Nothing is written but an object of a few
    /// bytes below `PREFIX/doctor/` of each practice, which is deleted again; nothing is audited. What is printed has
    /// neither secrets nor patients' data.
    ///
    /// The exit status is 0 if nothing failed (there may be warnings), 1 if something did, and 64 if the command line is
    /// wrong.
    Doctor(doctor::DoctorArgs),
    /// List what lies in the bucket and belongs to no export, and delete it.
    ///
    /// After the control database was restored from an earlier time, the files of exports that began since are there and
    /// nobody's. Lists the folders below the prefixes of the practices, asks the control database which of them it knows,
    /// and shows the others. A folder that is not named like an export is shown and never deleted; PREFIX/doctor is not
    /// looked at, nor is anything outside the practices' prefixes.
    ///
    /// Run it with the configuration and credentials of the role worker.
    ///
    /// The exit status is 0 if it did what was asked for, 1 if it refused or did a part only, 64 if the command line or
    /// the configuration is wrong, and 69 if the database or the bucket does not answer.
    Orphans(orphans::OrphansArgs),
    /// Register vendors, apps, practices and consents; look at exports and at what was done.
    Admin(Box<admin::AdminArgs>),
    /// Make sample data, and load data into an EHR database.
    #[command(subcommand)]
    Ehr(ehr::EhrCommand),
    /// Look at a practice's EHR database.
    #[command(subcommand)]
    Source(source::SourceCommand),
    /// Export a practice from a Bulk Data server into a folder of NDJSON files.
    Export(Box<export::ExportArgs>),
    /// Make a key pair for an app, or for minting tokens for the admin API.
    Keygen(keygen::KeygenArgs),
    /// Get an access token as an app, or check an assertion.
    Token(Box<token::TokenArgs>),
    /// Show everything on this machine: two practices, an app, their exports.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("headgate: threads cannot be started: {error}");
            return ExitCode::from(exit::SOFTWARE);
        }
    };
    let ended = runtime.block_on(async {
        let ended = run(cli).await;
        headgate_runtime::telemetry::shutdown().await;
        ended
    });
    // A thread that still waits for a collector or a name server does not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("headgate: {}", failure.message());
            ExitCode::from(failure.status())
        }
    }
}

/// Help and version are answers; anything else is a wrong command line.
fn explain(error: &clap::Error) -> ExitCode {
    let _gone = error.print();
    if error.use_stderr() { ExitCode::from(exit::CONFIG) } else { ExitCode::SUCCESS }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Api => api::run(config).await,
        Command::Worker => worker::run(config).await,
        Command::Migrate(args) => migrate::run(config, &args).await,
        Command::Doctor(args) => doctor::run(config, &args).await,
        Command::Orphans(args) => orphans::run(config, &args).await,
        Command::Openapi => {
            openapi::run();
            Ok(())
        }
        Command::Admin(args) => admin::run(*args).await,
        Command::Ehr(command) => ehr::run(command).await,
        Command::Source(command) => source::run(config, command).await,
        Command::Export(args) => Ok(export::run(*args).await.map(drop)?),
        Command::Keygen(args) => keygen::run(args),
        Command::Token(args) => token::run(*args).await,
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_subcommand_explains_itself() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        let mut waiting = vec![command];
        while let Some(mut command) = waiting.pop() {
            assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            assert!(!command.render_long_help().to_string().is_empty());
            waiting.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        }
    }

    #[test]
    fn the_configuration_file_may_be_named_before_or_behind_the_role() {
        for words in [["headgate", "--config", "a", "worker"], ["headgate", "worker", "--config", "a"]] {
            assert_eq!(Cli::try_parse_from(words).unwrap().config, Some(PathBuf::from("a")));
        }
    }
}

//! `make chaos`: exports while the worker is killed with `kill -9` at random moments, and compares every
//! export with its input as `roundtrip` does.
//!
//! A kill counts when the worker held a lease in that moment. To be sure of that, the process is first
//! stopped with SIGSTOP, then the leases are read from the control database, then it is killed. It fails
//! unless the wanted number of kills counted, every shard that was held was taken up again, at least one of
//! them had published files that were kept, and every export equals the input.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

mod leases;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use headgate_testkit::Settings;
use headgate_testkit::sqlx::PgPool;
use headgate_testkit::trial::{self, DataArgs, RunningExport, Trial};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use leases::{Held, HeldShard};

/// What is generated where nothing is said.
const RESOURCES: u64 = 300_000;

/// How long leases last: the shortest that is allowed, so that work is taken up again soon.
const LEASE_S: u64 = 3;

/// Kills beyond the wanted number, for as long as none of them has hit a half-published shard.
const MORE_KILLS: u32 = 20;

/// From the moment that a worker holds a lease to its end at most.
const LONGEST_LIFE: Duration = Duration::from_millis(1500);

/// What each kill adds to that, for as long as none has hit a half-published shard: where the machine is slow, nothing is
/// published sooner.
const LIFE_GROWS: Duration = Duration::from_millis(500);

const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Kill the worker again and again, and compare what comes out.
#[derive(Debug, Parser)]
struct Args {
    /// Kills that must hit a held lease.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    kills: u32,
    #[command(flatten)]
    data: DataArgs,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1200)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    let settings = Settings::new()
        .with("lease.duration_s", LEASE_S)
        .with("worker.poll_ms", 500)
        // Published often, so that there are many places to go on from.
        .with("worker.publish_files", 2)
        // A shard is not to be given up only because it was hit each time; that is another test.
        .with("lease.max_attempts", args.kills + 2 * MORE_KILLS);
    let trial = Trial::prepare(&args.data.data_or(RESOURCES), &settings).await?;
    println!("chaos: {} kills, seed {}, leases of {LEASE_S} s", args.kills, args.data.seed);
    let mut chaos = Chaos {
        control: None,
        trial,
        wanted: args.kills,
        random: StdRng::seed_from_u64(args.data.seed),
        started: Instant::now(),
        dead: Vec::new(),
        exports: 0,
        hits: 0,
        half_published: 0,
        misses: 0,
        retaken: 0,
        wrong: Vec::new(),
    };
    while chaos.goes_on() {
        chaos.export().await?;
    }
    chaos.report().await
}

struct Chaos {
    trial: Trial,
    control: Option<PgPool>,
    wanted: u32,
    random: StdRng,
    started: Instant,
    /// Workers that were killed, by the identity they had in the control database.
    dead: Vec<Uuid>,
    /// Exports that were begun.
    exports: i64,
    hits: u32,
    /// Half-published shards that a killed worker held, without those that it turns out to have published to their end.
    half_published: usize,
    misses: u32,
    retaken: u32,
    wrong: Vec<String>,
}

impl Chaos {
    /// Whether the worker is to be killed again.
    fn goes_on(&self) -> bool {
        let enough = if self.half_published == 0 { self.wanted + MORE_KILLS } else { self.wanted };
        self.hits < enough
    }

    /// How long a worker that holds a lease lives now, at most.
    fn longest_life(&self) -> Duration {
        if self.half_published == 0 { LONGEST_LIFE + LIFE_GROWS * self.hits } else { LONGEST_LIFE }
    }

    /// One export from kick-off to comparison.
    async fn export(&mut self) -> Result<()> {
        let control = self.control();
        let mut client = self.trial.begin_export()?;
        self.exports += 1;
        let mut wounded: Vec<HeldShard> = Vec::new();
        let mut published: BTreeSet<String> = BTreeSet::new();
        while self.goes_on() && self.wait_for_lease(&control, &mut client).await? {
            let longest = self.longest_life();
            tokio::time::sleep(self.random.random_range(Duration::ZERO..longest)).await;
            let held = self.kill(&control).await?;
            published.extend(leases::published(&control).await?);
            self.half_published += held.shards.iter().filter(|shard| shard.files > 0).count();
            wounded.extend(held.shards);
        }
        let expected = self.trial.expected().len();
        let summary = client.wait(&control, expected).await?;
        println!("export completed: {} resources in {} s", summary["resources"], summary["seconds"]);
        self.check_taken_up(&control, &wounded, &published).await?;
        let compared = self.trial.compare(client.out()).await?;
        self.wrong.extend_from_slice(compared.problems());
        Ok(())
    }

    /// Waits until the worker that runs now holds a lease; `false` when the export ended before.
    async fn wait_for_lease(&mut self, control: &PgPool, client: &mut RunningExport) -> Result<bool> {
        while client.is_running()? && !leases::all_ended(control, self.exports).await? {
            ensure!(self.trial.app().worker(0).exited()?.is_none(), "the worker ended by itself");
            if !leases::held(control, &self.dead).await?.is_empty() {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }

    /// Kills the worker, and starts it again at once.
    async fn kill(&mut self, control: &PgPool) -> Result<Held> {
        let worker = self.trial.app().worker(0);
        let process = worker.id();
        worker.signal("STOP")?;
        let held = leases::held(control, &self.dead).await?;
        worker.kill()?;
        self.dead.extend(held.workers());
        // What it had already sent to the database may still have got it a lease.
        self.dead.extend(leases::held(control, &self.dead).await?.workers());
        self.trial.app().restart_worker(0)?;
        let at = self.started.elapsed().as_secs_f64();
        if held.is_empty() {
            self.misses += 1;
            println!("{at:7.2} s  kill -9 {process}: it held no lease, this does not count");
        } else {
            self.hits += 1;
            println!("{at:7.2} s  kill -9 {process} ({} of {}): it held {held}", self.hits, self.wanted);
        }
        Ok(held)
    }

    /// Every shard that was held must be done under a later fence, and what it had published must be what the
    /// export consists of.
    async fn check_taken_up(
        &mut self,
        control: &PgPool,
        wounded: &[HeldShard],
        published: &BTreeSet<String>,
    ) -> Result<()> {
        for before in wounded {
            let after = leases::shard(control, before).await?;
            if after.fence > before.fence && after.done {
                self.retaken += 1;
                println!(
                    "           {before} was taken up again: fence {} -> {}, {} -> {} files",
                    before.fence, after.fence, before.files, after.files
                );
            } else if after.fence > before.fence || !after.done {
                self.wrong.push(format!("{before} is not done"));
            } else {
                // Its last publication was under way when the worker was stopped.
                self.half_published -= usize::from(before.files > 0);
                println!("           {before} was published to its end by the killed worker");
            }
        }
        let kept = leases::published(control).await?;
        let lost = published.difference(&kept).count();
        if lost > 0 {
            self.wrong.push(format!("{lost} files that were published before a kill are gone"));
        }
        Ok(())
    }

    async fn report(mut self) -> Result<bool> {
        if self.half_published == 0 {
            self.wrong.push("no half-published shard was resumed; try another seed or more data".to_owned());
        }
        println!(
            "{} kills hit a held lease, {} did not; {} shards were taken up again, {} of them half published",
            self.hits, self.misses, self.retaken, self.half_published
        );
        self.trial.stop().await?;
        for problem in &self.wrong {
            println!("WRONG: {problem}");
        }
        let right = self.wrong.is_empty();
        println!("{}", if right { "chaos: every export equals the input" } else { "chaos: FAILED" });
        Ok(right)
    }

    fn control(&mut self) -> PgPool {
        let trial = &mut self.trial;
        self.control.get_or_insert_with(|| trial.app().control().clone()).clone()
    }
}

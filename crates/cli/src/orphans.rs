//! `headgate orphans`: what lies in the bucket and belongs to no export that the control database knows.
//!
//! After the control database was restored from an hour ago, the files of that hour's exports are there, and nothing
//! will ever delete them: housekeeping empties the folders of exports that it knows. The bucket is listed before the
//! database is asked, so that the folder of an export that begins meanwhile is never taken for nobody's.

mod folders;
mod keys_out;
mod remove;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use headgate_domain::PracticeNumber;
use headgate_objects::Objects;
use headgate_runtime::{Config, Lifecycle, Role, telemetry};
use headgate_store::{PracticeRecord, Store};
use serde_json::json;

use crate::bootstrap;
use crate::failure::Failure;
use crate::output::{print, print_beside, table};
use crate::time_span;
use folders::{Folder, State};
use keys_out::KeysOut;

/// What to look at, and what to do with it.
#[derive(Debug, Args)]
pub struct OrphansArgs {
    /// Look at the part of this practice only; may be repeated.
    #[arg(long, value_name = "NUMBER")]
    practice: Vec<PracticeNumber>,
    /// Delete what belongs to no export. Each folder is an event of the audit trail, which is written first.
    #[arg(long)]
    delete: bool,
    /// Leave folders alone in which something was put within this time: 90s, 30m, 1h, 2d.
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = time_span::parse)]
    older_than: Duration,
    /// Write the keys of all objects that are to be deleted into this new file, which only its owner can read; before
    /// the first is deleted. `-`: to standard output, and everything else to standard error.
    #[arg(long, value_name = "FILE")]
    keys_out: Option<PathBuf>,
    /// Delete even though the control database knows no export at all, which is more likely to be the wrong one.
    #[arg(long, requires = "delete")]
    database_without_exports: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// Lists, and deletes if that is asked for.
pub async fn run(file: Option<&Path>, args: &OrphansArgs) -> Result<(), Failure> {
    let config = Config::load(file, Role::Worker)?;
    telemetry::init_log(&config.log)?;
    let mut keys_out = args.keys_out.as_deref().map(KeysOut::create).transpose()?;
    let store = bootstrap::store(&config, &Lifecycle::new()).await?;
    store.check_schema().await?;
    let objects = Objects::connect(bootstrap::s3_config(&config.s3)).await?;
    let practices = store.practices().await?;
    let found = find(&store, &objects, &practices, args).await?;
    let has_exports = store.has_exports().await?;
    if args.delete && !has_exports && !args.database_without_exports && !found.is_empty() {
        show(&found, args);
        return Err(Failure::failed(
            "the control database knows no export at all, and the bucket has folders: see that it is the right one; \
             --database-without-exports deletes all the same. Nothing was deleted",
        ));
    }
    let (found, ended) = remove::remove(&store, &objects, found, keys_out.as_mut(), args.delete).await;
    show(&found, args);
    store.close().await;
    ended
}

/// The folders that belong to no export that is known.
async fn find(
    store: &Store,
    objects: &Objects,
    practices: &[PracticeRecord],
    args: &OrphansArgs,
) -> Result<Vec<Folder>, Failure> {
    let number = |record: &PracticeRecord| record.practice.number;
    if let Some(unknown) =
        args.practice.iter().find(|wanted| !practices.iter().any(|p| number(p) == **wanted))
    {
        return Err(Failure::config(format!("there is no practice {unknown}")));
    }
    let mut found = Vec::new();
    for record in practices {
        if args.practice.is_empty() || args.practice.contains(&number(record)) {
            found.extend(folders::of_practice(objects, record, practices).await?);
        }
    }
    let exports: Vec<_> = found.iter().filter_map(|folder| folder.export.clone()).collect();
    let known: std::collections::HashSet<_> = store.known_exports(&exports).await?.into_iter().collect();
    found.retain(|folder| folder.export.as_ref().is_none_or(|export| !known.contains(export)));
    let now = Utc::now();
    found.iter_mut().for_each(|folder| folder.judge(now, args.older_than));
    Ok(found)
}

fn show(found: &[Folder], args: &OrphansArgs) {
    let keys_are_the_output = args.keys_out.as_deref().is_some_and(keys_out::is_standard_output);
    let say = |text: String| if keys_are_the_output { print_beside(text) } else { print(text) };
    let deleted: u64 = found.iter().filter(|f| f.state == State::Deleted).map(|f| f.objects).sum();
    if args.json {
        say(json!({ "orphans": found, "deleted_objects": deleted }).to_string());
        return;
    }
    let mut rows = table(["practice", "export or name", "objects", "bytes", "oldest", "newest", ""]);
    let time = |time: Option<DateTime<Utc>>| {
        time.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
    };
    for folder in found {
        rows.add_row([
            folder.practice.to_string(),
            folder.name.clone(),
            folder.objects.to_string(),
            folder.bytes.to_string(),
            time(folder.oldest),
            time(folder.newest),
            folder.state.text().to_owned(),
        ]);
    }
    if !found.is_empty() {
        say(rows.to_string());
    }
    let count = |state| found.iter().filter(|folder| folder.state == state).count();
    let orphans = count(State::Orphan);
    say(match (args.delete, deleted, orphans) {
        (true, ..) => format!("{} folders with {deleted} objects were deleted", count(State::Deleted)),
        (false, _, 0) => "nothing is to be deleted".to_owned(),
        (false, ..) => {
            format!("{orphans} folders of no known export; `headgate orphans --delete` deletes them")
        }
    });
}

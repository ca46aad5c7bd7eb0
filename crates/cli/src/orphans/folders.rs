//! The folders of a practice's part of the bucket.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_domain::file_name::export_prefix;
use headgate_domain::{ExportId, PracticeNumber};
use headgate_objects::{Listed, ObjectError, Objects};
use headgate_store::PracticeRecord;
use serde::Serialize;

/// Where `headgate doctor` tries, and deletes by itself.
const DOCTOR: &str = "doctor";

/// What is to be done with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It belongs to no known export.
    Orphan,
    /// The same, and something was put there a moment ago: it is left alone.
    Young,
    /// It is not named like an export: somebody else put it there, and it is left alone.
    Foreign,
    /// It belonged to no known export, and was deleted.
    Deleted,
}

impl State {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            State::Orphan => "orphan",
            State::Young => "young: left alone",
            State::Foreign => "no export's: left alone",
            State::Deleted => "deleted",
        }
    }
}

/// A folder, or an object that lies in none.
#[derive(Debug, Serialize)]
pub struct Folder {
    /// Whose part of the bucket it is in.
    pub practice: PracticeNumber,
    /// Its name below the practice's prefix.
    pub name: String,
    /// The export that its name is the id of.
    pub export: Option<ExportId>,
    /// How many objects lie there.
    pub objects: u64,
    /// How long they are together.
    pub bytes: u64,
    /// When the first was put.
    pub oldest: Option<DateTime<Utc>>,
    /// When the last was.
    pub newest: Option<DateTime<Utc>>,
    /// What is to be done, or was.
    pub state: State,
    /// What all of its keys begin with: a whole folder's, or nothing is deleted.
    #[serde(skip)]
    pub prefix: String,
}

impl Folder {
    fn new(record: &PracticeRecord, name: &str, is_folder: bool) -> Self {
        let export = if is_folder { name.parse::<ExportId>().ok() } else { None };
        let s3_prefix = &record.practice.s3_prefix;
        let prefix = match &export {
            Some(export) => export_prefix(s3_prefix, export),
            None => format!("{s3_prefix}/{name}"),
        };
        Self {
            practice: record.practice.number,
            name: name.to_owned(),
            export,
            objects: 0,
            bytes: 0,
            oldest: None,
            newest: None,
            state: State::Foreign,
            prefix,
        }
    }

    fn add(&mut self, object: &Listed) {
        self.objects += 1;
        self.bytes += object.bytes;
        if let Some(modified) = object.modified.map(DateTime::<Utc>::from) {
            self.oldest = Some(self.oldest.map_or(modified, |oldest| oldest.min(modified)));
            self.newest = Some(self.newest.map_or(modified, |newest| newest.max(modified)));
        }
    }

    /// Says what is to be done with one of no known export.
    pub fn judge(&mut self, now: DateTime<Utc>, older_than: Duration) {
        let least = TimeDelta::from_std(older_than).unwrap_or(TimeDelta::MAX);
        // Without a time it is as good as new.
        let is_old = least.is_zero() || self.newest.is_some_and(|newest| now - newest >= least);
        self.state = match (&self.export, is_old) {
            (None, _) => State::Foreign,
            (Some(_), false) => State::Young,
            (Some(_), true) => State::Orphan,
        };
    }
}

/// All of them below a practice's prefix, but for those that lead to another practice's.
pub async fn of_practice(
    objects: &Objects,
    record: &PracticeRecord,
    all: &[PracticeRecord],
) -> Result<Vec<Folder>, ObjectError> {
    let own = format!("{}/", record.practice.s3_prefix);
    let others: Vec<String> = all
        .iter()
        .filter(|other| other.practice.number != record.practice.number)
        .map(|other| format!("{}/", other.practice.s3_prefix))
        .filter(|other| other.starts_with(&own))
        .collect();
    let mut found: BTreeMap<String, Folder> = BTreeMap::new();
    objects
        .list_each(&own, |object| {
            let rest = object.key.strip_prefix(&own).unwrap_or_default();
            let (name, is_folder) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            let is_others =
                is_folder && others.iter().any(|other| other.starts_with(&format!("{own}{name}/")));
            if !(is_others || is_folder && name == DOCTOR) {
                // A folder and an object may have the same name.
                let key = if is_folder { format!("{name}/") } else { name.to_owned() };
                found.entry(key).or_insert_with(|| Folder::new(record, name, is_folder)).add(&object);
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(export: bool, newest: Option<DateTime<Utc>>) -> Folder {
        Folder {
            practice: PracticeNumber::new(1).unwrap(),
            name: "x".to_owned(),
            export: export.then(|| ExportId::from_random([1; 16])),
            objects: 1,
            bytes: 1,
            oldest: newest,
            newest,
            state: State::Foreign,
            prefix: String::new(),
        }
    }

    #[test]
    fn only_an_old_folder_that_is_named_like_an_export_is_an_orphan() {
        let (now, hour) = (Utc::now(), Duration::from_secs(3600));
        let ago = |minutes| Some(now - TimeDelta::minutes(minutes));
        for (export, newest, older_than, state) in [
            (true, ago(61), hour, State::Orphan),
            (true, ago(60), hour, State::Orphan),
            (true, ago(59), hour, State::Young),
            // The server's clock is ahead.
            (true, ago(-5), hour, State::Young),
            (true, ago(-5), Duration::ZERO, State::Orphan),
            (true, None, hour, State::Young),
            (false, ago(9999), hour, State::Foreign),
            (false, ago(9999), Duration::ZERO, State::Foreign),
        ] {
            let mut folder = folder(export, newest);
            folder.judge(now, older_than);
            assert_eq!(folder.state, state, "{export} {newest:?} {older_than:?}");
        }
    }
}

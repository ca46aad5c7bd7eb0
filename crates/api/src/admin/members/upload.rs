//! Passing patients' ids on to the control database.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use headgate_domain::ids::is_fhir_id;
use headgate_domain::practice::Practice;
use headgate_store::MemberUpload;
use tokio::sync::SemaphorePermit;

use super::super::revision::IfMatch;
use super::lines::{Form, Line, Lines};
use crate::error::ApiError;
use crate::state::ApiState;

/// Ids that are passed on at a time.
const BATCH: usize = 5_000;

/// Ids of an upload at most.
const MAX_IDS: usize = 500_000;

/// Lines of an upload at most, whatever is in them.
const MAX_LINES: usize = 2 * MAX_IDS;

/// Wrong lines that an answer names at most.
const MAX_NAMED: usize = 20;

/// How long an upload may take: it holds a connection to the control database.
const UPLOAD_WITHIN: Duration = Duration::from_secs(600);

/// What is to be done with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Add,
    Remove,
}

/// Waits for a place: each upload holds a connection to the control database, and others need some too.
pub(super) async fn place(state: &ApiState) -> Result<SemaphorePermit<'_>, ApiError> {
    let place = tokio::time::timeout(state.config().body_timeout, state.uploads().acquire()).await;
    place.ok().and_then(Result::ok).ok_or(ApiError::Busy)
}

/// Begins an upload, of which nothing is seen until it is finished.
pub(super) async fn begin(
    state: &ApiState,
    practice: &Practice,
    group_id: &str,
    if_match: IfMatch,
) -> Result<MemberUpload, ApiError> {
    if !is_fhir_id(group_id) {
        return Err(ApiError::Missing("group"));
    }
    let upload = state.store().upload_members(practice.number, group_id, if_match.of_existing()?).await?;
    upload.ok_or(ApiError::Missing("group"))
}

async fn pass(upload: &mut MemberUpload, side: Side, ids: Vec<String>) -> Result<(), ApiError> {
    match side {
        Side::Add => upload.add(ids).await?,
        Side::Remove => upload.remove(ids).await?,
    }
    Ok(())
}

/// Refuses a list of a JSON body that is too long or holds anything but FHIR ids.
pub(super) fn check(name: &str, ids: &[String]) -> Result<(), ApiError> {
    if ids.len() > MAX_IDS {
        return Err(too_many());
    }
    let wrong = ids.iter().enumerate().filter(|(_, id)| !is_fhir_id(id));
    let wrong: Vec<usize> = wrong.map(|(at, _)| at + 1).take(MAX_NAMED).collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(named(&format!("{name}: not FHIR ids, counted from 1"), &wrong))
    }
}

/// Passes a list of a JSON body on.
pub(super) async fn list(
    upload: &mut MemberUpload,
    side: Side,
    mut ids: Vec<String>,
) -> Result<(), ApiError> {
    while !ids.is_empty() {
        let rest = ids.split_off(ids.len().min(BATCH));
        pass(upload, side, std::mem::replace(&mut ids, rest)).await?;
    }
    Ok(())
}

/// Passes the ids in the lines of a body on, while it arrives.
pub(super) async fn lines(
    state: &ApiState,
    upload: &mut MemberUpload,
    side: Side,
    form: Form,
    body: Body,
) -> Result<(), ApiError> {
    let idle = state.config().body_timeout;
    tokio::time::timeout(UPLOAD_WITHIN, read(upload, side, form, body, idle))
        .await
        .map_err(|_| ApiError::BodyIncomplete)?
}

async fn read(
    upload: &mut MemberUpload,
    side: Side,
    form: Form,
    body: Body,
    idle: Duration,
) -> Result<(), ApiError> {
    let mut pieces = body.into_data_stream();
    let mut lines = Lines::new(form);
    let mut batch = Batch::default();
    loop {
        let piece = tokio::time::timeout(idle, pieces.next()).await.map_err(|_| ApiError::BodyIncomplete)?;
        let Some(piece) = piece else { break };
        lines.take(&piece.map_err(|_| ApiError::BodyIncomplete)?);
        while let Some(line) = lines.next() {
            batch.take(line, lines.number)?;
            if batch.ids.len() >= BATCH {
                pass(upload, side, std::mem::take(&mut batch.ids)).await?;
            }
        }
    }
    if let Some(line) = lines.last() {
        batch.take(line, lines.number)?;
    }
    if !batch.wrong.is_empty() {
        return Err(batch.fault());
    }
    pass(upload, side, batch.ids).await
}

/// Ids that were read and not yet passed on, and the lines that are wrong.
#[derive(Default)]
struct Batch {
    ids: Vec<String>,
    wrong: Vec<usize>,
    /// Ids so far, also those that were passed on.
    taken: usize,
}

impl Batch {
    fn take(&mut self, line: Line, number: usize) -> Result<(), ApiError> {
        match line {
            Line::Patient(id) => {
                self.taken += 1;
                // Once anything is wrong, the rest is only read to name what else is.
                if self.wrong.is_empty() {
                    self.ids.push(id);
                }
            }
            Line::Nothing => {}
            Line::Wrong => self.wrong.push(number),
        }
        if self.taken > MAX_IDS || number > MAX_LINES {
            return Err(too_many());
        }
        if self.wrong.len() >= MAX_NAMED { Err(self.fault()) } else { Ok(()) }
    }

    fn fault(&self) -> ApiError {
        named("nothing was changed; these lines hold no FHIR id", &self.wrong)
    }
}

fn named(text: &str, places: &[usize]) -> ApiError {
    let places: Vec<String> = places.iter().map(usize::to_string).collect();
    ApiError::Invalid(format!("{text}: {}", places.join(", ")))
}

fn too_many() -> ApiError {
    ApiError::Invalid(format!("at most {MAX_IDS} ids at a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lines_are_named_by_number_and_not_without_end() {
        let mut batch = Batch::default();
        batch.take(Line::Patient("a".to_owned()), 1).unwrap();
        batch.take(Line::Wrong, 2).unwrap();
        batch.take(Line::Patient("b".to_owned()), 3).unwrap();
        assert_eq!(batch.ids, ["a"]);
        assert!(batch.fault().to_string().ends_with(": 2"));
        let end = (4..).find(|number| batch.take(Line::Wrong, *number).is_err()).unwrap();
        assert_eq!(end, 22);
    }

    #[test]
    fn an_upload_has_an_end() {
        let mut batch = Batch::default();
        assert!(batch.take(Line::Nothing, MAX_LINES).is_ok());
        assert!(batch.take(Line::Nothing, MAX_LINES + 1).is_err());
        batch.taken = MAX_IDS - 1;
        assert!(batch.take(Line::Patient("a".to_owned()), 2).is_ok());
        assert!(batch.take(Line::Patient("a".to_owned()), 3).is_err());
    }
}

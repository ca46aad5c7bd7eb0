//! Framing: rows become lines, lines become files.
//!
//! A body is copied once, from the driver's buffer into the file's; its hash and checksum are computed on the
//! way. What cannot be exported is counted by reason and told in the error file, without any of its
//! content, and the export goes on: one broken row must not keep a practice's other patients from theirs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use headgate_domain::file_name::{FileNumber, Numbering};
use headgate_domain::{ResourceType, ids};
use headgate_source::{Body, Cursor, Row};
use headgate_store::NewProblem;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::budget::{Budget, Taken};

/// How much a file's buffer grows at a time, at least.
const STEP: usize = 256 * 1024;

/// Where a shard goes on: behind the last published file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The last row of that file; `None`: from the start of the shard.
    pub after: Option<Cursor>,
    /// The numbers of the files to come.
    pub numbering: Numbering,
}

/// A file that is full, to be uploaded.
#[derive(Debug)]
pub struct FilledFile {
    pub number: FileNumber,
    pub body: Bytes,
    pub resources: u32,
    pub sha256: String,
    pub crc32: u32,
    /// What was passed over since the file before.
    pub problems: Vec<NewProblem>,
    /// Where to go on once this file is published.
    pub resume: Resume,
    /// Its share of the worker's budget.
    pub taken: Taken,
}

/// Fills files with rows and sends them on.
pub struct Framer {
    resource_type: ResourceType,
    file_resources: u32,
    file_bytes: usize,
    budget: Budget,
    full: mpsc::Sender<FilledFile>,
    resume: Resume,
    open: Option<OpenFile>,
    problems: BTreeMap<Reason, u64>,
    compacted: Vec<u8>,
}

/// What the framer needs to know of its shard.
#[derive(Debug)]
pub struct Frame {
    pub resource_type: ResourceType,
    pub file_resources: u32,
    pub file_bytes: usize,
    pub resume: Resume,
}

/// Nobody takes the files any more: publishing failed and says why.
#[derive(Debug)]
pub struct Closed;

impl Framer {
    pub fn new(frame: Frame, budget: Budget, full: mpsc::Sender<FilledFile>) -> Self {
        Self {
            resource_type: frame.resource_type,
            file_resources: frame.file_resources,
            file_bytes: frame.file_bytes,
            budget,
            full,
            resume: frame.resume,
            open: None,
            problems: BTreeMap::new(),
            compacted: Vec::new(),
        }
    }

    /// Adds a row: `before` is the place before it, `after` the place behind it. Waits while the budget or
    /// the uploads are behind: so the database waits too.
    pub async fn push(
        &mut self,
        row: &Row<'_>,
        before: Option<&Cursor>,
        after: &Cursor,
    ) -> Result<(), Closed> {
        let mut compacted = std::mem::take(&mut self.compacted);
        let result = match line(row, self.resource_type, &mut compacted) {
            Ok(line) => self.add(line, before, after).await,
            Err(reason) => {
                *self.problems.entry(reason).or_default() += 1;
                Ok(())
            }
        };
        self.compacted = compacted;
        result
    }

    async fn add(&mut self, line: &[u8], before: Option<&Cursor>, after: &Cursor) -> Result<(), Closed> {
        if self.open.as_ref().is_some_and(|file| file.body.len() + line.len() + 1 > self.file_bytes) {
            self.close(before).await?;
        }
        let file = self.open.get_or_insert_with(OpenFile::new);
        file.reserve(&self.budget, line.len() + 1).await;
        file.add(line);
        if file.resources >= self.resume.numbering.room(self.file_resources) {
            self.close(Some(after)).await?;
        }
        Ok(())
    }

    /// Closes the last file of the shard, which ends at `end`. Returns what was passed over after it, and
    /// where the shard ends.
    pub async fn finish(mut self, end: Option<&Cursor>) -> Result<(Vec<NewProblem>, Resume), Closed> {
        self.close(end).await?;
        Ok((self.take_problems(), self.resume))
    }

    /// Sends the open file on, if there is one; the rows up to `end` are in it or before it.
    async fn close(&mut self, end: Option<&Cursor>) -> Result<(), Closed> {
        let Some(file) = self.open.take() else { return Ok(()) };
        let number = self.resume.numbering.current();
        self.resume.numbering.close(file.resources, self.file_resources);
        self.resume.after = end.cloned();
        let filled = FilledFile {
            number,
            resources: file.resources,
            sha256: hex::encode(file.sha256.finish()),
            crc32: file.crc32.finalize(),
            body: Bytes::from(file.body),
            problems: self.take_problems(),
            resume: self.resume.clone(),
            taken: file.taken,
        };
        self.full.send(filled).await.map_err(|_| Closed)
    }

    fn take_problems(&mut self) -> Vec<NewProblem> {
        std::mem::take(&mut self.problems)
            .into_iter()
            .map(|(reason, rows)| NewProblem {
                reason: reason.code(),
                diagnostics: reason.diagnostics().to_owned(),
                rows,
            })
            .collect()
    }
}

/// A file being filled.
struct OpenFile {
    body: Vec<u8>,
    resources: u32,
    sha256: aws_lc_rs::digest::Context,
    crc32: crc32fast::Hasher,
    taken: Taken,
}

impl OpenFile {
    fn new() -> Self {
        Self {
            body: Vec::new(),
            resources: 0,
            sha256: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
            crc32: crc32fast::Hasher::new(),
            taken: Taken::default(),
        }
    }

    /// Makes room for `bytes` more, within the budget.
    async fn reserve(&mut self, budget: &Budget, bytes: usize) {
        if self.body.capacity() - self.body.len() >= bytes {
            return;
        }
        let grow = bytes.max(self.body.capacity() / 2).max(STEP);
        budget.take(&mut self.taken, grow).await;
        self.body.reserve_exact(grow);
    }

    fn add(&mut self, line: &[u8]) {
        let start = self.body.len();
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.sha256.update(&self.body[start..]);
        self.crc32.update(&self.body[start..]);
        self.resources += 1;
    }
}

/// Why a row is not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Empty,
    TooLong,
    InvalidJson,
    WrongType,
    WrongId,
    IllegalId,
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::TooLong => "too_long",
            Reason::InvalidJson => "invalid_json",
            Reason::WrongType => "wrong_type",
            Reason::WrongId => "wrong_id",
            Reason::IllegalId => "illegal_id",
        }
    }

    fn diagnostics(self) -> &'static str {
        match self {
            Reason::Empty => "the source has a row for it, but no content",
            Reason::TooLong => "it is longer than this server exports",
            Reason::InvalidJson => "its content is not a well-formed JSON object with resourceType and id",
            Reason::WrongType => "its content is of another resource type than its relation",
            Reason::WrongId => "its content has another id than its row",
            Reason::IllegalId => "its id is not a FHIR id (1 to 64 letters, digits, - and .)",
        }
    }
}

/// The parts of a resource that are compared with its row. Parsing them parses the whole body.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The line of a row, without its line feed.
fn line<'a>(row: &Row<'a>, t: ResourceType, compacted: &'a mut Vec<u8>) -> Result<&'a [u8], Reason> {
    let body = match row.body {
        Body::Json(body) => body,
        Body::TooLong(_) => return Err(Reason::TooLong),
        Body::Null => return Err(Reason::Empty),
    };
    check(body, row.id, row.trusted, t)?;
    if memchr::memchr(b'\n', body).is_none() {
        return Ok(body);
    }
    // JSON strings hold no raw line feed, so these are white space between tokens.
    compacted.clear();
    compacted.extend(body.iter().filter(|b| **b != b'\n'));
    Ok(compacted)
}

fn check(body: &[u8], id: &str, trusted: bool, t: ResourceType) -> Result<(), Reason> {
    if !trusted && std::str::from_utf8(body).is_err() {
        return Err(Reason::InvalidJson);
    }
    let head: Head<'_> = serde_json::from_slice(body).map_err(|_| Reason::InvalidJson)?;
    if head.resource_type != t.name() {
        return Err(Reason::WrongType);
    }
    if head.id != id {
        return Err(Reason::WrongId);
    }
    if ids::is_fhir_id(id) { Ok(()) } else { Err(Reason::IllegalId) }
}

#[cfg(test)]
mod tests;

//! Framing: rows become lines, lines become files.
//!
//! A body is copied once, from the driver's buffer into the file's; resources of templates are written straight
//! into it. Hash and checksum are computed on the way. What cannot be exported is counted by reason and told in the error file, without any of its
//! content, and the export goes on: one broken row must not keep a practice's other patients from theirs.

use std::collections::BTreeMap;

use bytes::Bytes;
use headgate_domain::file_name::{FileNumber, Limits, Numbering};
use headgate_domain::template::Program;
use headgate_domain::{ResourceType, ids};
use headgate_source::{Body, Columns, Cursor, Row};
use headgate_store::{NewProblem, StreamType};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::associated::Associated;
use crate::budget::{Budget, Taken};
use crate::line::{Reason, assemble, line};
use crate::select::{Select, Unreadable};

/// How much a file's buffer grows at a time, at least.
const STEP: usize = 256 * 1024;

/// What is kept free for the next row of templates, beside what the longest yet has taken.
const SPARE: usize = 16 * 1024;

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
    /// What it is the content of, where it is not a file of lines.
    pub attachment: Option<AttachmentHead>,
    pub body: Bytes,
    pub resources: u32,
    pub sha256: String,
    pub crc32: u32,
    /// What was passed over since the file before.
    pub problems: Vec<NewProblem>,
    /// What is read by reference and the file refers to.
    pub references: Vec<(StreamType, String)>,
    /// Where to go on once this file is published.
    pub resume: Resume,
    /// Its share of the worker's budget.
    pub taken: Taken,
}

/// The attachment whose content a file is.
#[derive(Debug)]
pub struct AttachmentHead {
    pub id: String,
    pub content_type: String,
}

/// Fills files with rows and sends them on.
pub struct Framer {
    resource_type: ResourceType,
    programs: Vec<Program>,
    select: Select,
    limits: Limits,
    file_bytes: usize,
    resource_bytes: usize,
    budget: Budget,
    full: mpsc::Sender<FilledFile>,
    resume: Resume,
    open: Option<OpenFile>,
    problems: BTreeMap<Reason, u64>,
    /// Those of the row at hand. They belong to the file that holds the row, and a file may end just before it.
    of_row: BTreeMap<Reason, u64>,
    compacted: Vec<u8>,
    /// What is exported of a line, where that is not the line.
    scratch: Vec<u8>,
    /// Bytes of the row of templates that took the most.
    longest: usize,
}

/// What the framer needs to know of its shard.
#[derive(Debug)]
pub struct Frame {
    pub resource_type: ResourceType,
    /// What makes resources of a row's columns; none where rows have finished ones.
    pub programs: Vec<Program>,
    /// Which of the resources are exported, and what of them.
    pub select: Select,
    pub limits: Limits,
    pub file_bytes: usize,
    /// Longest resource, in bytes.
    pub resource_bytes: usize,
    pub resume: Resume,
}

/// Nobody takes the files any more: publishing failed and says why.
#[derive(Debug)]
pub struct Closed;

impl Framer {
    pub fn new(frame: Frame, budget: Budget, full: mpsc::Sender<FilledFile>) -> Self {
        Self {
            resource_type: frame.resource_type,
            programs: frame.programs,
            select: frame.select,
            limits: frame.limits,
            file_bytes: frame.file_bytes,
            resource_bytes: frame.resource_bytes,
            budget,
            full,
            resume: frame.resume,
            open: None,
            problems: BTreeMap::new(),
            of_row: BTreeMap::new(),
            compacted: Vec::new(),
            scratch: Vec::new(),
            longest: 0,
        }
    }

    /// What decides about associated Provenance, where this is a shard of it.
    pub fn associated(&mut self) -> Option<&mut Associated> {
        self.select.associated()
    }

    /// Adds a row: `before` is the place before it, `after` the place behind it. Waits while the budget or
    /// the uploads are behind: so the database waits too. Returns how many bytes it gave.
    pub async fn push(
        &mut self,
        row: &Row<'_>,
        before: Option<&Cursor>,
        after: &Cursor,
    ) -> Result<usize, Closed> {
        if let Body::Columns(columns) = row.body {
            return self.push_columns(row, &columns, before, after).await;
        }
        let mut compacted = std::mem::take(&mut self.compacted);
        let result = match line(row, self.resource_type, &mut compacted) {
            Ok(line) => self.select_line(row.id, line, before, after).await.map(|()| line.len()),
            Err(reason) => {
                self.pass_over(reason);
                Ok(0)
            }
        };
        self.compacted = compacted;
        result
    }

    /// Adds a finished line, or what is to be exported of it.
    async fn select_line(
        &mut self,
        id: &str,
        line: &[u8],
        before: Option<&Cursor>,
        after: &Cursor,
    ) -> Result<(), Closed> {
        if self.select.is_everything() {
            return self.add(line, before, after).await;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let taken = part_of(&mut self.select, id, "", line, &mut scratch);
        let result = match taken {
            Ok(Part::Whole) => self.add(line, before, after).await,
            Ok(Part::Reduced) => self.add(&scratch, before, after).await,
            Ok(Part::Nothing) => {
                self.count_row();
                Ok(())
            }
            Err(Unreadable) => {
                self.pass_over(Reason::InvalidJson);
                Ok(())
            }
        };
        self.scratch = scratch;
        result
    }

    async fn add(&mut self, line: &[u8], before: Option<&Cursor>, after: &Cursor) -> Result<(), Closed> {
        if self.open.as_ref().is_some_and(|file| file.body.len() + line.len() + 1 > self.file_bytes) {
            self.close(before).await?;
        }
        let file = self.open.get_or_insert_with(OpenFile::new);
        file.reserve(&self.budget, line.len() + 1).await;
        file.body.extend_from_slice(line);
        file.body.push(b'\n');
        file.take_in(1);
        self.count_row();
        self.close_if_full(after).await
    }

    /// Writes the resources of a row to the end of the file; where that makes it too long, they begin the next.
    async fn push_columns(
        &mut self,
        row: &Row<'_>,
        columns: &Columns<'_>,
        before: Option<&Cursor>,
        after: &Cursor,
    ) -> Result<usize, Closed> {
        if !ids::is_fhir_id(row.id) {
            self.pass_over(Reason::IllegalId);
            return Ok(0);
        }
        let mut file = self.open.take().unwrap_or_else(OpenFile::new);
        file.reserve(&self.budget, self.longest + SPARE).await;
        let start = file.body.len();
        let mut resources = 0;
        for program in &self.programs {
            let from = file.body.len();
            let taken = match assemble(program, row, columns, self.resource_bytes, &mut file.body) {
                Ok(true) => {
                    select_tail(&mut self.select, row.id, program, &mut file.body, from, &mut self.scratch)
                }
                other => other,
            };
            match taken {
                Ok(there) => resources += u32::from(there),
                Err(reason) => *self.of_row.entry(reason).or_default() += 1,
            }
        }
        let bytes = file.body.len() - start;
        self.longest = self.longest.max(bytes);
        file.account(&self.budget).await;
        if file.body.len() > self.file_bytes && file.resources > 0 && resources > 0 {
            let tail = file.body.split_off(start);
            self.open = Some(file);
            self.close(before).await?;
            file = OpenFile::new();
            file.reserve(&self.budget, tail.len()).await;
            file.body.extend_from_slice(&tail);
        }
        file.take_in(resources);
        self.open = Some(file);
        self.count_row();
        self.close_if_full(after).await?;
        Ok(bytes)
    }

    fn pass_over(&mut self, reason: Reason) {
        *self.problems.entry(reason).or_default() += 1;
    }

    /// Counts what was passed over of the row that is now in the open file.
    fn count_row(&mut self) {
        let unserved = self.select.take_unserved().filter(|(_, links)| *links > 0);
        for (reason, times) in std::mem::take(&mut self.of_row).into_iter().chain(unserved) {
            *self.problems.entry(reason).or_default() += times;
        }
    }

    async fn close_if_full(&mut self, after: &Cursor) -> Result<(), Closed> {
        let resources = self.open.as_ref().map_or(0, |file| file.resources);
        if resources > 0 && !self.resume.numbering.takes(resources, self.limits) {
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
        let Some(file) = self.open.take_if(|file| file.resources > 0) else { return Ok(()) };
        let number = self.resume.numbering.current();
        self.resume.numbering.close(file.resources, self.limits);
        self.resume.after = end.cloned();
        let filled = FilledFile {
            number,
            attachment: None,
            resources: file.resources,
            sha256: hex::encode(file.sha256.finish()),
            crc32: file.crc32.finalize(),
            body: Bytes::from(file.body),
            problems: self.take_problems(),
            references: self.select.take_references(),
            resume: self.resume.clone(),
            taken: file.taken,
        };
        self.full.send(filled).await.map_err(|_| Closed)
    }

    fn take_problems(&mut self) -> Vec<NewProblem> {
        Reason::problems(std::mem::take(&mut self.problems))
    }
}

/// A file being filled.
struct OpenFile {
    body: Vec<u8>,
    resources: u32,
    sha256: aws_lc_rs::digest::Context,
    crc32: crc32fast::Hasher,
    /// Bytes of the body that hash and checksum hold.
    hashed: usize,
    /// Bytes of its capacity that were taken from the budget.
    reserved: usize,
    taken: Taken,
}

impl OpenFile {
    fn new() -> Self {
        Self {
            body: Vec::new(),
            resources: 0,
            sha256: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
            crc32: crc32fast::Hasher::new(),
            hashed: 0,
            reserved: 0,
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
        self.reserved = self.body.capacity();
    }

    /// Takes what the body has grown beyond what was reserved from the budget.
    async fn account(&mut self, budget: &Budget) {
        let grown = self.body.capacity() - self.reserved;
        if grown > 0 {
            budget.take(&mut self.taken, grown).await;
            self.reserved = self.body.capacity();
        }
    }

    /// Counts what was written since the last time as so many resources.
    fn take_in(&mut self, resources: u32) {
        let lines = &self.body[self.hashed..];
        self.sha256.update(lines);
        self.crc32.update(lines);
        self.hashed = self.body.len();
        self.resources += resources;
    }
}

/// Puts what is exported of the resource that a template wrote from `from` on in its place; whether that is
/// anything.
fn select_tail(
    select: &mut Select,
    row_id: &str,
    program: &Program,
    body: &mut Vec<u8>,
    from: usize,
    scratch: &mut Vec<u8>,
) -> Result<bool, Reason> {
    if select.is_everything() {
        return Ok(true);
    }
    let line = &body[from..body.len() - 1];
    let part = part_of(select, row_id, program.suffix(), line, scratch);
    if part == Ok(Part::Whole) {
        return Ok(true);
    }
    body.truncate(from);
    if part == Ok(Part::Reduced) {
        body.extend_from_slice(scratch);
        body.push(b'\n');
    }
    part.map(|part| part == Part::Reduced).map_err(|Unreadable| Reason::InvalidJson)
}

/// How much of a line is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nothing,
    /// The line as it is: it need not be copied.
    Whole,
    /// What stands in the scratch buffer.
    Reduced,
}

fn part_of(
    select: &mut Select,
    id: &str,
    suffix: &str,
    line: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<Part, Unreadable> {
    let reduces = select.reduces();
    let Some(part) = select.take(id, suffix, line)? else { return Ok(Part::Nothing) };
    if !reduces {
        return Ok(Part::Whole);
    }
    scratch.clear();
    scratch.extend_from_slice(part);
    Ok(Part::Reduced)
}

#[cfg(test)]
mod tests;

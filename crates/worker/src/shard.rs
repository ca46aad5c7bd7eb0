//! A shard: read -> frame -> upload -> publish, all at once.
//!
//! Reading fills files; up to a few are uploaded side by side; they are published in the order of the
//! cursor, in small batches. Publishing is what makes progress: a shard that is taken over goes on behind the
//! last published file, and everything after it is done again.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use headgate_domain::ResourceType;
use headgate_domain::file_name::{Limits, Numbering};
use headgate_domain::practice::FileAccess;
use headgate_metrics::{Counter, shards};
use headgate_source::{Read, Scope};
use headgate_store::{NewProblem, Publication, PublishedFile, ShardLease, SourceBinding, StreamType};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::acquire_loop::Ended;
use crate::associated::Associated;
use crate::attachments;
use crate::context::Context;
use crate::frame::{FilledFile, Frame, Framer, Resume};
use crate::line::Reason;
use crate::read::{self, Pace};
use crate::select::{Links, Select};
use crate::upload::{Place, UploadedFile, upload};
use crate::{Error, ask};

/// Files of one shard that are uploaded side by side.
const SIDE_BY_SIDE: usize = 4;

/// Runs a shard to its end, or until `stop` is cancelled or the worker drains.
pub async fn run(context: Arc<Context>, lease: ShardLease, stop: CancellationToken) -> Result<Ended, Error> {
    let binding = ask::control(context.store.source_binding(lease.practice)).await?;
    let binding = binding.filter(|b| !b.suspended).ok_or(Error::NoPractice)?;
    let source = context.sources.get(&binding)?;
    let resume = match &lease.cursor {
        Some(cursor) => read::stored(cursor, "cursor")?,
        None => Resume { after: None, numbering: Numbering::new(lease.first_number, lease.number_count) },
    };
    let (full, filled) = mpsc::channel(1);
    if lease.stream_type == StreamType::Attachments {
        let lease = Arc::new(lease);
        let publisher = Publisher::new(&context, &lease, binding);
        let reading = attachments::fill(&context, &source, &lease, resume, full, &stop);
        return settle(reading, publisher, filled).await;
    }
    let read = read::of(&context.store, &lease).await?;
    let associated = Associated::of(&context.store, &lease, &read, &binding.base_url).await?;
    let frame = Frame {
        resource_type: read.relation.resource_type,
        programs: read.relation.programs()?,
        select: select(&lease, &read, &binding).with_associated(associated),
        limits: Limits {
            file_resources: binding.options.file_resources.unwrap_or(context.config.file_resources),
            per_row: read.relation.most_per_row(),
        },
        resource_bytes: context.config.source.resource_bytes,
        file_bytes: context.config.file_bytes,
        resume: resume.clone(),
    };
    let framer = Framer::new(frame, context.budget.clone(), full);
    let lease = Arc::new(lease);
    let publisher = Publisher::new(&context, &lease, binding);
    let reading = fill(&context, &source, &read, resume, framer, &stop);
    settle(reading, publisher, filled).await
}

/// Reads and publishes side by side, to the end of both.
async fn settle(
    reading: impl Future<Output = Result<Option<Tail>, Error>>,
    publisher: Publisher,
    filled: mpsc::Receiver<FilledFile>,
) -> Result<Ended, Error> {
    let (tail, published) = tokio::join!(reading, publisher.run(filled));
    let mut publisher = published?;
    match tail {
        Ok(Some(tail)) => {
            publisher.publish_end(tail).await?;
            Ok(Ended::Done)
        }
        Ok(None) => {
            publisher.publish().await?;
            Ok(Ended::Drained)
        }
        Err(error) => {
            // What was uploaded before the source failed counts.
            publisher.publish().await?;
            Err(error)
        }
    }
}

/// Which resources of the shard are exported, and what of them.
fn select(lease: &ShardLease, read: &Read, binding: &SourceBinding) -> Select {
    let wanted = match &read.scope {
        Scope::Ids { ids, .. } => Some(ids.as_slice()),
        Scope::All { .. } | Scope::Cohort { .. } => None,
    };
    let resource_type = read.relation.resource_type;
    let by_reference = lease.by_reference.iter().filter_map(|of| of.resource_type()).collect();
    Select::new(resource_type, &lease.selection, wanted)
        .with_references(by_reference, &binding.base_url)
        .with_links(links(lease, resource_type, binding))
}

/// What becomes of URLs of attachments in resources of a type.
fn links(lease: &ShardLease, t: ResourceType, binding: &SourceBinding) -> Option<Links> {
    if !ResourceType::WITH_ATTACHMENTS.contains(&t) {
        return None;
    }
    let unserved = match binding.options.file_access {
        _ if lease.by_reference.contains(&StreamType::Attachments) => None,
        FileAccess::Presigned => Some(Reason::NeedsToken),
        FileAccess::Token => Some(Reason::NoBinary),
    };
    Some(Links::new(&binding.base_url, unserved))
}

/// What is left when every row was read.
#[derive(Debug)]
pub struct Tail {
    pub problems: Vec<NewProblem>,
    pub resume: Resume,
}

/// Reads every row into files; `None` when it was stopped before the end.
async fn fill(
    context: &Context,
    source: &headgate_source::Source,
    read: &headgate_source::Read,
    resume: Resume,
    mut framer: Framer,
    stop: &CancellationToken,
) -> Result<Option<Tail>, Error> {
    let pace = Pace::new(context.config.page_rows);
    let mut cursor = resume.after;
    let ended = read::rows(source, read, &mut cursor, &mut framer, pace, stop, &context.drain).await?;
    if ended == Ended::Drained {
        return Ok(None);
    }
    Ok(framer.finish(cursor.as_ref()).await.ok().map(|(problems, resume)| Tail { problems, resume }))
}

/// Counts what was published.
fn measure(resource_type: &'static str, files: &[PublishedFile], problems: &[NewProblem]) {
    let of_type = [("resource_type", resource_type.into())];
    shards::RESOURCES.add(files.iter().map(|file| file.resources).sum(), &of_type);
    shards::FILES.add(files.len() as u64, &[]);
    shards::BYTES.add(files.iter().map(|file| file.bytes).sum(), &[("stage", "written".into())]);
    for problem in problems {
        counter_of(problem.reason).add(problem.rows, &[("reason", problem.reason.into())]);
    }
}

/// What counts the resources of a problem: those that are not exported, or those that are and lead to what is not.
fn counter_of(reason: &str) -> &'static Counter {
    if Reason::is_note(reason) { &shards::ATTACHMENTS_UNSERVED } else { &shards::ROWS_REJECTED }
}

/// Uploads files side by side and publishes them in order.
struct Publisher {
    context: Arc<Context>,
    lease: Arc<ShardLease>,
    place: Arc<Place>,
    /// Uploaded, not yet published.
    ready: Vec<UploadedFile>,
}

impl Publisher {
    fn new(context: &Arc<Context>, lease: &Arc<ShardLease>, binding: SourceBinding) -> Self {
        Self {
            context: Arc::clone(context),
            lease: Arc::clone(lease),
            place: Arc::new(Place { prefix: binding.s3_prefix, options: binding.options }),
            ready: Vec::new(),
        }
    }

    /// Runs until the last file is uploaded; what was not published yet stays in `ready`. However it ends,
    /// no upload is under way any more: an object must not appear after the lease was given back.
    async fn run(mut self, filled: mpsc::Receiver<FilledFile>) -> Result<Self, Error> {
        let mut uploads = FuturesOrdered::new();
        let result = self.upload_and_publish(filled, &mut uploads).await;
        while uploads.next().await.is_some() {}
        result.map(|()| self)
    }

    async fn upload_and_publish(
        &mut self,
        mut filled: mpsc::Receiver<FilledFile>,
        uploads: &mut FuturesOrdered<JoinHandle<Result<UploadedFile, Error>>>,
    ) -> Result<(), Error> {
        let mut open = true;
        let mut due = Instant::now();
        while open || !uploads.is_empty() {
            tokio::select! {
                file = filled.recv(), if open && uploads.len() < SIDE_BY_SIDE => match file {
                    Some(file) => {
                        let (context, lease, place) = (&self.context, &self.lease, &self.place);
                        let work = upload(Arc::clone(context), Arc::clone(lease), Arc::clone(place), file);
                        uploads.push_back(tokio::spawn(work.in_current_span()));
                    }
                    None => open = false,
                },
                Some(uploaded) = uploads.next() => {
                    if self.ready.is_empty() {
                        due = Instant::now() + self.context.config.publish_interval;
                    }
                    self.ready.push(uploaded.unwrap_or(Err(Error::Panic))?);
                    if self.ready.len() >= self.context.config.publish_files {
                        self.publish().await?;
                    }
                }
                () = sleep_until(due), if !self.ready.is_empty() => self.publish().await?,
            }
        }
        Ok(())
    }

    /// Publishes what is ready.
    async fn publish(&mut self) -> Result<(), Error> {
        let Some(last) = self.ready.last() else { return Ok(()) };
        let resume = last.resume.clone();
        self.commit(resume, Vec::new(), false).await
    }

    /// Publishes what is ready and the end of the shard.
    async fn publish_end(&mut self, tail: Tail) -> Result<(), Error> {
        self.commit(tail.resume, tail.problems, true).await
    }

    async fn commit(&mut self, resume: Resume, tail: Vec<NewProblem>, done: bool) -> Result<(), Error> {
        let mut files: Vec<PublishedFile> = Vec::with_capacity(self.ready.len());
        let mut problems = Vec::new();
        let mut references = Vec::new();
        for uploaded in self.ready.drain(..) {
            files.push(uploaded.file);
            problems.extend(uploaded.problems);
            references.extend(uploaded.references);
        }
        problems.extend(tail);
        let cursor =
            serde_json::to_value(&resume).map_err(|source| Error::Stored { what: "cursor", source })?;
        let publication =
            Publication { files: &files, problems: &problems, references: &references, cursor, done };
        // One that was given up may be written all the same: whoever takes the shard goes on behind what is written.
        ask::control(self.context.store.publish(&self.lease, &publication)).await?;
        measure(self.lease.stream_type.name(), &files, &problems);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_about_exported_resources_is_not_counted_as_rejected_rows() {
        let name = |reason: Reason| counter_of(reason.code()).definition().name;
        for reason in [Reason::NeedsToken, Reason::NoBinary] {
            assert_eq!(name(reason), "export.attachments_unserved");
            shards::ATTACHMENTS_UNSERVED.add(0, &[("reason", reason.code().into())]);
        }
        for reason in [Reason::TooLong, Reason::WrongId, Reason::Missing] {
            assert_eq!(name(reason), "export.rows_rejected");
        }
    }
}

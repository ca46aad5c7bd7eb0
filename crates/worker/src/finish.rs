//! The finish step: the files of deletions and of problems, and the moment from which the manifest can be read.

mod deleted;
mod problems;

use std::sync::Arc;

use bytes::Bytes;
use headgate_domain::file_name::FileNumber;
use headgate_domain::practice::PracticeOptions;
use headgate_metrics::exports;
use headgate_store::{FileKind, FinishedTotals, PublishedFile, StepLease};
use tokio_util::sync::CancellationToken;

use crate::acquire_loop::Ended;
use crate::context::Context;
use crate::{Error, ask, upload};

/// Finishes an export whose shards are all done.
pub async fn run(context: Arc<Context>, lease: StepLease, stop: CancellationToken) -> Result<Ended, Error> {
    let binding = ask::control(context.store.source_binding(lease.practice)).await?;
    let binding = binding.filter(|b| !b.suspended).ok_or(Error::NoPractice)?;
    let writer = Writer {
        context: &context,
        prefix: &binding.s3_prefix,
        options: &binding.options,
        fence: lease.fence,
    };
    // Deletions of a large group take their time; begun anew, they are written under another fence.
    let written = async {
        let mut files = deleted::files(&writer, &lease, &binding).await?;
        files.extend(problems::files(&writer, &lease).await?);
        Ok::<_, Error>(files)
    };
    let files = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Ended::Drained),
        () = context.drain.cancelled() => return Ok(Ended::Drained),
        files = written => files?,
    };
    let totals = ask::control(context.store.complete(&lease, &files, context.config.retention)).await?;
    measure(&lease, &totals);
    tracing::info!(
        practice = %lease.practice,
        export = %lease.export,
        resources = totals.resources,
        files = totals.files,
        bytes = totals.bytes,
        "export completed"
    );
    Ok(Ended::Done)
}

/// Counts a completed export, and whether it took longer than it should.
fn measure(lease: &StepLease, totals: &FinishedTotals) {
    let resources = u64::try_from(totals.resources).unwrap_or_default();
    let class = exports::size_class(resources);
    exports::DURATION.record(totals.took, &[("size_class", class.into())]);
    // Nought too, so that the series is there before the first that is late.
    let late = totals.took_unpaused.as_secs() > exports::due_s(resources);
    exports::LATE.add(u64::from(late), &[("practice", lease.practice.get().into())]);
}

/// What writing a file of the finish step takes.
struct Writer<'a> {
    context: &'a Context,
    prefix: &'a str,
    options: &'a PracticeOptions,
    fence: i64,
}

impl Writer<'_> {
    /// Most lines of a file.
    fn most_lines(&self) -> usize {
        self.options.file_resources.unwrap_or(self.context.config.file_resources).max(1) as usize
    }

    /// Uploads a file of so many lines.
    async fn put(
        &self,
        kind: FileKind,
        number: u32,
        object_key: String,
        lines: u64,
        body: Vec<u8>,
    ) -> Result<(FileKind, PublishedFile), Error> {
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let bytes = body.len() as u64;
        let crc32 = crc32fast::hash(&body);
        let crc32 = upload::put(self.context, self.options, &object_key, Bytes::from(body), crc32).await?;
        let file = PublishedFile {
            number: FileNumber { number, part: 1 },
            object_key,
            resources: lines,
            bytes,
            sha256: hex::encode(sha256),
            crc32,
            attachment_id: None,
        };
        Ok((kind, file))
    }
}

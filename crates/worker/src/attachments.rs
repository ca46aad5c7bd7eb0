//! A shard of attachments: the contents to which exported resources lead by URL.
//!
//! The ids were written down with the files that lead to them. What there is of them is asked once; then one content
//! after the other is fetched and handed on as a file of its own, to be uploaded and published like those of lines.
//! The number of a file is that of its id in the shard, so that whoever does the shard again names the same files.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use headgate_domain::file_name::FileNumber;
use headgate_source::{Attachment, Cursor, Key, Marker, Source};
use headgate_store::{NewProblem, ShardLease};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::budget::Taken;
use crate::context::Context;
use crate::frame::{AttachmentHead, FilledFile, Resume};
use crate::line::Reason;
use crate::read::{Slice, stored};
use crate::shard::Tail;
use crate::{Error, ask};

/// What a content is where its row does not say, or not as a MIME type is written.
const UNKNOWN: &str = "application/octet-stream";

/// Longest MIME type that is taken over, in bytes.
const LONGEST_TYPE: usize = 127;

/// Fetches every content of the shard; `None` when it was stopped before the end.
pub async fn fill(
    context: &Context,
    source: &Source,
    lease: &ShardLease,
    resume: Resume,
    full: mpsc::Sender<FilledFile>,
    stop: &CancellationToken,
) -> Result<Option<Tail>, Error> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        () = context.drain.cancelled() => Ok(None),
        filled = fetch_all(context, source, lease, resume, full) => filled,
    }
}

async fn fetch_all(
    context: &Context,
    source: &Source,
    lease: &ShardLease,
    mut resume: Resume,
    full: mpsc::Sender<FilledFile>,
) -> Result<Option<Tail>, Error> {
    let Slice::References { ids } = stored(&lease.slice, "slice")? else {
        let error = serde::de::Error::custom("attachments are read by their ids");
        return Err(Error::Stored { what: "slice", source: error });
    };
    let marker = Marker { replica: lease.source_replica, lsn: lease.source_lsn.clone() };
    let ids: Vec<(u32, String)> =
        (lease.first_number..).zip(ids).filter(|(_, id)| is_left(id, &resume)).collect();
    let there = there(context, source, lease, &marker, &ids).await?;
    let mut counts: BTreeMap<Reason, u64> = BTreeMap::new();
    for (number, id) in ids {
        resume.after = Some(Cursor::After(Key { page_key: String::new(), id: id.clone() }));
        let fetched = match there.get(&id) {
            Some(attachment) => fetch(context, source, &marker, attachment).await?,
            None => Err(Reason::Missing),
        };
        match fetched {
            Ok(content) => {
                let problems = Reason::problems(std::mem::take(&mut counts));
                let file = content.into_file(number, id, problems, resume.clone());
                if full.send(file).await.is_err() {
                    // Publishing failed, and says why.
                    return Ok(None);
                }
            }
            Err(reason) => *counts.entry(reason).or_default() += 1,
        }
    }
    Ok(Some(Tail { problems: Reason::problems(counts), resume }))
}

/// Whether an id comes after the last published file; the ids of a shard are in byte order.
fn is_left(id: &str, resume: &Resume) -> bool {
    match &resume.after {
        Some(Cursor::After(key)) => *id > *key.id,
        _ => true,
    }
}

/// Those of the attachments that are there, and are of nobody or of patients of the export.
async fn there(
    context: &Context,
    source: &Source,
    lease: &ShardLease,
    marker: &Marker,
    ids: &[(u32, String)],
) -> Result<HashMap<String, Attachment>, Error> {
    let ids: Vec<String> = ids.iter().map(|(_, id)| id.clone()).collect();
    let mut found = ask::source("attachments", source.attachments(marker, &ids)).await?;
    if lease.by_members {
        let patients: HashSet<&String> = found.iter().filter_map(|a| a.patient_id.as_ref()).collect();
        let patients: Vec<String> = patients.into_iter().cloned().collect();
        let members = context.store.members_among(lease.practice, &lease.export, &patients);
        let members = ask::control(members).await?;
        found.retain(|a| a.patient_id.as_ref().is_none_or(|patient| members.contains(patient)));
    }
    Ok(found.into_iter().map(|attachment| (attachment.id.clone(), attachment)).collect())
}

/// A content in memory.
struct Fetched {
    content_type: String,
    body: Bytes,
    taken: Taken,
}

/// Fetches a content, within the worker's budget; or says why it is not exported.
async fn fetch(
    context: &Context,
    source: &Source,
    marker: &Marker,
    attachment: &Attachment,
) -> Result<Result<Fetched, Reason>, Error> {
    let bytes = match attachment.bytes {
        None | Some(0) => return Ok(Err(Reason::Empty)),
        Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
    };
    if bytes > context.config.source.resource_bytes {
        return Ok(Err(Reason::TooLong));
    }
    let mut taken = Taken::default();
    context.budget.take(&mut taken, bytes).await;
    let Some(fetched) = ask::source("attachments", source.attachment_content(marker, attachment)).await?
    else {
        return Ok(Err(Reason::Missing));
    };
    Ok(match fetched.content {
        // It was there a moment ago, and shorter.
        None => Err(Reason::TooLong),
        Some(content) if content.is_empty() => Err(Reason::Empty),
        Some(content) => {
            if content.len() > bytes {
                context.budget.take(&mut taken, content.len() - bytes).await;
            }
            let content_type = content_type(fetched.content_type.as_deref()).to_owned();
            Ok(Fetched { content_type, body: Bytes::from(content), taken })
        }
    })
}

impl Fetched {
    fn into_file(self, number: u32, id: String, problems: Vec<NewProblem>, resume: Resume) -> FilledFile {
        FilledFile {
            number: FileNumber { number, part: 1 },
            attachment: Some(AttachmentHead { id, content_type: self.content_type }),
            resources: 1,
            sha256: hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.body)),
            crc32: crc32fast::hash(&self.body),
            body: self.body,
            problems,
            references: Vec::new(),
            resume,
            taken: self.taken,
        }
    }
}

/// The MIME type under which a content is stored: `type/subtype`, perhaps with parameters.
fn content_type(said: Option<&str>) -> &str {
    let said = said.unwrap_or_default().trim();
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let essence = said.split(';').next().unwrap_or_default().trim_end();
    let is_type = essence.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub));
    let is_header = said.bytes().all(|b| (b' '..=b'~').contains(&b));
    if is_type && is_header && said.len() <= LONGEST_TYPE { said } else { UNKNOWN }
}

#[cfg(test)]
mod tests {
    use headgate_domain::file_name::Numbering;

    use super::*;

    #[test]
    fn a_mime_type_is_taken_over_and_anything_else_is_not() {
        for said in ["application/pdf", "text/plain; charset=utf-8", "application/hl7-v3+xml", " image/png "]
        {
            assert_eq!(content_type(Some(said)), said.trim());
        }
        let long = format!("text/{}", "x".repeat(200));
        for said in ["", "pdf", "/", "text/", "text/plain\r\nX-A: b", "a b/c", "text/pl\u{e4}in", &long] {
            assert_eq!(content_type(Some(said)), UNKNOWN, "{said}");
        }
        assert_eq!(content_type(None), UNKNOWN);
    }

    #[test]
    fn a_shard_goes_on_behind_its_last_published_content() {
        let key = |id: &str| Some(Cursor::After(Key { page_key: String::new(), id: id.to_owned() }));
        let resume = |after| Resume { after, numbering: Numbering::new(1, 3) };
        assert!(is_left("a", &resume(None)));
        assert!(!is_left("b", &resume(key("b"))) && is_left("b-1", &resume(key("b"))));
        assert!(!is_left("Z", &resume(key("a"))), "upper case comes first in byte order");
    }
}

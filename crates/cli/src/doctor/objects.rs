//! Whether files can be stored, fetched by link and deleted in a practice's part of the bucket, and by nobody else.
//!
//! The object that is tried with lies in a folder of its own, `PREFIX/doctor/`, has a name that was never used, and is
//! deleted whatever comes of it. Nothing else is listed, and no export's object is touched.

use std::time::Duration;

use bytes::Bytes;
use headgate_objects::{ObjectError, Objects};
use headgate_store::PracticeRecord;
use uuid::Uuid;

use super::bucket;
use super::finding::{Finding, late};

/// How long after a request that was given up it is looked once more.
const AFTERMATH: Duration = Duration::from_secs(3);

const BODY: &[u8] = b"headgate doctor\n";

/// CRC-32 (that of zlib and of S3's `x-amz-checksum-crc32`) of [`BODY`].
const BODY_CRC32: u32 = 0xd7bb_a21a;

/// What was seen of an object that was stored.
struct Seen {
    keeps_crc32: bool,
    by_link: Result<bool, &'static str>,
    without_link: Option<u16>,
}

/// Tries with an object.
pub async fn check(
    objects: &Objects,
    http: &reqwest::Client,
    practice: &PracticeRecord,
    patience: Duration,
) -> Vec<Finding> {
    let check = format!("objects of practice {}", practice.practice.number);
    let key = format!("{}/doctor/{}", practice.practice.s3_prefix, Uuid::new_v4());
    let used = tokio::time::timeout(patience, store_and_fetch(objects, http, &key)).await;
    let mut removed = tokio::time::timeout(patience, remove(objects, &key)).await;
    if used.is_err() {
        // What was given up may be stored a little later.
        tokio::time::sleep(AFTERMATH).await;
        removed = tokio::time::timeout(patience, remove(objects, &key)).await;
    }
    let mut findings = match used {
        Ok(Ok(seen)) => judge(&check, &seen),
        Ok(Err(error)) => vec![failed(&check, &error)],
        Err(_) => {
            let finding = late(&check, patience);
            let mend = finding.mend.map(|mend| format!("{mend}; see that {key} is gone"));
            vec![Finding { mend, ..finding }]
        }
    };
    let left = match removed {
        Ok(Ok(true)) => return findings,
        Ok(Ok(false)) => "it is still there after it was deleted".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", patience.as_secs()),
    };
    let mend = format!(
        "see that the credentials allow s3:DeleteObject and s3:ListBucket below the practice's prefix, and delete {key}"
    );
    findings.push(Finding::failed(check, format!("an object could not be deleted: {left}"), mend));
    findings
}

async fn store_and_fetch(objects: &Objects, http: &reqwest::Client, key: &str) -> Result<Seen, ObjectError> {
    objects.put(key, Bytes::from_static(BODY), "text/plain", None, BODY_CRC32).await?;
    let head = objects.head(key).await?.ok_or(ObjectError::Damaged("existence"))?;
    let link = bucket::link(objects, key).await?;
    let address = bucket::address(objects, key).await?;
    Ok(Seen {
        keeps_crc32: head.crc32 == Some(BODY_CRC32),
        by_link: fetch(http, link).await,
        without_link: http.get(address).send().await.ok().map(|answer| answer.status().as_u16()),
    })
}

/// Whether the link gives what was stored. The client's own errors may hold the link.
async fn fetch(http: &reqwest::Client, link: String) -> Result<bool, &'static str> {
    let answer = http.get(link).send().await.map_err(|_| "the S3 server cannot be reached")?;
    if !answer.status().is_success() {
        return Err("the S3 server refuses it");
    }
    let body = answer.bytes().await.map_err(|_| "the answer broke off")?;
    Ok(body == BODY)
}

/// Whether it is gone. Asked by listing, as workers do before they delete: who may list in part is not told of an object
/// whether it is there.
async fn remove(objects: &Objects, key: &str) -> Result<bool, ObjectError> {
    objects.delete([key.to_owned()]).await?;
    Ok(objects.list(key, 1).await?.is_empty())
}

fn failed(check: &str, error: &ObjectError) -> Finding {
    let mend = match error.status() {
        Some(401 | 403) => {
            "see that the credentials allow s3:PutObject and s3:GetObject below the practice's prefix"
        }
        _ => "see the S3 server's log",
    };
    Finding::failed(check, error.to_string(), mend)
}

fn judge(check: &str, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    match seen.by_link {
        Ok(true) => findings.push(if seen.keeps_crc32 {
            Finding::ok(check, "stored with its CRC32, fetched by a link, deleted")
        } else {
            let mend = "a server that keeps checksums (x-amz-checksum-crc32) would tell damage at rest";
            Finding::warning(check, "stored, fetched by a link, deleted; the server keeps no CRC32", mend)
        }),
        Ok(false) => {
            let mend = "see what stands between: something changes what is fetched";
            findings.push(Finding::failed(check, "a link gives something else than was stored", mend));
        }
        Err(why) => {
            let mend = "see that s3.endpoint can be reached by clients, and that no policy forbids links";
            findings.push(Finding::failed(check, format!("a link does not work: {why}"), mend));
        }
    }
    findings.extend(without_link(check, seen.without_link));
    findings
}

/// Whoever has no link must get nothing.
fn without_link(check: &str, status: Option<u16>) -> Option<Finding> {
    match status {
        Some(200..=299) => Some(Finding::failed(
            check,
            "PUBLIC: the object was given out without credentials, and so are the files of exports",
            "block public access to the bucket at once",
        )),
        // Refused, or not even admitted to be there.
        Some(401 | 403 | 404) => None,
        _ => Some(Finding::warning(
            check,
            "it could not be told whether objects are given out without credentials",
            "see the bucket's policy",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn seen() -> Seen {
        Seen { keeps_crc32: true, by_link: Ok(true), without_link: Some(403) }
    }

    fn verdicts(seen: &Seen) -> Vec<Verdict> {
        judge("objects", seen).iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_bucket_that_anybody_can_read_fails() {
        assert_eq!(verdicts(&Seen { without_link: Some(200), ..seen() }), [Verdict::Ok, Verdict::Failed]);
        for refused in [401, 403, 404] {
            assert_eq!(verdicts(&Seen { without_link: Some(refused), ..seen() }), [Verdict::Ok]);
        }
        for unclear in [None, Some(301), Some(503)] {
            let seen = Seen { without_link: unclear, ..seen() };
            assert_eq!(verdicts(&seen), [Verdict::Ok, Verdict::Warning]);
        }
    }

    #[test]
    fn links_must_work_and_checksums_should_be_kept() {
        assert_eq!(verdicts(&Seen { keeps_crc32: false, ..seen() }), [Verdict::Warning]);
        assert_eq!(verdicts(&Seen { by_link: Ok(false), ..seen() }), [Verdict::Failed]);
        assert_eq!(verdicts(&Seen { by_link: Err("no"), ..seen() }), [Verdict::Failed]);
    }
}

//! The finish step: the error files, and the moment from which the manifest can be read.

use std::sync::Arc;

use bytes::Bytes;
use headgate_domain::file_name::{FileNumber, error_key};
use headgate_domain::outcome::{Issue, IssueCode, OperationOutcome};
use headgate_store::{Problem, PublishedFile, StepLease};

use crate::Error;
use crate::acquire_loop::Ended;
use crate::context::Context;
use crate::upload;

/// Finishes an export whose shards are all done.
pub async fn run(context: Arc<Context>, lease: StepLease) -> Result<Ended, Error> {
    let binding = context.store.source_binding(lease.practice).await?.ok_or(Error::NoPractice)?;
    let problems = context.store.problems(&lease).await?;
    let mut files = Vec::new();
    for (number, problems) in (1..).zip(problems.chunks(context.config.file_resources as usize)) {
        files.push(error_file(&context, &lease, &binding.s3_prefix, number, problems).await?);
    }
    let totals = context.store.complete(&lease, &files, context.config.retention).await?;
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

async fn error_file(
    context: &Context,
    lease: &StepLease,
    prefix: &str,
    number: u32,
    problems: &[Problem],
) -> Result<PublishedFile, Error> {
    let mut body = Vec::new();
    for problem in problems {
        serde_json::to_writer(&mut body, &outcome(problem))
            .map_err(|source| Error::Stored { what: "problem", source })?;
        body.push(b'\n');
    }
    let crc32 = crc32fast::hash(&body);
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
    let body = Bytes::from(body);
    let object_key = error_key(prefix, &lease.export, lease.fence, number);
    upload::put(context, &object_key, &body, crc32).await?;
    Ok(PublishedFile {
        number: FileNumber { number, part: 1 },
        object_key,
        resources: problems.len() as u64,
        bytes: body.len() as u64,
        sha256: hex::encode(sha256),
        crc32,
    })
}

/// What a client reads of a problem.
fn outcome(problem: &Problem) -> OperationOutcome {
    let issue = match problem.resource_type {
        Some(t) => {
            let resources = if problem.occurrences == 1 { "resource" } else { "resources" };
            let text = format!(
                "{} {t} {resources} could not be exported: {}",
                problem.occurrences, problem.diagnostics
            );
            Issue::error(IssueCode::Processing, text)
        }
        None => Issue::warning(IssueCode::NotSupported, &problem.diagnostics),
    };
    issue.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_domain::ResourceType;

    #[test]
    fn a_problem_tells_type_count_and_reason() {
        let problem = Problem {
            resource_type: Some(ResourceType::Goal),
            diagnostics: "it is too long".into(),
            occurrences: 2,
        };
        assert_eq!(
            outcome(&problem).issues()[0].diagnostics(),
            "2 Goal resources could not be exported: it is too long"
        );
    }
}

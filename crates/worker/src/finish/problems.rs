//! The error files: what could not be exported, what was ignored of the request, whom it named in vain.

use headgate_domain::file_name::error_key;
use headgate_domain::outcome::{Issue, IssueCode, OperationOutcome};
use headgate_store::{FileKind, Problem, PublishedFile, StepLease, StreamType};

use super::Writer;
use crate::line::Reason;
use crate::{Error, ask};

/// Writes the error files of an export.
pub(super) async fn files(
    writer: &Writer<'_>,
    lease: &StepLease,
) -> Result<Vec<(FileKind, PublishedFile)>, Error> {
    let store = &writer.context.store;
    let problems = ask::control(store.problems(lease)).await?;
    let absent = ask::control(store.missing_patients(lease)).await?;
    let mut outcomes: Vec<OperationOutcome> = problems.iter().map(outcome).collect();
    outcomes.extend(absent.iter().map(|id| missing(id)));
    let mut files = Vec::new();
    for (number, outcomes) in (1..).zip(outcomes.chunks(writer.most_lines())) {
        let mut body = Vec::new();
        for outcome in outcomes {
            serde_json::to_writer(&mut body, outcome)
                .map_err(|source| Error::Stored { what: "problem", source })?;
            body.push(b'\n');
        }
        let key = error_key(writer.prefix, &lease.export, writer.fence, number);
        files.push(writer.put(FileKind::Error, number, key, outcomes.len() as u64, body).await?);
    }
    Ok(files)
}

/// What a client reads of a problem.
fn outcome(problem: &Problem) -> OperationOutcome {
    let count = problem.occurrences;
    let issue = match problem.stream_type {
        Some(t) if Reason::is_note(&problem.reason) => {
            let resources = if count == 1 { "resource leads" } else { "resources lead" };
            let text = format!(
                "{count} {t} {resources} by URL to attachments that cannot be had here: {}",
                problem.diagnostics
            );
            Issue::warning(IssueCode::NotSupported, text)
        }
        Some(StreamType::Attachments) => {
            let attachments = if count == 1 { "attachment" } else { "attachments" };
            let text = format!("{count} {attachments} could not be exported: {}", problem.diagnostics);
            Issue::error(IssueCode::Processing, text)
        }
        Some(StreamType::Resources(t)) => {
            let resources = if count == 1 { "resource" } else { "resources" };
            let text = format!("{count} {t} {resources} could not be exported: {}", problem.diagnostics);
            Issue::error(IssueCode::Processing, text)
        }
        None => Issue::warning(IssueCode::NotSupported, &problem.diagnostics),
    };
    issue.into()
}

/// What a client reads of a patient that it named. The file is for this client alone, which knows the id.
fn missing(patient_id: &str) -> OperationOutcome {
    let text = format!(
        "Patient/{patient_id}: there is no such patient here, or not in this group; nothing was exported for it"
    );
    Issue::error(IssueCode::NotFound, text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_domain::ResourceType;

    #[test]
    fn a_problem_tells_type_count_and_reason() {
        let told = |stream_type, reason: Reason, occurrences| {
            let (reason, diagnostics) = (reason.code().to_owned(), reason.diagnostics().to_owned());
            let problem = Problem { stream_type: Some(stream_type), reason, diagnostics, occurrences };
            outcome(&problem).issues()[0].diagnostics().to_owned()
        };
        assert_eq!(
            told(StreamType::Resources(ResourceType::Goal), Reason::TooLong, 2),
            "2 Goal resources could not be exported: it is longer than this server exports"
        );
        assert_eq!(
            told(StreamType::Attachments, Reason::TooLong, 1),
            "1 attachment could not be exported: it is longer than this server exports"
        );
        assert_eq!(
            told(StreamType::Resources(ResourceType::DocumentReference), Reason::NoBinary, 1),
            "1 DocumentReference resource leads by URL to attachments that cannot be had here: the source has no \
             usable relation binary"
        );
    }
}

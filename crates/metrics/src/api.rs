//! What apps ask for.

use crate::definition::{Label, Role};
use crate::instrument::Counter;

/// See its description.
pub static POLLS: Counter = Counter::new(
    Role::Api,
    "export.poll",
    "{request}",
    &[Label::bounded("code", "the status codes of HTTP")],
    "Status requests, by the code of the answer.",
);

/// See its description.
pub static DOWNLOADS: Counter = Counter::new(
    Role::Api,
    "export.downloads",
    "{request}",
    &[Label::known("outcome", &["redirected", "refused", "missing", "failed"])],
    "Requests for files with an access token.",
);

/// See its description.
pub static LINKS: Counter =
    Counter::new(Role::Api, "export.links", "{link}", &[], "Links to files that were handed out.");

/// See its description.
pub static KICKOFF_REJECTED: Counter = Counter::new(
    Role::Api,
    "export.kickoff.rejected",
    "{request}",
    &[
        Label::bounded("code", "the status codes of HTTP"),
        Label::bounded("reason", "the reasons of refusals"),
    ],
    "Kick-offs that were refused, by the code of the answer and the reason.",
);

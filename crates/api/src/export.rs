//! The Bulk Data operations on exports (Bulk Data IG): kick-off, status, files, attachments and deletion.

mod attachment;
mod cancel;
mod file;
mod kick_off;
mod list;
mod manifest;
mod retry_after;
mod status;

use headgate_domain::ExportId;
use headgate_domain::practice::Practice;

pub(crate) use attachment::attachment;
pub(crate) use cancel::cancel;
pub(crate) use file::file;
pub(crate) use kick_off::kick_off;
pub(crate) use list::list;
pub(crate) use status::status;

/// The absolute URL that is polled.
fn status_url(practice: &Practice, id: &ExportId) -> String {
    format!("{}/fhir-services/$export-status/{id}", practice.base())
}

//! The Bulk Data operations on exports (Bulk Data IG): kick-off, status and deletion.

mod cancel;
mod kick_off;
mod retry_after;
mod status;

pub(crate) use cancel::cancel;
pub(crate) use kick_off::kick_off;
pub(crate) use status::status;

//! `headgate openapi`: prints the OpenAPI document of the admin API.

use crate::output;

/// Prints the document.
pub fn run() {
    output::print(headgate_api::openapi_document().trim_end());
}

//! `[limits]`: sizes of what comes from outside.

use serde::Deserialize;

use super::checks::Checks;

/// Sizes of what comes from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one resource at most.
    pub resource_bytes: usize,
    /// Bytes of a request body at most.
    pub body_bytes: usize,
    /// Bytes of a request body on the admin API at most.
    pub admin_body_bytes: usize,
}

impl Limits {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("limits.resource_bytes", self.resource_bytes, 1024..=1 << 29);
        checks.range("limits.body_bytes", self.body_bytes, 4096..=16 << 20);
        checks.range("limits.admin_body_bytes", self.admin_body_bytes, 4096..=1 << 30);
    }
}

//! `/admin/v1/operations`: holding the fleet, and seeing what it does. For operators alone. Deeds on one practice are
//! beside the other deeds on practices.

mod reports;
mod status;

pub(super) use reports::*;
pub(super) use status::*;

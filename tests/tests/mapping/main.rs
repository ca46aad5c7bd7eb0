//! From an EHR's rows to resources: real processes on a real PostgreSQL with the reference EHR; and the pages of the
//! documentation whose commands are run.

mod agreement;
mod api_page;
mod clinic;
mod moving;
mod onboarding;
mod page;
mod pitfalls;
mod sets;
mod shared;

//! From an EHR's rows to resources: real processes on a real PostgreSQL with the reference EHR.

mod agreement;
mod clinic;
mod moving;
mod onboarding;
mod pitfalls;
mod sets;
mod shared;

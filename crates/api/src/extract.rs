//! What is read off a request before its operation runs: the practice it is for, and who sent it.

pub(crate) mod practice;
pub(crate) mod principal;

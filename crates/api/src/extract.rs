//! What every handler needs of a request: where it is for, who sent it and where it came from.

pub(crate) mod access_token;
pub(crate) mod address;
pub(crate) mod practice;
pub(crate) mod principal;

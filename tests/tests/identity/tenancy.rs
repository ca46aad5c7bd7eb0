//! A practice is an identity: what is another one's, or another app's, is as if it were not there.

mod hosts;
mod matrix;
mod tenants;

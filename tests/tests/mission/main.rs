//! What the modelled product's documentation promises a vendor, one test per promise, and what is refused.
//!
//! A commercial EHR vendor documents its bulk service for app developers; a client written after that
//! documentation has to work here unchanged. Each test whose name begins with `m` and a number stands for one
//! statement of it and sends the documented request as it is printed there, noise included. [`refusals`] proves
//! that every refusal leaves nothing behind, [`tokens`] what the token endpoint does beyond the documentation.
//!
//! All tests share one Headgate ([`stage`]); what a test changes, it makes for itself.

mod authentication;
mod curl;
mod errors;
mod files;
mod jwt;
mod kick_off;
mod purpose;
mod refusals;
mod registration;
mod stage;
mod tokens;

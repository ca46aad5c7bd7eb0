//! Who may have what: registration, consent, tokens and tenancy, against real processes.
//!
//! Each file is a promise, each test a sentence of it. Most tests share one Headgate ([`stage`]) with practices and apps
//! of their own; what stops processes or changes the control database by hand has a Headgate of its own.

mod admin_api;
mod admin_matrix;
mod assertions;
mod audit;
mod canary;
mod external_issuer;
mod forge;
mod fuzz;
mod introspection;
mod isolation;
mod key_sets;
mod limits;
mod live;
mod raw;
mod scene;
mod signing_keys;
mod stage;
mod tenancy;

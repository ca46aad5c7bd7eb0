//! The vocabulary of Headgate and its rules, without any I/O.
//!
//! Everything here can be read, and tested, without a database, a socket or a clock: what a
//! [`practice`], an app and a [`consent`] are, how an export [`request`] is parsed and
//! [`authorize`](mod@authorize)d, which states an [`export`] goes through, how a [`manifest`] looks and
//! how its [`file_name`]s are spelled, and how a [`template`] of a [`mapping`] set makes a resource of a row. The adapters (`auth`, `store`, `source`, `objects`) and the
//! processes (`api`, `worker`) depend on this crate; it depends on none of them.

pub mod authorize;
pub mod consent;
pub mod elements;
pub mod export;
pub mod file_name;
pub mod ids;
pub mod instant;
pub mod json_members;
pub mod manifest;
pub mod mapping;
pub mod outcome;
pub mod practice;
pub mod request;
pub mod resource_type;
pub mod scope;
pub mod search;
pub mod template;

pub use ids::{ClientId, ExportId, PracticeNumber};
pub use resource_type::ResourceType;

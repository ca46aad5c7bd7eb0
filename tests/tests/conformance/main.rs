//! What the Bulk Data Access guide (1.0.1, 2.0.0 and 3.0.0) asks of a server, requirement by requirement, against
//! real processes.
//!
//! Each file is a section of the guide, each test a sentence of it; `docs/CONFORMANCE.md` leads from every
//! requirement to its tests, and a test of the house keeps that page and this suite together. [`clients`] holds the
//! habits of clients and of public test suites that go beyond the guide's words.
//!
//! All tests share one Headgate and one practice that is only read ([`stage`]); a test that changes something makes a
//! practice of its own.

mod capability;
mod clients;
mod deleted;
mod elements;
mod files;
mod groups;
mod headers;
mod kick_off;
mod parameters;
mod partial_manifests;
mod patient;
mod provenance;
mod requests;
mod stage;
mod status;
mod token_files;
mod type_filter;

//! The engine under real conditions: real processes, a real PostgreSQL, a real S3 protocol server.
//!
//! Each test has a Headgate of its own (control database, bucket, API, workers) and a practice of its own.
//! Where a test must catch a worker in the middle of something, a [`gate`] in the practice's database holds
//! it there for as long as the test needs; nothing depends on who is quicker.

mod attachments;
mod crashes;
mod doctor;
mod endings;
mod gate;
mod groups;
mod health;
mod late_writers;
mod levels;
mod operations;
mod orphans;
mod other_source;
mod privacy;
mod properties;
mod relay;
mod rotation;
mod silence;
mod telemetry;
mod world;

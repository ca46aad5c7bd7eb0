//! Drives a whole Headgate: real processes, a real PostgreSQL cluster, a real S3 protocol server.
//!
//! For tests over sockets and for the programs `roundtrip` and `chaos`. Nothing is a mock: [`TestApp`] starts
//! the built program `headgate` as `migrate`, `api` and `worker`, gives each its configuration by environment
//! and speaks to it over HTTP only. What the engine should have done is read from its control database, from
//! the practices' EHR databases and from the bucket, each by a way of its own that shares no code with the
//! engine.
//!
//! ```no_run
//! # async fn a_test() -> anyhow::Result<()> {
//! use headgate_testkit::{Level, TestApp};
//!
//! let app = TestApp::start().await?;
//! let practice = app.practice(100_491, "pod21test").create().await?;
//! practice.insert("Patient", "p1", Some("p1")).await?;
//! let vendor = app.vendor_app(&["system/*.rs"]).await?;
//! app.consent(&practice, &vendor).await?;
//! let client = app.client(&practice, &vendor).await?;
//! let status_url = client.start(&Level::Patient, &[]).await?;
//! let manifest = client.wait_complete(&status_url).await?;
//! assert_eq!(client.download_all(&manifest).await?.lines("Patient").len(), 1);
//! # Ok(()) }
//! ```
//!
//! One cluster and one S3 server serve all tests of a process ([`Installation::shared`]); each [`TestApp`] has
//! a control database, a bucket and processes of its own, so tests run side by side. Everything goes away with
//! the process, however it ends: the processes, the servers and the folder of files each have a guardian.

mod admin;
mod answer;
mod bulk;
mod collector;
pub mod deployed;
pub mod fuzz;
mod guardian;
pub mod headgate;
mod installation;
mod key_server;
pub mod matrix;
pub mod oracle;
mod ports;
mod practice;
pub mod properties;
mod reference_ehr;
pub mod rehearsal;
mod second_api;
mod settings;
mod test_app;
pub mod trial;
mod vendor_app;

pub use admin::Admin;
pub use answer::Answer;
pub use bulk::{BulkClient, Download, DownloadedFile, Level};
pub use collector::{Collector, SeenSpan};
pub use headgate::Process;
pub use installation::{Installation, READER};
pub use key_server::{Behaviour, KeyServer};
pub use practice::{Practice, PracticeBuilder};
pub use second_api::SecondApi;
pub use settings::Settings;
pub use test_app::{API_ROLE, TestApp, TestAppBuilder, WORKER_ROLE};
pub use vendor_app::AppHandle;

pub use headgate_auth as auth;
pub use {headgate_domain as domain, headgate_reference_ehr as ehr, indicatif};
pub use {reqwest, serde_json, sqlx};

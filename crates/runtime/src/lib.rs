//! What every process of Headgate shares: configuration, logging, its life from start to drain, and the
//! serving of HTTP.
//!
//! A role (`api`, `worker`, `migrate`) starts in the same order, and none invents its own: [`config`] is
//! read and validated, [`telemetry`] begins, listeners are bound by [`serve`], and a [`Lifecycle`] runs the
//! tasks until a signal drains them. Bad configuration ends the process with [`exit::CONFIG`] before a port
//! is open.

pub mod build_info;
pub mod config;
pub mod exit;
pub mod health;
pub mod lifecycle;
pub mod serve;
pub mod telemetry;

pub use config::{Config, ConfigError, Role};
pub use lifecycle::Lifecycle;

//! What `deployed` is made of: the pods of rendered manifests, started on this machine without a cluster.
//!
//! A pod is the built program with the manifest's arguments and environment, its user and group, its file system
//! (read-only, without a shell, the secrets as files where they are mounted), its limit of memory and its grace
//! period. What cannot be had where the program runs is said and left out.

mod cluster;
mod container;
mod pod;
mod sandbox;
mod servers;

pub use cluster::Cluster;
pub use container::Container;
pub use pod::{Mount, Pod, Probe, read_pods};
pub use sandbox::Sandbox;
pub use servers::Servers;

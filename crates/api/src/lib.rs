//! The HTTP surfaces of Headgate.
//!
//! - [`public_router`]: what apps talk to. Below each practice's FHIR base URL: kick-off, status, metadata,
//!   discovery, its groups and the practice's own token endpoint; beside them the shared token endpoint, the key
//!   set and the list of all practices.
//! - [`admin_router`]: what operators, administrators of practices and vendors talk to, `/admin/v1`, for a listener
//!   of its own.
//!
//! Every request is HTTP in, a decision of the domain, HTTP out; one file per operation. The API never connects
//! to a practice's EHR: what it has to know of it, a worker wrote into the control database. Sockets, limits on
//! headers and the life of the process are the matter of whoever serves the routers; they should be served with
//! `ConnectInfo<SocketAddr>`, by which token requests are limited and from which access tokens take the client's
//! address. Beside the routers runs [`background`].
//!
//! The order of a request below a base URL: the practice by host and path, the operation by the rest of the
//! path, the access token, the consent, and only then what the operation itself reads. Who may do what is
//! a value that handlers take as an argument, so that none can forget to ask.

mod admin;
mod background;
mod body;
mod config;
mod directory;
mod endpoints;
mod error;
mod export;
mod extract;
mod group;
mod jwks;
mod keys;
mod layers;
mod measure;
mod metadata;
mod public;
mod rate;
mod respond;
mod route;
mod smart_configuration;
mod state;
mod throttle;
mod token;

pub use admin::{admin_router, openapi_document};
pub use background::background;
pub use config::{ApiConfig, ExternalIssuer};
pub use keys::sealing_context;
pub use public::public_router;
pub use state::{ApiState, Deps, StartError};

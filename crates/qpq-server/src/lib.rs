//! The server of quicproquo: accounts, key packages, groups and delivery for people who trust it with nothing but that.
//!
//! Layers point one way: `rpc` decodes, calls one method of `service`, and encodes; `service` decides, and asks `store`,
//! where every operation is one transaction. What it cannot see it cannot leak: it does not link the crate that decrypts.
//!
//! To run one inside another program:
//!
//! ```no_run
//! let config = qpq_server::Config::development("data".into());
//! let server = qpq_server::Server::start(config)?;
//! println!("{} {}", server.address(), server.fingerprint());
//! server.stop()?;
//! # Ok::<(), qpq_server::Error>(())
//! ```

pub mod config;
pub mod metrics;

pub mod store;

pub mod service;

pub mod rpc;

pub mod operator;

pub mod backup;

pub mod rewrite;

pub mod traces;

mod error;
mod http;
mod server;
mod setup;

pub use config::Config;
pub use error::Error;
pub use server::{RunningServer, Server};
pub use setup::check_files;

//! The client's end: find a server, connect to it, and know whom one is talking to.

mod address;
mod connection;
mod connector;
mod socket;

pub use address::{DEFAULT_PORT, ServerAddress};
pub use connection::ClientConnection;
pub use connector::Connector;
pub(super) use connector::exporter;

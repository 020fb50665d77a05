//! The server's end: worker threads, each with a UDP socket on the same port and the connections that begin there. A
//! connection, from its packets to its RPC objects, stays on one thread.

mod addresses;
mod admission;
mod connection;
mod exchange;
mod identifiers;
mod options;
mod server;
mod socket;
mod stats;
mod worker;

pub use addresses::{Addresses, Place, network};
pub use connection::ServerConnection;
pub use options::ServerOptions;
pub use server::Server;
pub use stats::ServerStats;
pub use worker::Handler;

//! The server's end: one UDP socket, connections dealt to worker threads, each of which runs the connections it was
//! dealt, with their RPC objects, on its own.

mod connection;
mod identifiers;
mod options;
mod server;
mod socket;
mod stats;
mod worker;

pub use connection::ServerConnection;
pub use options::ServerOptions;
pub use server::Server;
pub use stats::ServerStats;
pub use worker::Handler;

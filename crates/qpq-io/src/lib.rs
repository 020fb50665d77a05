//! The world, for both ends: QUIC and TLS, RPC vats, worker threads, encrypted databases, secrets, files, logging and
//! shutdown. Nothing in here knows what the messages mean.

pub mod error;
pub mod secret;

pub mod files;
pub mod log;
pub mod shutdown;

pub mod db;
pub mod rpc;

pub use error::Error;

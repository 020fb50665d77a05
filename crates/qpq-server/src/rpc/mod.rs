//! The wire: decode, one call of the service, encode. The only place in this crate that knows Cap'n Proto.

mod call;
mod connection;
mod echoes;
mod handler;

mod gateway;
mod login;
mod recovery;
mod registration;
mod session;

mod blobs;
mod delivery;
mod directory;
mod groups;
mod key_packages;
mod own_account;
mod pump;

pub use handler::RpcHandler;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

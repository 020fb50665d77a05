//! The client engine: MLS groups, envelopes, conversations, outbox and inbox. Sans-I/O and synchronous.
//!
//! [`Engine::handle`] takes one input, changes the store it is given, and returns effects. The caller commits the
//! store's transaction first and carries out the effects after; if it cannot commit, it throws the effects away and
//! calls [`Engine::rolled_back`]. There is no socket, thread, clock or SQL in here.

pub mod error;
pub mod store;

pub mod account;
pub mod crypto;
pub mod link;
pub mod request;
pub mod view;

mod mls;

pub mod engine;

pub use engine::{Command, Effect, Engine, Input};
pub use error::Error;

//! The wire messages and the end-to-end content of quicproquo as plain, owned Rust types.
//!
//! This crate and the RPC adapters on both sides are the only code that knows Cap'n Proto. Decoding checks every
//! required field and every limit once; whoever holds one of these types never checks them again. It knows no
//! socket, clock, file or MLS.

pub mod ids;
pub mod limits;
pub mod time;

pub mod code;
pub mod read;

pub mod account;
pub mod blobs;
pub mod content;
pub mod groups;
pub mod keys;
pub mod link;
pub mod stream;

pub mod mutation;

/// The code that the Cap'n Proto compiler makes from `schemas/`; regenerate with `cargo xtask schema`.
#[allow(clippy::all, clippy::unwrap_used, clippy::unimplemented, unused, rust_2018_idioms, missing_docs)]
#[rustfmt::skip]
pub mod generated {
    pub mod account_capnp;
    pub mod blobs_capnp;
    pub mod content_capnp;
    pub mod gateway_capnp;
    pub mod groups_capnp;
    pub mod ids_capnp;
    pub mod keys_capnp;
    pub mod session_capnp;
    pub mod stream_capnp;
}

pub use read::Malformed;

/// The version of the RPC protocol, exchanged in `Gateway.hello`.
pub const PROTOCOL: u16 = 1;

//! Who is who, and what is allowed.
//!
//! Identities, device manifests, credentials, cipher suites, and the validation of key packages and commits. Both ends
//! use this crate, so that what the server accepts is exactly what clients accept. It knows no socket, clock or file,
//! and no private group state.

pub mod error;

pub mod credential;
pub mod identity;
pub mod manifest;
pub mod proof;
pub mod recovery;
pub mod safety_number;

pub mod opaque;
pub mod suite;

pub mod commit;
pub mod group;
pub mod group_info;
mod hpke_keys;
pub mod key_package;
pub mod policy;

pub use error::TrustError;

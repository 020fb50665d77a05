//! The service as clients see it, with real MLS groups, on a store in a temporary folder.

mod account;
mod auth;
mod blobs;
mod delivery;
pub(crate) mod device;
mod formats;
mod groups;
mod keys;
mod limits;
mod rejoin;
pub(crate) mod world;

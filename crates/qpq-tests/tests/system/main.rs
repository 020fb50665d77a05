//! The whole system through the built binaries.

#![allow(clippy::unwrap_used)]

mod conversations;
mod demo;
mod errors;
mod limits;
mod privacy;
mod server;
mod trust;

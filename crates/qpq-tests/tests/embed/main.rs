//! Tests of what other programs embed: the C library, the programs that use it, and the scenarios for all SDKs.

#![allow(clippy::unwrap_used)]

mod account;
mod c;
mod conformance;
mod handles;

//! `libqpq`: the client for other languages, as a small C ABI. The reference is `include/qpq.h`, which is made from
//! [`abi`]; the guide is the page "Embedding" of the book.
//!
//! Requests, replies and events cross as JSON, in the objects of [`qpq_client::json`]. Handles are numbers in a table, so
//! that a stale one is an error and never a wild pointer, and no panic crosses. [`abi`] has all the `unsafe` of the product.

#![cfg_attr(test, allow(clippy::expect_used, clippy::panic))]

pub mod abi;
mod config;
mod consumer;
mod guard;
mod handles;
mod instance;
mod link;
mod request;
mod status;
#[cfg(feature = "testing")]
pub mod testing;

pub use status::QpqStatus;

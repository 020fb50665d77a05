//! The server.
pub mod config;
pub mod metrics;
pub mod service;
pub mod store;

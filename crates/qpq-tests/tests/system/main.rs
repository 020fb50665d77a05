//! The whole system through the built binaries.

#![allow(clippy::unwrap_used)]

mod account;
mod alerts;
mod backup;
mod clocks;
mod conversations;
mod crash;
mod demo;
mod devices;
mod disk;
mod errors;
mod files;
mod history;
mod limits;
mod logs;
mod messages;
mod metrics;
mod operate;
mod people;
mod privacy;
mod relay;
mod scripting;
mod server;
mod terminal;
mod traces;
mod trust;

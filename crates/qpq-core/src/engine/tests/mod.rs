#![allow(clippy::unwrap_used)]

mod delivery;
mod lying_server;
mod simulation;
mod world;

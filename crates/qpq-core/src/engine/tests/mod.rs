#![allow(clippy::unwrap_used)]

mod delivery;
mod healing;
mod lying_server;
mod simulation;
mod world;

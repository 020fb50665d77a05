#![allow(clippy::unwrap_used)]

mod annotations;
mod delivery;
mod healing;
mod lying_server;
mod simulation;
mod world;

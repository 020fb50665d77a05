#![allow(clippy::unwrap_used)]

mod annotations;
mod delivery;
mod devices;
mod healing;
mod hostile;
mod lying_server;
mod simulation;
mod world;

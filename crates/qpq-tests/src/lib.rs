//! Whole-system tests and benchmarks: real processes on loopback, temporary folders, nothing left behind.

pub mod bench;
pub mod crash;
pub mod dice;
pub mod disk;
pub mod exposition;
pub mod relay;
pub mod sim;
pub mod world;

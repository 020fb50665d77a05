//! A bounded number of seeds with every change; `cargo xtask sim` runs as many as one likes.

use super::{Options, kills, run};

#[test]
fn promises_hold() {
    for seed in 0..SEEDS {
        if let Err(failure) = run(seed, &Options::default()) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_device_may_be_killed_around_any_transaction() {
    for seed in 0..2 {
        if let Err(failure) = kills(seed, 97) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_repeats_itself() {
    let run = |seed| run(seed, &Options::default()).expect("a clean run");
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).fingerprint, run(8).fingerprint);
}

const SEEDS: u64 = 20;

//! A few rounds of what `cargo xtask crash` does for hours.

use anyhow::Result;
use qpq_tests::crash::{self, Faults, Options};
use qpq_tests::dice::Dice;
use qpq_tests::disk;

#[test]
fn nothing_acknowledged_is_lost_when_programs_are_killed() -> Result<()> {
    let options = Options { rounds: 3, seed: Dice::fresh_seed(), faults: Faults::Kills };
    println!("{}", crash::run(&options)?);
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() -> Result<()> {
    if let Some(reason) = disk::unavailable() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let options = Options { rounds: 2, seed: Dice::fresh_seed(), faults: Faults::PowerCuts };
    println!("{}", crash::run(&options)?);
    Ok(())
}

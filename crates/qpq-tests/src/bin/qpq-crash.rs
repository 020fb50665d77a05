//! `cargo xtask crash [--rounds N] [--power-cuts N] [--seed S]`

use anyhow::{Context as _, Result, bail};
use qpq_tests::crash::{self, Faults, Options};
use qpq_tests::dice::Dice;
use qpq_tests::disk;

fn main() -> Result<()> {
    let (mut rounds, mut power_cuts, mut seed) = (None, None, Dice::fresh_seed());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let number = || arguments.next().and_then(|text| text.parse().ok()).with_context(|| format!("{name} NUMBER"));
        match name.as_str() {
            "--rounds" => rounds = Some(u32::try_from({ number }()?)?),
            "--power-cuts" => power_cuts = Some(u32::try_from({ number }()?)?),
            "--seed" => seed = { number }()?,
            _ => bail!("unknown: {name}; there are --rounds N, --power-cuts N and --seed S"),
        }
    }
    if power_cuts.is_some()
        && let Some(reason) = disk::unavailable()
    {
        bail!("no power can be cut here: {reason}");
    }
    if rounds.is_none() && power_cuts.is_none() {
        rounds = Some(ROUNDS);
    }
    println!("seed {seed}");
    for (rounds, faults) in [(rounds, Faults::Kills), (power_cuts, Faults::PowerCuts)] {
        if let Some(rounds) = rounds {
            println!("{}", crash::run(&Options { rounds, seed, faults })?);
        }
    }
    Ok(())
}

const ROUNDS: u32 = 50;

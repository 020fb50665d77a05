//! `cargo xtask crash`: kill tests and power cuts, in the long run.

use anyhow::Result;

use crate::run;

/// Kill the real programs under load, again and again (the documentation explains: kill-tests.md).
#[derive(clap::Args)]
pub struct Args {
    /// Rounds with `kill -9` of the server, of clients, or of both [default: 50, unless --power-cuts is given].
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Rounds in which the server's disk loses what was not synced; needs root.
    #[arg(long, value_name = "N")]
    power_cuts: Option<u32>,
    /// What is done follows from it; a fresh one is printed.
    #[arg(long)]
    seed: Option<u64>,
}

pub fn run(args: &Args) -> Result<()> {
    let mut program = run::cargo();
    program.args(["run", "--locked", "--package", "qpq-tests", "--bin", "qpq-crash", "--"]);
    let numbers = [("--rounds", args.rounds.map(u64::from)), ("--power-cuts", args.power_cuts.map(u64::from))];
    for (name, number) in numbers.into_iter().chain([("--seed", args.seed)]) {
        if let Some(number) = number {
            program.args([name, &number.to_string()]);
        }
    }
    run::checked(&mut program)
}

//! `cargo xtask sim`: the simulator, optimised.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;

/// Build and run the simulator: many seeds, one seed again, every kill, or every deliberate defect.
#[derive(clap::Args)]
pub struct Args {
    /// Look for each deliberate defect instead: all of them must be found within the seeds.
    #[arg(long)]
    mutations: bool,
    /// Passed on to the simulator: `--seeds N`, `--seed S`, `--trace`, and its other options (`--help`).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let mut build = run::cargo();
    build.args(["build", "--release", "--locked", "-p", "qpq-tests", "--bin", "qpq-sim"]);
    let mut arguments = args.arguments.clone();
    // In any position: what follows the first option that is passed on is passed on, too.
    if args.mutations || arguments.iter().any(|argument| argument == "--mutations") {
        build.args(["--features", "mutations"]);
        arguments.retain(|argument| argument != "--mutations");
        arguments.insert(0, "--mutations".into());
    }
    run::checked(&mut build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = std::path::Path::new(&target).join("release/qpq-sim");
    let program = std::path::absolute(&program).context("locating the simulator")?;
    run::checked(Command::new(program).args(&arguments))
}

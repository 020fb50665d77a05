//! `cargo xtask bench`: the benchmarks, against the release binaries.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;

/// Build the release binaries and run the benchmarks (all, or the scenarios named).
#[derive(clap::Args)]
pub struct Args {
    /// Passed on to the benchmark program: scenario names, `--check`, and its other options.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    // One build per package: `--bin` would otherwise select among the binaries of all of them.
    for (package, binary) in [("qpq-server", "qpq-server"), ("qpq", "qpq"), ("qpq-tests", "qpq-bench")] {
        run::checked(run::cargo().args(["build", "--release", "--locked", "-p", package, "--bin", binary]))?;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = std::path::Path::new(&target).join("release/qpq-bench");
    let program = std::path::absolute(&program).context("locating the benchmark program")?;
    run::checked(Command::new(program).args(&args.arguments))
}

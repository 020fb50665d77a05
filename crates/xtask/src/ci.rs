//! `cargo xtask ci`: what CI checks, in CI's order. `.ci/run` runs the tests, installs the tools and comes here.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{docs, header, python, run, schema, tidy};

/// Run everything that CI runs.
#[derive(clap::Args)]
pub struct Args {
    /// The tests have already run.
    #[arg(long)]
    skip_tests: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if !args.skip_tests {
        step("tests", tests)?;
    }
    step("python", || python::run(&python::Args { pytest: vec![] }))?;
    step("format", || run::checked(run::cargo().args(["fmt", "--all", "--check"])))?;
    step("clippy", clippy)?;
    step("schema", || schema::run(&schema::Args { check: true }))?;
    step("header", || header::run(&header::Args { check: true }))?;
    step("tidy", || tidy::run(&tidy::Args {}))?;
    step("docs", || docs::run(&docs::Args {}))?;
    step("licences, bans, sources", dependencies)?;
    step("advisories", advisories)
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name}");
    run().with_context(|| format!("step failed: {name}"))
}

/// The command that the README tells everybody to run, so that it cannot go stale.
fn tests() -> Result<()> {
    let readme = fs::read_to_string("README.md").context("reading README.md")?;
    let Some(command) = readme.lines().find(|line| line.starts_with("cargo test")) else {
        bail!("README.md has no line that starts with `cargo test`");
    };
    println!("$ {command}");
    run::checked(run::cargo().args(command.split_whitespace().skip(1)))
}

fn clippy() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run::checked(run::cargo().args(arguments))
}

fn dependencies() -> Result<()> {
    if !run::is_available("cargo-deny", "--version") {
        bail!("cargo-deny is not installed: cargo install --locked cargo-deny");
    }
    run::checked(Command::new("cargo-deny").args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))
}

/// Reported, never fatal: the advisory database changes on its own, and a commit that passed must not fail by waiting.
fn advisories() -> Result<()> {
    let fetched = run::checked(Command::new("cargo-deny").args(["fetch", "db"]));
    if let Err(error) = fetched {
        println!("skipped: the advisory database cannot be fetched here ({error})");
        return Ok(());
    }
    if let Err(error) = run::checked(Command::new("cargo-deny").args(["check", "--disable-fetch", "advisories"])) {
        println!("advisories need attention ({error})");
    }
    Ok(())
}

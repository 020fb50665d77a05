//! `cargo xtask tidy`: the rules about the code base that the compiler does not check.

mod crates;
mod deploy;
pub mod links;
mod report;
mod sources;

use anyhow::Result;

use self::report::Report;

/// Check crate boundaries, source rules, the links and completeness of the documentation, and alerts and dashboard.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    let mut report = Report::default();
    report.append(crates::check()?);
    report.append(sources::check()?);
    report.append(links::check()?);
    report.append(deploy::check()?);
    report.into_result()
}

//! `cargo xtask fuzz`: the fuzz targets in `fuzz/`, one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Fuzz every decoder that meets foreign bytes, or the targets named (needs cargo-fuzz).
#[derive(clap::Args)]
pub struct Args {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Names of files in `fuzz/targets`; none: all of them.
    targets: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    if !run::is_available("cargo-fuzz", "--version") {
        bail!("cargo-fuzz is not installed: cargo install --locked cargo-fuzz");
    }
    let known = targets()?;
    if let Some(unknown) = args.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{unknown}`; there are: {}", known.join(", "));
    }
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    let mut failed = Vec::new();
    for target in chosen {
        println!("\n== {target}");
        if let Err(error) = fuzz(target, args.seconds) {
            println!("{error:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("something was found by: {}; the inputs are in {ROOT}/artifacts", failed.join(", "));
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let folder = Path::new(ROOT).join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry.context("listing the targets")?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// What is found on the way is kept beside the committed corpus, and used again the next time.
fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let folder = |name: &str| std::path::absolute(PathBuf::from(ROOT).join(name).join(target));
    let (findings, corpus) = (folder("findings")?, folder("corpus")?);
    for folder in [&findings, &corpus] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut fuzz = Command::new("cargo-fuzz");
    fuzz.args(["fuzz", "run", "--fuzz-dir", ROOT, target]).args([findings, corpus]).arg("--");
    fuzz.args([format!("-max_total_time={seconds}"), "-timeout=30".into(), "-rss_limit_mb=4096".into()]);
    fuzz.args(["-print_final_stats=1", "-max_len=16384"]);
    // The sanitizers are unstable options, which the stable compiler takes with this.
    run::checked(fuzz.env("RUSTC_BOOTSTRAP", "1"))
}

const ROOT: &str = "fuzz";

//! `cargo xtask reproduce`: whether the same sources give the same program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Build the server twice from nothing and compare the programs, byte by byte. Takes two whole builds.
#[derive(clap::Args)]
pub struct Args {
    /// Without optimisation, which takes less time.
    #[arg(long)]
    debug: bool,
    /// What to build.
    #[arg(long, default_value = "qpq-server")]
    package: String,
}

pub fn run(args: &Args) -> Result<()> {
    let first = build(args)?;
    let kept = Path::new(FOLDER).with_extension("first");
    if kept.exists() {
        fs::remove_dir_all(&kept).context("removing what an earlier run has left")?;
    }
    fs::create_dir_all(&kept).context("making room for the first program")?;
    let copy = kept.join(&args.package);
    fs::copy(&first, &copy).context("keeping the first program")?;
    let second = build(args)?;
    let programs = [fs::read(&copy).context("the first program")?, fs::read(&second).context("the second program")?];
    match first_difference(&programs[0], &programs[1]) {
        None => {
            println!("{} bytes, the same both times", programs[0].len());
            // Megabytes that nobody needs any more; after a difference both are there to be looked at.
            fs::remove_dir_all(FOLDER).context("removing the second build")?;
            fs::remove_dir_all(&kept).context("removing the first program")
        }
        Some(at) => bail!("{} and {} differ from byte {at} on", copy.display(), second.display()),
    }
}

/// Always in the same folder, whose name C code may have in it, and always from nothing.
fn build(args: &Args) -> Result<PathBuf> {
    if Path::new(FOLDER).exists() {
        fs::remove_dir_all(FOLDER).context("removing the build before")?;
    }
    let root = std::env::current_dir().context("the workspace's folder")?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut flags = format!("--remap-path-prefix={}=/src", root.display());
    if let Some(home) = home {
        flags += &format!("\x1f--remap-path-prefix={}=/cargo", home.display());
    }
    let mut cargo = run::cargo();
    cargo.args(["build", "--locked", "--package", &args.package, "--target-dir", FOLDER]);
    if !args.debug {
        cargo.arg("--release");
    }
    // Nothing of the time and place of this build: OpenSSL writes its date into the program unless it is told one.
    cargo.env("SOURCE_DATE_EPOCH", "0").env("CARGO_INCREMENTAL", "0").env("CARGO_ENCODED_RUSTFLAGS", flags);
    run::checked(&mut cargo)?;
    Ok(Path::new(FOLDER).join(if args.debug { "debug" } else { "release" }).join(&args.package))
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let different = one.iter().zip(other).position(|(one, other)| one != other);
    different.or_else(|| (one.len() != other.len()).then(|| one.len().min(other.len())))
}

const FOLDER: &str = "target/reproduce";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_at_the_end_too() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"axc"), Some(1));
        assert_eq!(first_difference(b"abc", b"abcd"), Some(3));
    }
}

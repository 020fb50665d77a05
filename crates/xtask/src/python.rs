//! `cargo xtask python`: builds the Python package in an environment of its own, checks its types and runs its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Check and test the Python package (skipped where there is no Python with venv).
#[derive(clap::Args)]
pub struct Args {
    /// For pytest.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub pytest: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let Some(bin) = environment()? else { return Ok(()) };
    run::checked(run::cargo().args(["build", "--locked", "--package", "qpq-server"]))?;
    let wheels = fs::canonicalize(FOLDER)?.join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels).context("removing an earlier package")?;
    }
    let mut build = Command::new(bin.join("maturin"));
    // The debug library: built in seconds where the tests have just run.
    build.args(["build", "--quiet", "--profile", "dev", "--interpreter"]).arg(bin.join("python"));
    run::checked(build.arg("--out").arg(&wheels).current_dir(PACKAGE).env("PATH", path_with(&bin)?))?;
    let wheel = fs::read_dir(&wheels)?.next().context("maturin has built nothing")??.path();
    run::checked(
        Command::new(bin.join("pip")).args(["install", "--quiet", "--no-deps", "--force-reinstall"]).arg(wheel),
    )?;
    run::checked(Command::new(bin.join("mypy")).current_dir(PACKAGE))?;
    let server = fs::canonicalize("target/debug/qpq-server")?;
    let mut tests = Command::new(bin.join("pytest"));
    run::checked(tests.arg("--quiet").args(&args.pytest).env("QPQ_SERVER_BINARY", server).current_dir(PACKAGE))
}

/// The folder of an environment's programs, with the tools in it; none where that cannot be had.
fn environment() -> Result<Option<PathBuf>> {
    if !run::is_available("python3", "--version") {
        println!("skipped: python3 is not installed");
        return Ok(None);
    }
    let folder = Path::new(FOLDER);
    let bin = folder.join("venv/bin");
    if !bin.join("pip").exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")).status()?;
        if !made.success() {
            println!("skipped: python3 has no venv (Debian, Ubuntu: python3-venv)");
            return Ok(None);
        }
    }
    let bin = fs::canonicalize(bin)?;
    if ["maturin", "mypy", "pytest"].iter().all(|tool| bin.join(tool).exists()) {
        return Ok(Some(bin));
    }
    let installed = Command::new(bin.join("pip")).args(["install", "--quiet"]).args(TOOLS).status()?;
    if !installed.success() {
        println!("skipped: the Python packages that the tests need cannot be fetched here");
        return Ok(None);
    }
    Ok(Some(bin))
}

/// `maturin` asks for the interpreter's cffi, and looks along the path.
fn path_with(bin: &Path) -> Result<std::ffi::OsString> {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&before));
    match std::env::join_paths(folders) {
        Ok(path) => Ok(path),
        Err(error) => bail!("{}: {error}", bin.display()),
    }
}

const PACKAGE: &str = "sdks/python";
const FOLDER: &str = "target/python";
const TOOLS: &[&str] = &["maturin>=1.9,<2", "cffi>=1.16", "mypy>=1.8", "pytest>=8"];

//! Starting other programs, always from the workspace root.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Changes into the workspace root, so that every path in this crate is relative to it.
pub fn enter_workspace_root() -> Result<()> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .context("run this through cargo: `cargo xtask …` (CARGO_MANIFEST_DIR is not set)")?;
    let root = Path::new(&manifest).join("../..");
    env::set_current_dir(&root).with_context(|| format!("entering {}", root.display()))
}

/// The cargo that started us, so that a toolchain override stays in force.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs to the end with inherited output. Fails when the program does.
pub fn checked(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns standard output; standard error is inherited.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("starting {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading what {} printed", shown(command)))
}

/// Whether `PROGRAM ARG` can be started and succeeds; used to look for optional tools.
pub fn is_available(program: &str, arg: &str) -> bool {
    Command::new(program)
        .arg(arg)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    format!("`{}`", words.join(" "))
}

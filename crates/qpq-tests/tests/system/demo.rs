//! The two-minute tour.

use std::process::{Command, Stdio};

use anyhow::Result;
use qpq_tests::world::{binaries, finish_child};
use tempfile::tempdir;

#[test]
fn the_demo_plays_its_tour_and_cleans_up() -> Result<()> {
    let folder = tempdir()?;
    let child = Command::new(binaries().join("qpq"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .env("HOME", folder.path())
        .env_remove("QPQ_PASSWORD")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let done = finish_child(child)?.success()?;
    assert!(!done.stdout.trim().is_empty());
    let left: Vec<_> = std::fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    assert!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

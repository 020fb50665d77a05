//! What is made of a run: JSON for programs, a page with plots for people, and the difference to a run that was kept.

mod baseline;
mod html;
mod json;
mod plot;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Figure, Plot};

pub use baseline::Baseline;

/// Writes `results.json` and `report.html` into `folder`.
///
/// # Errors
/// When they cannot be written.
pub fn write(folder: &Path, figures: &[Figure], plots: &[Plot], baseline: &Baseline) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let files =
        [("results.json", json::results(figures, plots)?), ("report.html", html::page(figures, plots, baseline))];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{}", folder.join("report.html").display());
    Ok(())
}

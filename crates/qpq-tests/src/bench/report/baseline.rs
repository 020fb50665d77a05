//! A run that was kept, to see what has become better or worse since. Ratios only: they mean the same on every machine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::super::{Figure, Target};
use super::json::VERSION;

/// Ratios by the figure's name.
#[derive(Default)]
pub struct Baseline(BTreeMap<String, f64>);

/// What has become of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Better,
    Same,
    Worse,
    New,
}

impl Baseline {
    /// Reads the `results.json` of an earlier run.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a results.json of this program", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let results: Value = serde_json::from_str(text)?;
        ensure!(results["version"] == VERSION, "version {}", results["version"]);
        let figures = results["figures"].as_array().context("no figures")?;
        let ratio = |figure: &Value| Some((figure["name"].as_str()?.to_owned(), figure["ratio"].as_f64()?));
        Ok(Self(figures.iter().filter_map(ratio).collect()))
    }

    /// The ratio then.
    pub fn ratio(&self, figure: &Figure) -> Option<f64> {
        self.0.get(&figure.name).copied()
    }

    /// Whether it is better or worse than then, beyond what runs differ by anyway.
    pub fn change(&self, figure: &Figure) -> Change {
        let Some(before) = self.ratio(figure).filter(|before| *before > 0.0) else { return Change::New };
        let growth = figure.ratio / before;
        let gain = match figure.target {
            Target::AtLeast(_) => growth,
            Target::AtMost(_) => 1.0 / growth,
            Target::Orientation => return Change::Same,
        };
        if gain > 1.0 + NOISE {
            Change::Better
        } else if gain < 1.0 / (1.0 + NOISE) {
            Change::Worse
        } else {
            Change::Same
        }
    }
}

/// Two runs of the same programs on a shared machine differ by as much.
const NOISE: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::super::super::tests::figure;
    use super::super::json;
    use super::*;

    #[test]
    fn lower_costs_and_higher_rates_are_better() -> Result<()> {
        let baseline = Baseline::parse(&json::results(&[figure("cost", 1.0), figure("rate", 1.0)], &[])?)?;
        let rate = |ratio| Figure { target: Target::AtLeast(1.0), ..figure("rate", ratio) };
        for (figure, expected) in [
            (figure("cost", 0.5), Change::Better),
            (figure("cost", 1.1), Change::Same),
            (figure("cost", 2.0), Change::Worse),
            (rate(2.0), Change::Better),
            (rate(0.5), Change::Worse),
            (figure("other", 1.0), Change::New),
        ] {
            assert_eq!(baseline.change(&figure), expected, "{}", figure.name);
        }
        Baseline::parse(include_str!("../baseline.json"))?;
        assert!(Baseline::parse("{\"version\": 2, \"figures\": []}").is_err());
        Ok(())
    }
}

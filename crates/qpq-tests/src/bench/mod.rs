//! Benchmarks: what a user would notice, as ratios to a limit that is measured in the same run.

pub mod client;
pub mod commits;
pub mod connect;
pub mod deliver;
pub mod fanout;
pub mod ffi;
pub mod files;
pub mod group;
pub mod growth;
pub mod idle;
pub mod login;
pub mod offline;
pub mod peers;
pub mod post;
pub mod soak;
pub mod storage;

pub mod report;

pub mod mls;
pub mod peer;
pub mod people;
pub mod probe;
pub mod session;
pub mod sink;
pub mod text;

use std::time::Duration;

/// What can be chosen.
pub struct Options {
    /// How long the soak takes, and how many devices take part.
    pub soak: Duration,
    pub idle: u32,
    pub active: u32,
    /// Members of the group that all of them change.
    pub members: u32,
}

/// What a scenario has to say.
#[derive(Default)]
pub struct Measured {
    pub figures: Vec<Figure>,
    pub plots: Vec<Plot>,
}

impl From<Vec<Figure>> for Measured {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, plots: Vec::new() }
    }
}

/// Lines over an axis.
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

impl Plot {
    /// How many of the values are at most how large, up to 99.9 %.
    pub fn distribution(what: &str, values: &mut [f64]) -> Self {
        let shares = (0..=99).map(f64::from).chain([99.5, 99.9]);
        let points = shares.map(|share| (share, percentile(values, share / 100.0))).collect();
        Self {
            title: format!("{what}, distribution"),
            x: Axis::linear("percentile"),
            y: Axis::linear("ms"),
            lines: vec![Line { name: what.into(), points }],
        }
    }
}

pub struct Axis {
    /// With its unit.
    pub name: String,
    pub is_log: bool,
}

impl Axis {
    pub fn linear(name: &str) -> Self {
        Self { name: name.into(), is_log: false }
    }

    pub fn logarithmic(name: &str) -> Self {
        Self { name: name.into(), is_log: true }
    }
}

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// One figure against its limit.
pub struct Figure {
    pub name: String,
    /// What was measured, for reading.
    pub measured: String,
    /// What it is held against.
    pub limit: String,
    /// Measured divided by limit.
    pub ratio: f64,
    /// The ratio that is to be reached: at least for rates, at most for costs.
    pub target: Target,
}

/// Which way is good.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// There is none: the figure says where others are.
    Orientation,
}

impl Figure {
    /// Whether the target is reached.
    pub fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(target) => self.ratio >= target,
            Target::AtMost(target) => self.ratio <= target,
            Target::Orientation => true,
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, measured, limit, ratio, target } = self;
        write!(f, "{name:<28} {measured:<34} against {limit:<38} ratio {ratio:>7.2}")?;
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        match target {
            Target::AtLeast(target) => write!(f, "  target ≥ {target}  {verdict}"),
            Target::AtMost(target) => write!(f, "  target ≤ {target}  {verdict}"),
            Target::Orientation => Ok(()),
        }
    }
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value that this share of the values does not exceed.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn figure(name: &str, ratio: f64) -> Figure {
        Figure { name: name.into(), measured: "1".into(), limit: "2".into(), ratio, target: Target::AtMost(1.0) }
    }

    pub fn plot() -> Plot {
        let points = vec![(1.0, 1.0), (10.0, 2.0)];
        let lines = vec![Line { name: "a line".into(), points }];
        Plot { title: "A plot".into(), x: Axis::logarithmic("x"), y: Axis::linear("y"), lines }
    }

    #[test]
    fn a_distribution_grows() {
        let mut values: Vec<f64> = (0..1000).rev().map(f64::from).collect();
        let plot = Plot::distribution("a", &mut values);
        let points = &plot.lines[0].points;
        assert!(points.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1));
        assert_eq!((points[0], points[50]), ((0.0, 0.0), (50.0, 500.0)));
    }
}

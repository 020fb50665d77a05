//! Benchmarks: what a user would notice, as ratios to a limit that is measured in the same run.

pub mod deliver;
pub mod group;
pub mod idle;
pub mod post;
pub mod probe;
pub mod session;
pub mod storage;

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
}

impl Figure {
    /// Whether the target is reached.
    pub fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(target) => self.ratio >= target,
            Target::AtMost(target) => self.ratio <= target,
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, measured, limit, ratio, target } = self;
        let (sign, target) = match target {
            Target::AtLeast(target) => ("≥", target),
            Target::AtMost(target) => ("≤", target),
        };
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        write!(f, "{name:<28} {measured:<34} against {limit:<38} ratio {ratio:>7.2}  target {sign} {target}  {verdict}")
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

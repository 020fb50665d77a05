//! The results as JSON, version 1.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::{Figure, Plot, Target};

pub fn results(figures: &[Figure], plots: &[Plot]) -> Result<String> {
    let figures: Vec<Value> = figures.iter().map(figure).collect();
    let plots: Vec<Value> = plots.iter().map(plot).collect();
    let all = json!({ "version": VERSION, "figures": figures, "plots": plots });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

fn figure(figure: &Figure) -> Value {
    let (bound, target) = match figure.target {
        Target::AtLeast(target) => ("at_least", Some(target)),
        Target::AtMost(target) => ("at_most", Some(target)),
        Target::Orientation => ("none", None),
    };
    json!({
        "name": figure.name, "measured": figure.measured, "limit": figure.limit, "ratio": figure.ratio,
        "target": { "bound": bound, "ratio": target }, "met": figure.is_met(),
    })
}

fn plot(plot: &Plot) -> Value {
    let lines: Vec<Value> = plot.lines.iter().map(|line| json!({ "name": line.name, "points": line.points })).collect();
    json!({ "title": plot.title, "x": plot.x.name, "y": plot.y.name, "lines": lines })
}

/// Of this format: fields are added, never changed.
pub const VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::super::super::tests::{figure, plot};
    use super::*;

    #[test]
    fn programs_can_read_it() -> Result<()> {
        let read: Value = serde_json::from_str(&results(&[figure("one", 0.5)], &[plot()])?)?;
        assert_eq!((&read["version"], &read["figures"][0]["ratio"]), (&json!(1), &json!(0.5)));
        assert_eq!(read["figures"][0]["target"]["bound"], "at_most");
        assert_eq!(read["plots"][0]["lines"][0]["points"][1], json!([10.0, 2.0]));
        Ok(())
    }
}

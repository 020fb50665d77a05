//! A plot as SVG, without any library: axes, a grid, lines, a legend.

use std::fmt::Write as _;

use super::super::{Axis, Plot};

pub fn svg(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let x = Scale::over(&plot.x, points().map(|point| point.0), (LEFT, WIDTH - RIGHT));
    let y = Scale::over(&plot.y, points().map(|point| point.1).chain([0.0]), (HEIGHT - BOTTOM, TOP));
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(&plot.title));
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = write!(svg, "<line class=grid x1={at:.1} x2={at:.1} y1={TOP} y2={} />", HEIGHT - BOTTOM);
        let _ = write!(svg, "<text x={at:.1} y={} text-anchor=middle>{}</text>", HEIGHT - BOTTOM + 16.0, short(tick));
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = write!(svg, "<line class=grid x1={LEFT} x2={} y1={at:.1} y2={at:.1} />", WIDTH - RIGHT);
        let _ = write!(svg, "<text x={} y={:.1} text-anchor=end>{}</text>", LEFT - 6.0, at + 4.0, short(tick));
    }
    for (index, line) in plot.lines.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let path: Vec<String> =
            line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b))).collect();
        let _ = write!(svg, "<polyline fill=none stroke=\"{color}\" stroke-width=2 points=\"{}\" />", path.join(" "));
        let row = TOP + 14.0 + 16.0 * index as f64;
        let _ = write!(svg, "<text x={} y={row} fill=\"{color}\">{}</text>", LEFT + 12.0, escape(&line.name));
    }
    let _ =
        write!(svg, "<text x={} y={} text-anchor=middle>{}</text>", WIDTH / 2.0, HEIGHT - 6.0, escape(&plot.x.name));
    let _ = write!(svg, "<text x=6 y=14>{}</text></svg>", escape(&plot.y.name));
    svg
}

/// From values to places.
struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
    places: (f64, f64),
}

impl Scale {
    fn over(axis: &Axis, values: impl Iterator<Item = f64>, places: (f64, f64)) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && (!axis.is_log || *value > 0.0)).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // One value alone, or none, still has an axis.
        let (from, to) = if least < most { (least, most) } else { (0.0, most.max(1.0)) };
        let from = if axis.is_log { from.max(f64::MIN_POSITIVE) } else { from };
        Self { from, to, is_log: axis.is_log && least < most, places }
    }

    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_log { value.max(self.from).ln() } else { value };
        let share = (scaled(value) - scaled(self.from)) / (scaled(self.to) - scaled(self.from));
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    /// Powers of ten, or about five round numbers.
    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let powers = self.from.log10().ceil() as i32..=self.to.log10().floor() as i32;
            return powers.map(|power| 10f64.powi(power)).collect();
        }
        let rough = (self.to - self.from) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.from / step).ceil() as i64;
        (first..=(self.to / step).floor() as i64).map(|number| number as f64 * step).collect()
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{}M", value / 1e6),
        large if large >= 1e4 => format!("{}k", value / 1e3),
        _ => format!("{}", (value * 1e4).round() / 1e4),
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 44.0;

const COLORS: &[&str] = &["#1668b8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0f766e"];

#[cfg(test)]
mod tests {
    use super::super::super::tests::plot;
    use super::*;

    fn scale(is_log: bool, values: &[f64]) -> Scale {
        Scale::over(&Axis { name: String::new(), is_log }, values.iter().copied(), (0.0, 100.0))
    }

    #[test]
    fn values_have_their_places() {
        assert_eq!(scale(false, &[0.0, 10.0]).place(5.0), 50.0);
        assert!((scale(true, &[1.0, 10_000.0]).place(100.0) - 50.0).abs() < 1e-9);
        assert_eq!(scale(true, &[1.0, 1000.0]).ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(scale(false, &[0.0, 9.0]).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        for lonely in [&[][..], &[3.0], &[0.0, 0.0]] {
            let scale = scale(false, lonely);
            assert!(scale.place(0.5).is_finite() && !scale.ticks().is_empty(), "{lonely:?}");
        }
    }

    #[test]
    fn nothing_breaks_out_of_the_picture() {
        let mut plot = plot();
        plot.title = "a \"b\" <c>".into();
        let svg = svg(&plot);
        assert!(svg.contains("a &quot;b&quot; &lt;c&gt;") && svg.contains("<polyline"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

//! The page: a table of figures, and the plots. One file that needs nothing from anywhere.

use std::fmt::Write as _;

use super::super::{Figure, Plot, Target};
use super::baseline::{Baseline, Change};
use super::plot::{escape, svg};

pub fn page(figures: &[Figure], plots: &[Plot], baseline: &Baseline) -> String {
    let mut page = String::from(HEAD);
    for figure in figures {
        page += &row(figure, baseline);
    }
    page += "</tbody></table>\n<div class=plots>";
    for plot in plots {
        let _ = writeln!(page, "<figure><figcaption>{}</figcaption>{}</figure>", escape(&plot.title), svg(plot));
    }
    page + "</div></html>\n"
}

fn row(figure: &Figure, baseline: &Baseline) -> String {
    let verdict = if figure.is_met() { "met" } else { "missed" };
    let target = match figure.target {
        Target::AtLeast(target) => format!("<td>≥ {target}<td class={verdict}>{verdict}"),
        Target::AtMost(target) => format!("<td>≤ {target}<td class={verdict}>{verdict}"),
        Target::Orientation => "<td><td>".into(),
    };
    let change = match baseline.change(figure) {
        Change::Better => "better",
        Change::Same => "same",
        Change::Worse => "worse",
        Change::New => "new",
    };
    let before = baseline.ratio(figure).map_or_else(String::new, |ratio| format!(", was {ratio:.2}"));
    format!(
        "<tr><td>{}<td>{}<td>{}<td class=number>{:.2}{target}<td class={change}>{change}{before}\n",
        escape(&figure.name),
        escape(&figure.measured),
        escape(&figure.limit),
        figure.ratio,
    )
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Benchmarks</title>
<style>
  body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em; color: #222 }
  table { border-collapse: collapse } td, th { padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: left }
  .number { text-align: right } .met, .better { color: #15803d } .missed, .worse { color: #b91c1c; font-weight: bold }
  .plots { display: flex; flex-wrap: wrap; gap: 2em } figure { margin: 2em 0 0; width: 36em } svg { width: 100% }
  svg text { font-size: 11px } .grid { stroke: #e5e5e5 } figcaption { font-weight: bold }
</style>
<h1>Benchmarks</h1>
<p>Each figure against what the same machine can do at best, measured in the same run. The ratio is the result.</p>
<table><thead><tr><th>what<th>measured<th>against<th>ratio<th>target<th><th>since the baseline</thead><tbody>
";

#[cfg(test)]
mod tests {
    use super::super::super::tests::{figure, plot};
    use super::*;

    #[test]
    fn everything_is_on_the_page() {
        let page = page(&[figure("a <name>", 0.5), figure("other", 3.0)], &[plot()], &Baseline::default());
        for part in ["a &lt;name&gt;", "<td class=met>met", "<td class=missed>missed", "<svg", "0.50"] {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(!page.contains("http"), "it needs nothing from anywhere");
    }
}

//! What is in `deploy/`: rules and dashboard name metrics that exist, and every alert has a test and a runbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::links::has_anchor;
use super::report::Report;
use crate::run;

pub fn check() -> Result<Report> {
    let mut report = Report::default();
    let page = read(METRICS)?;
    let metrics = documented_metrics(&page);
    let (rules, tests, dashboard) = (read(RULES)?, read(RULE_TESTS)?, read(DASHBOARD)?);
    for (path, text) in [(RULES, &rules), (RULE_TESTS, &tests), (DASHBOARD, &dashboard)] {
        for name in unknown_metrics(text, &metrics) {
            report.problem(format!("{path} names {name}, which is not in {METRICS}"));
        }
    }
    check_alerts(&rules, &tests, &read(RUNBOOKS)?, &mut report);
    check_package(&read(PACKAGE)?, &mut report);
    check_unit(&mut report)?;
    check_with_promtool(&mut report)?;
    Ok(report)
}

/// First cells of the table's rows.
fn documented_metrics(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect()
}

fn unknown_metrics<'a>(text: &'a str, known: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = words.filter(|word| word.starts_with("qpq_") || word.starts_with("process_"));
    named.filter(|name| !known.contains(name) && !known.contains(of_histogram(name))).collect()
}

fn of_histogram(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

fn check_alerts(rules: &str, tests: &str, runbooks: &str, report: &mut Report) {
    let mut anchors = BTreeSet::new();
    for alert in values(rules, "- alert:") {
        let anchor = alert.to_lowercase();
        if !has_anchor(runbooks, &anchor) {
            report.problem(format!("{RUNBOOKS} has no section for {alert}"));
        }
        if !values(rules, "runbook:").any(|runbook| runbook == format!("alerts.md#{anchor}")) {
            report.problem(format!("{RULES}: {alert} does not name its runbook, alerts.md#{anchor}"));
        }
        if !values(tests, "alertname:").chain(values(tests, "- alertname:")).any(|tested| tested == alert) {
            report.problem(format!("{RULE_TESTS} has no test of {alert}"));
        }
        anchors.insert(anchor);
    }
    for heading in runbooks.lines().filter_map(|line| line.strip_prefix("## ")) {
        if !anchors.contains(&heading.to_lowercase()) {
            report.problem(format!("{RUNBOOKS}: there is no alert {heading}"));
        }
    }
}

/// What follows a key, one a line.
fn values<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(key)).map(str::trim)
}

/// The files that the Debian package takes from the repository.
fn check_package(manifest: &str, report: &mut Report) {
    let quoted = manifest.split('"').filter_map(|word| word.strip_prefix("../../"));
    for path in quoted {
        let path = Path::new(path);
        let found = match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if name.contains('*') => path.parent().is_some_and(Path::is_dir),
            _ => path.exists(),
        };
        if !found {
            report.problem(format!("{PACKAGE} packages {}, which is not there", path.display()));
        }
    }
}

/// systemd's own opinion of the unit, and of how little it may do.
fn check_unit(report: &mut Report) -> Result<()> {
    if !run::is_available("systemd-analyze", "--version") {
        report.note("systemd-analyze is not installed: the unit was not checked");
        return Ok(());
    }
    // It wants the program to be there.
    let unit = read(UNIT)?.replace("/usr/bin/qpq-server", "/bin/true");
    fs::create_dir_all("target/tidy").context("making room for the unit")?;
    let copy = "target/tidy/qpq-server.service";
    fs::write(copy, unit).with_context(|| format!("writing {copy}"))?;
    let threshold = format!("--threshold={MOST_EXPOSED}");
    for arguments in [&["verify", copy][..], &["security", "--offline=true", "--no-pager", &threshold, copy]] {
        let outcome = Command::new("systemd-analyze").args(arguments).output().context("starting systemd-analyze")?;
        if !outcome.status.success() {
            let said = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
            report.problem(format!("systemd-analyze {}: {said}", arguments.join(" ")));
        }
    }
    Ok(())
}

/// Tenths of what `systemd-analyze security` answers: what it is now, rounded up.
const MOST_EXPOSED: u32 = 13;

/// Prometheus's own opinion, where it is installed.
fn check_with_promtool(report: &mut Report) -> Result<()> {
    if !run::is_available("promtool", "--version") {
        report.note("promtool is not installed (Debian: prometheus): alerts and their tests were not run");
        return Ok(());
    }
    for arguments in [["check", "config", "deploy/prometheus/prometheus.yml"], ["test", "rules", RULE_TESTS]] {
        let outcome = Command::new("promtool").args(arguments).output().context("starting promtool")?;
        if !outcome.status.success() {
            let said = [outcome.stdout, outcome.stderr].concat();
            report.problem(format!("promtool {}: {}", arguments.join(" "), String::from_utf8_lossy(&said).trim()));
        }
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(Path::new(path)).with_context(|| format!("reading {path}"))
}

const PACKAGE: &str = "crates/qpq-server/Cargo.toml";
const UNIT: &str = "deploy/systemd/qpq-server.service";
const METRICS: &str = "docs/src/metrics.md";
const RUNBOOKS: &str = "docs/src/alerts.md";
const RULES: &str = "deploy/prometheus/alerts.yml";
const RULE_TESTS: &str = "deploy/prometheus/tests.yml";
const DASHBOARD: &str = "deploy/grafana/qpq-server.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_known_by_their_parts() {
        let known =
            documented_metrics("| `qpq_a_seconds` | histogram | | Text. |\n| `qpq_b_total` | counter | | Text. |\n");
        let text = "rate(qpq_a_seconds_bucket[5m]) + qpq_b_total{x=\"1\"} + qpq_c + process_threads";
        assert_eq!(unknown_metrics(text, &known).into_iter().collect::<Vec<_>>(), ["process_threads", "qpq_c"]);
    }

    #[test]
    fn a_package_has_its_files() {
        let mut report = Report::default();
        check_package("[\"../../no/such/file\", \"usr/\"]", &mut report);
        assert_eq!(report.problems().len(), 1);
    }

    #[test]
    fn an_alert_needs_a_test_and_a_runbook() {
        let rules = "- alert: QpqOne\n  runbook: alerts.md#qpqone\n- alert: QpqTwo\n";
        let mut report = Report::default();
        check_alerts(rules, "- alertname: QpqOne\n", "## QpqOne\n## QpqThree\n", &mut report);
        assert_eq!(report.problems().len(), 4, "{:?}", report.problems());
    }
}

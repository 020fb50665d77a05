//! Which crate may depend on which. The reasons are on the architecture page of the book.

use std::collections::BTreeSet;

use anyhow::Result;

use super::report::Report;
use crate::run;

pub fn check() -> Result<Report> {
    let mut report = Report::default();
    for (package, allowed) in ALLOWED {
        for dependency in workspace_dependencies(package, Some(1))? {
            if !allowed.contains(&dependency.as_str()) {
                report.problem(format!("{package} depends on {dependency}; allowed: {}", list(allowed)));
            }
        }
    }
    for (package, forbidden, why) in UNREACHABLE {
        if workspace_dependencies(package, None)?.contains(*forbidden) {
            report.problem(format!("{package} reaches {forbidden} through its dependencies: {why}"));
        }
    }
    Ok(report)
}

/// The workspace's own crates below `package`, without itself, down to `depth`. Development dependencies do not count.
fn workspace_dependencies(package: &str, depth: Option<u32>) -> Result<BTreeSet<String>> {
    let mut tree = run::cargo();
    tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--package", package]);
    tree.args(["--format", "{p}"]);
    if let Some(depth) = depth {
        tree.args(["--depth", &depth.to_string()]);
    }
    let tree = run::output(&mut tree)?;
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let ours = names.filter(|name| name.starts_with(PREFIX) || *name == BINARY || *name == "xtask");
    Ok(ours.filter(|name| *name != package).map(str::to_owned).collect())
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none of ours".into() } else { names.join(", ") }
}

const PREFIX: &str = "qpq-";
const BINARY: &str = "qpq";

/// Direct dependencies among our own crates.
const ALLOWED: &[(&str, &[&str])] = &[
    ("qpq-proto", &[]),
    ("qpq-trust", &["qpq-proto"]),
    ("qpq-core", &["qpq-proto", "qpq-trust"]),
    ("qpq-io", &["qpq-proto"]),
    ("qpq-client", &["qpq-core", "qpq-io", "qpq-proto", "qpq-trust"]),
    ("qpq-server", &["qpq-io", "qpq-proto", "qpq-trust"]),
    ("qpq", &["qpq-client", "qpq-server"]),
    ("qpq-ffi", &["qpq-client"]),
];

/// What must not be linked at all, however indirectly.
const UNREACHABLE: &[(&str, &str, &str)] = &[
    ("qpq-server", "qpq-core", "the server must not link the crate that decrypts"),
    ("qpq-server", "qpq-client", "the server must not link the crate that decrypts"),
];

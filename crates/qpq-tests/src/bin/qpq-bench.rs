//! `cargo xtask bench [SCENARIO…] [--check]`

use anyhow::{Result, bail};
use qpq_tests::bench::{Figure, deliver, group, idle, post, storage};

/// A name to call it by, and what it measures.
type Scenario = (&'static str, fn() -> Result<Vec<Figure>>);

const SCENARIOS: &[Scenario] = &[
    ("post", post::run),
    ("deliver", deliver::run),
    ("group", group::run),
    ("idle", idle::run),
    ("storage", storage::run),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = arguments.iter().any(|argument| argument == "--check");
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| !SCENARIOS.iter().any(|(known, _)| *known == name.as_str())) {
        bail!(
            "no scenario is called {unknown}; there are {:?}",
            SCENARIOS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
    }
    let mut missed = 0;
    for (name, run) in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted.as_str() == *name) {
            continue;
        }
        for figure in run()? {
            println!("{figure}");
            missed += u32::from(!figure.is_met());
        }
    }
    if check && missed > 0 {
        bail!("{missed} targets were missed");
    }
    Ok(())
}

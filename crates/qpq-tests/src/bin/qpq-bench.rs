//! `cargo xtask bench [SCENARIO…] [--check]`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use qpq_tests::bench::report::{self, Baseline};
use qpq_tests::bench::{
    Measured, Options, client, commits, connect, deliver, fanout, ffi, files, group, growth, idle, login, offline,
    peer, peers, post, soak, storage,
};

/// Benchmarks: what a user would notice, against what the machine can do.
#[derive(Parser)]
struct Arguments {
    /// Which ones; none: all but the soak
    scenarios: Vec<String>,
    /// Be the bare QUIC server that scenarios compare with
    #[arg(long, hide = true)]
    bare_quic: bool,
    /// Be the reader of a profile that is measured
    #[arg(long, hide = true, value_name = "FOLDER")]
    read_profile: Option<PathBuf>,
    /// Also measure those of mosquitto, Prosody and ejabberd that are installed
    #[arg(long)]
    peers: bool,
    /// Fail if a target is missed
    #[arg(long)]
    check: bool,
    /// Where results.json and report.html are written
    #[arg(long, default_value = "target/bench", value_name = "FOLDER")]
    output: PathBuf,
    /// The results.json of an earlier run, to compare with
    #[arg(long, value_name = "FILE", default_value = STORED)]
    baseline: PathBuf,
    /// How long the soak takes
    #[arg(long, default_value_t = 900)]
    seconds: u64,
    /// Idle devices in the soak
    #[arg(long, default_value_t = 2000)]
    idle: u32,
    /// Devices in the soak that post once a second
    #[arg(long, default_value_t = 200)]
    active: u32,
    /// Members of the group that all of them change at once
    #[arg(long, default_value_t = 100)]
    members: u32,
}

/// The run that is kept with the sources.
const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bench/baseline.json");

/// A name to call it by, and what it measures.
type Scenario = (&'static str, fn(&Options) -> Result<Measured>);

const SCENARIOS: &[Scenario] = &[
    ("deliver", |_| deliver::run()),
    ("post", |_| post::run()),
    ("offline", |_| offline::run()),
    ("fanout", |_| fanout::run()),
    ("connect", |_| connect::run()),
    ("login", |_| login::run()),
    ("idle", |_| idle::run()),
    ("group", |_| group::run()),
    ("client", |_| client::run()),
    ("commits", commits::run),
    ("files", |_| files::run()),
    ("growth", |_| growth::run()),
    ("storage", |_| storage::run()),
    ("ffi", |_| ffi::run()),
    (PEERS, |_| peers::run()),
    (SOAK, soak::run),
];

/// Needs others to be installed.
const PEERS: &str = "peers";

/// Takes so long that it has to be asked for.
const SOAK: &str = "soak";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.bare_quic {
        return peer::serve();
    }
    if let Some(home) = &arguments.read_profile {
        return client::read_profile(home);
    }
    let is_known = |name: &str| SCENARIOS.iter().any(|(known, _)| *known == name);
    if let Some(unknown) = arguments.scenarios.iter().find(|name| !is_known(name)) {
        let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        bail!("no scenario is called {unknown}; there are {}", known.join(", "));
    }
    let baseline = Baseline::read(&arguments.baseline)?;
    let options = Options {
        soak: Duration::from_secs(arguments.seconds.max(1)),
        idle: arguments.idle,
        active: arguments.active,
        members: arguments.members.max(2),
    };
    let mut all = Measured::default();
    for (name, run) in SCENARIOS {
        let is_wanted = match arguments.scenarios.is_empty() {
            true => ![PEERS, SOAK].contains(name),
            false => arguments.scenarios.iter().any(|wanted| wanted == name),
        };
        let is_for_orientation = arguments.peers && *name == PEERS;
        if !is_wanted && !is_for_orientation {
            continue;
        }
        let measured = run(&options)?;
        for figure in &measured.figures {
            println!("{figure}  {:?}", baseline.change(figure));
        }
        all.figures.extend(measured.figures);
        all.plots.extend(measured.plots);
    }
    report::write(&arguments.output, &all.figures, &all.plots, &baseline)?;
    let missed = all.figures.iter().filter(|figure| !figure.is_met()).count();
    if arguments.check && missed > 0 {
        bail!("{missed} targets were missed");
    }
    Ok(())
}

//! Kill tests: the real programs write to each other, and some of them are killed at random moments.
//!
//! Four people share a group. In each round two of them write into a REPL through a pipe, one follows with `qpq recv`, and
//! one starts `qpq send` again and again; the roles change. After the kills everything is started again, and then
//! everybody must have been shown everything that the server has acknowledged, once, and in one order, and the group
//! must go on: a message from everybody, and a commit.

mod ledger;
mod member;
mod plan;
mod server;
mod stage;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use stage::Stage;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u32,
    /// Decides what is done in each round; when exactly it happens depends on the machine as well.
    pub seed: u64,
    pub faults: Faults,
}

/// What is done to the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// `kill -9` of the server, of clients, or of both.
    Kills,
    /// The server's disk loses everything that was not synced, in every round. Needs root.
    PowerCuts,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub rounds: u32,
    pub server_kills: u32,
    /// Among them while it was starting.
    pub kills_of_starting_servers: u32,
    pub power_cuts: u32,
    pub client_kills: u32,
    pub acknowledged: usize,
    pub elapsed: Duration,
}

/// Runs all rounds. Fails at the first message that is lost, doubled or out of order, and at everything that does not
/// work afterwards; the folder with all databases and logs stays then, and the error names it.
pub fn run(options: &Options) -> Result<Report> {
    let began = Instant::now();
    let mut stage = Stage::begin(options)?;
    for number in 0..options.rounds {
        if let Err(error) = stage.play(number) {
            let folder = stage.keep();
            return Err(error).with_context(|| {
                format!("round {number} of seed {}; everything is in {}", options.seed, folder.display())
            });
        }
        if (number + 1) % 20 == 0 {
            eprintln!("{} rounds, {} messages acknowledged", number + 1, stage.report().acknowledged);
        }
    }
    match stage.look_back() {
        Ok(()) => Ok(Report { elapsed: began.elapsed(), ..stage.report() }),
        Err(error) => {
            let folder = stage.keep();
            Err(error).with_context(|| {
                format!("after all rounds of seed {}; everything is in {}", options.seed, folder.display())
            })
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds in {} s: {} server kills ({} while starting), {} power cuts, {} client kills; {} messages \
             acknowledged, 0 lost, 0 doubled, one order",
            self.rounds,
            self.elapsed.as_secs(),
            self.server_kills,
            self.kills_of_starting_servers,
            self.power_cuts,
            self.client_kills,
            self.acknowledged
        )
    }
}

/// For everything to be as it should after a round: generous, for slow machines.
const PATIENCE: Duration = Duration::from_secs(120);

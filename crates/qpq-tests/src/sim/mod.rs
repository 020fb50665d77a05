//! The simulator: many engines against the server's own service and store, in one thread and in virtual time. Everything that
//! happens comes from a seed, everything that is promised is checked, and a seed repeats what went wrong.

mod random;

pub mod plan;

mod agenda;
mod tasks;
mod trace;

mod server;
mod store;
mod template;

mod calls;
mod network;

mod device;
mod user;

mod oracle;
mod settle;

mod world;

#[cfg(feature = "mutations")]
pub mod mutations;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use plan::Options;

use world::World;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub transactions: u64,
    pub messages: u64,
    /// Two runs of one seed have the same.
    pub fingerprint: u64,
    /// Virtual seconds.
    pub seconds: u64,
    /// Why users were refused what they wanted, and how often.
    pub refusals: std::collections::BTreeMap<String, u64>,
}

/// A promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
    pub trace: Vec<String>,
}

/// Runs one seed on this thread, which should have a large stack.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, options: &Options) -> Result<Outcome, Failure> {
    let mut world = match World::new(seed, *options) {
        Ok(world) => world,
        Err(error) => return Err(Failure { seed, what: format!("{error:#}"), trace: vec![] }),
    };
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let what = match ran {
        Ok(Ok(())) => {
            return Ok(Outcome {
                transactions: world.transactions,
                messages: world.texts,
                fingerprint: world.fingerprint(),
                seconds: world.agenda.micros() / agenda::SECOND,
                refusals: world.oracle.refusals,
            });
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        }
    };
    Err(Failure { seed, what, trace: world.trace.last().map(str::to_owned).collect() })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        writeln!(f, "repeat it with: cargo xtask sim --seed {} --trace", self.seed)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

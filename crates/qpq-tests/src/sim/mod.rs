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

mod disaster;

mod oracle;
mod settle;

mod world;

#[cfg(test)]
mod tests;

#[cfg(feature = "mutations")]
pub mod mutations;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use plan::{Kill, Options};

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
    /// What else it takes to repeat it.
    pub options: Options,
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
        Err(error) => return Err(Failure { seed, options: *options, what: format!("{error:#}"), trace: vec![] }),
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
    Err(Failure { seed, options: *options, what, trace: world.trace.last().map(str::to_owned).collect() })
}

/// Runs one seed without other faults again and again, with a device killed around every `step`th transaction, at each of
/// the moments that there are. Gives how many kills there were.
///
/// # Errors
/// The first promise that was broken.
pub fn kills(seed: u64, step: u64) -> Result<u64, Failure> {
    let with = |transaction, moment| Options { kill: Some(Kill { transaction, moment }), ..Options::default() };
    let transactions = run(seed, &with(0, plan::Moment::BeforeCommit))?.transactions;
    let mut kills = 0;
    for transaction in (1..=transactions).step_by(step as usize) {
        for moment in plan::Moment::ALL {
            run(seed, &with(transaction, moment))?;
            kills += 1;
        }
    }
    Ok(kills)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        write!(f, "repeat it with: cargo xtask sim --seed {}", self.seed)?;
        if let Some(kill) = self.options.kill {
            write!(f, " --kill {kill}")?;
        }
        if self.options.disasters {
            write!(f, " --disasters")?;
        }
        writeln!(f, " --trace")?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

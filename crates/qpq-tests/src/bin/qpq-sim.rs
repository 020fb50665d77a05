//! The simulator as a program: `cargo xtask sim`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use qpq_tests::sim::{self, Failure, Kill, Options};

/// Runs seeds of the simulator. Exits with 1 when a promise was broken.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// This seed without other faults, with a device killed around one transaction after the other.
    #[arg(long, value_name = "SEED")]
    kills: Option<u64>,
    /// With --seed: only this kill of those that --kills tries.
    #[arg(long, value_name = "TRANSACTION:MOMENT")]
    kill: Option<Kill>,
    /// Devices are set back to backups, the server to snapshots, and members post commits that nobody can apply.
    #[arg(long)]
    disasters: bool,
    /// Print why users were refused what they wanted, and how often.
    #[arg(long)]
    refusals: bool,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Look for every deliberate defect instead.
    #[arg(long)]
    mutations: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options { trace: args.trace, disasters: args.disasters, kill: args.kill };
    // OpenMLS recurses along its tree, and debug builds of it need more than two MiB.
    let threads = || std::thread::Builder::new().stack_size(16 * 1024 * 1024);
    std::thread::scope(|scope| {
        let work = || match (args.mutations, args.kills, args.seed) {
            (true, ..) => mutations(args.seeds),
            (_, Some(seed), _) => kills(seed),
            (.., Some(seed)) => one(seed, &options),
            _ => many(&args, &options),
        };
        let worker = threads().spawn_scoped(scope, work).expect("a thread");
        worker.join().unwrap_or(ExitCode::FAILURE)
    })
}

fn one(seed: u64, options: &Options) -> ExitCode {
    match sim::run(seed, options) {
        Ok(outcome) => {
            println!("seed {seed}: {outcome:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => failed(&failure),
    }
}

fn many(args: &Args, options: &Options) -> ExitCode {
    let began = Instant::now();
    let (next, failures, transactions) = (AtomicU64::new(args.from), AtomicU64::new(0), AtomicU64::new(0));
    let refusals = Mutex::new(BTreeMap::<String, u64>::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.from + args.seeds || failures.load(Ordering::Relaxed) >= ENOUGH {
                return;
            }
            match sim::run(seed, options) {
                Ok(outcome) => {
                    transactions.fetch_add(outcome.transactions, Ordering::Relaxed);
                    let mut all = refusals.lock().unwrap_or_else(PoisonError::into_inner);
                    outcome.refusals.into_iter().for_each(|(why, count)| *all.entry(why).or_default() += count);
                }
                Err(failure) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    failed(&failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            let thread = std::thread::Builder::new().stack_size(16 * 1024 * 1024);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    for (why, count) in refusals.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if args.refusals {
            println!("{count:6} {why}");
        }
    }
    let (failures, transactions) = (failures.into_inner(), transactions.into_inner());
    println!("{} seeds, {transactions} transactions, {failures} failures, {:.1?}", args.seeds, began.elapsed());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kills(seed: u64) -> ExitCode {
    match sim::kills(seed, 1) {
        Ok(kills) => {
            println!("seed {seed}: {kills} kills");
            ExitCode::SUCCESS
        }
        Err(failure) => failed(&failure),
    }
}

/// Every deliberate defect must be found within so many seeds.
#[cfg(feature = "mutations")]
fn mutations(seeds: u64) -> ExitCode {
    let mut escaped = 0;
    for mutation in qpq_proto::mutation::Mutation::ALL {
        let began = Instant::now();
        let name = format!("{mutation:?}");
        match sim::mutations::hunt(mutation, seeds) {
            Some(found) => {
                println!("{name:24} found after {} seeds ({:.1?}): {}", found.seed + 1, began.elapsed(), found.what);
            }
            None => {
                escaped += 1;
                println!("{name:24} NOT FOUND in {seeds} seeds");
            }
        }
    }
    if escaped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "mutations"))]
fn mutations(_seeds: u64) -> ExitCode {
    eprintln!("built without the feature `mutations`: use `cargo xtask sim --mutations`");
    ExitCode::FAILURE
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    ExitCode::FAILURE
}

/// Failures after which it is not worth going on.
const ENOUGH: u64 = 20;

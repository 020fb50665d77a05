//! `cargo xtask sim [--seeds N] [--seed S] [--trace]`

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use qpq_tests::sim::{self, Options};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let options = Options { trace: arguments.iter().any(|argument| argument == "--trace"), ..Options::default() };
    let (from, count) = match value("--seed") {
        Some(seed) => (seed, 1),
        None => (value("--from").unwrap_or(0), value("--seeds").unwrap_or(100)),
    };
    if arguments.iter().any(|argument| argument == "--mutations") {
        return mutations(value("--seeds").unwrap_or(1000));
    }
    let jobs = value("--jobs").unwrap_or(1);
    let (next, failures) = (AtomicU64::new(from), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let work = || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || failures.load(Ordering::Relaxed) >= 20 {
                        return;
                    }
                    match sim::run(seed, &options) {
                        Ok(outcome) => {
                            if count <= 20 {
                                println!("{seed}: {outcome:?}");
                            }
                        }
                        Err(failure) => {
                            failures.fetch_add(1, Ordering::Relaxed);
                            eprintln!("{failure}");
                        }
                    }
                }
            };
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let failures = failures.load(Ordering::Relaxed);
    println!("{count} seeds in {:.1?}, {failures} failures", began.elapsed());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every deliberate defect must be found within so many seeds.
#[cfg(feature = "mutations")]
fn mutations(seeds: u64) -> ExitCode {
    let hunt = move || {
        let mut escaped = 0;
        for mutation in qpq_proto::mutation::Mutation::ALL {
            let began = Instant::now();
            match sim::mutations::hunt(mutation, seeds) {
                Some(failure) => {
                    let (seeds, time) = (failure.seed + 1, began.elapsed());
                    println!("{:24} found after {seeds} seeds ({time:.1?}): {}", format!("{mutation:?}"), failure.what);
                }
                None => {
                    escaped += 1;
                    println!("{:24} NOT FOUND in {seeds} seeds", format!("{mutation:?}"));
                }
            }
        }
        escaped
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(hunt).expect("a thread");
    if thread.join().is_ok_and(|escaped| escaped == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "mutations"))]
fn mutations(_seeds: u64) -> ExitCode {
    eprintln!("built without the feature `mutations`: use `cargo xtask sim --mutations`");
    ExitCode::FAILURE
}

/// OpenMLS recurses along its tree, and debug builds of it need more than two MiB.
const STACK: usize = 16 * 1024 * 1024;

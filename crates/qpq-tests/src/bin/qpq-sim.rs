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
            let thread = std::thread::Builder::new().stack_size(16 * 1024 * 1024);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let failures = failures.load(Ordering::Relaxed);
    println!("{count} seeds in {:.1?}, {failures} failures", began.elapsed());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

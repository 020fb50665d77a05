//! How wide the terminal is.

use std::env;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Cells in a line of the terminal; 80 when nobody knows.
pub fn current() -> usize {
    static LAST: Mutex<Option<(Instant, usize)>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else { return FALLBACK };
    match *last {
        Some((when, width)) if when.elapsed() < FRESH => width,
        _ => {
            let width = from_environment().or_else(ask).unwrap_or(FALLBACK).clamp(NARROWEST, WIDEST);
            *last = Some((Instant::now(), width));
            width
        }
    }
}

fn from_environment() -> Option<usize> {
    env::var("COLUMNS").ok()?.parse().ok().filter(|width| *width > 0)
}

/// Asks `stty`: reading the size needs an `ioctl`, and this crate has neither unsafe code nor a library for it.
fn ask() -> Option<usize> {
    let terminal = File::open("/dev/tty").ok()?;
    let mut stty = Command::new("stty");
    let answer = stty.arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
    parse(&String::from_utf8_lossy(&answer.stdout))
}

/// `ROWS COLUMNS`
fn parse(answer: &str) -> Option<usize> {
    answer.split_whitespace().nth(1)?.parse().ok().filter(|width| *width > 0)
}

const FALLBACK: usize = 80;
/// How long an answer is good for: a resized window is noticed with the next message.
const FRESH: Duration = Duration::from_secs(1);
const NARROWEST: usize = 40;
const WIDEST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_counts() {
        let cases = [("24 80\n", Some(80)), ("0 0\n", None), ("", None), ("x y", None)];
        for (answer, expected) in cases {
            assert_eq!(parse(answer), expected, "{answer}");
        }
    }
}

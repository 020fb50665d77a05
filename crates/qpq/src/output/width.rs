//! How wide the terminal is.

use std::env;
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

fn ask() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

const FALLBACK: usize = 80;
/// How long an answer is good for: a resized window is noticed with the next message.
const FRESH: Duration = Duration::from_secs(1);
const NARROWEST: usize = 40;
const WIDEST: usize = 1000;

//! What has happened, in words: the last of it is printed with a failure, all of it on request. Names and numbers only, no
//! random ids: two runs of one seed say the same.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// The last lines, and a fingerprint of all of them.
pub struct Trace {
    print: bool,
    lines: VecDeque<String>,
    fingerprint: u64,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Self { print, lines: VecDeque::with_capacity(KEPT), fingerprint: 0xcbf2_9ce4_8422_2325 }
    }

    /// Adds a line, `micros` after the beginning.
    pub fn line(&mut self, micros: u64, what: std::fmt::Arguments<'_>) {
        let mut line =
            if self.lines.len() == KEPT { self.lines.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        let _ = write!(line, "{:>10.3} {what}", micros as f64 / 1e6);
        for byte in line.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.print {
            eprintln!("{line}");
        }
        self.lines.push_back(line);
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// FNV-1a over everything that was said.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

const KEPT: usize = 40;

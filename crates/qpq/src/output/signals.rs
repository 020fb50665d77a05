//! Getting the attention of somebody who looks elsewhere.

use std::env;
use std::io::{self, Write as _};

/// Rings the terminal's bell, which most terminals turn into a mark or a notification; `QPQ_BELL=off` keeps it quiet.
pub fn ring() {
    if env::var_os("QPQ_BELL").is_some_and(|value| value == "off") {
        return;
    }
    // A terminal that cannot ring is no reason to stop.
    let _ = io::stderr().write_all(b"\x07");
}

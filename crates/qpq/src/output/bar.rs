//! How far a transfer is, on the last line of a terminal. Nothing at all elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use qpq_client::{Progress, Step};
use unicode_width::UnicodeWidthStr as _;

use super::Output;
use crate::signals::Signals;
use crate::view::{content, sanitize};

/// Wiped when it is dropped.
pub struct Bar {
    name: String,
    output: Output,
    signals: Signals,
    is_visible: bool,
    step: Option<(Step, Instant, u64)>,
    drawn: Option<Instant>,
    cells: usize,
}

impl Bar {
    pub fn new(output: &Output, signals: &Signals, name: &str) -> Self {
        let is_visible = !output.quiet && io::stderr().is_terminal();
        let name = sanitize::name(name, 24);
        Self { name, output: output.clone(), signals: signals.clone(), is_visible, step: None, drawn: None, cells: 0 }
    }

    /// Draws it anew now and then; breaks when somebody wants to end this.
    pub fn show(&mut self, progress: Progress) -> ControlFlow<()> {
        let now = Instant::now();
        let (_, began, first) = match self.step {
            Some(step) if step.0 == progress.step => step,
            Some(_) | None => *self.step.insert((progress.step, now, progress.done)),
        };
        if self.is_visible && self.drawn.is_none_or(|drawn| now.duration_since(drawn) >= REDRAW) {
            self.drawn = Some(now);
            let rate = rate(progress.done.saturating_sub(first), now.duration_since(began));
            self.draw(&line(&self.name, progress, rate, self.output.width().min(WIDEST)));
        }
        if self.signals.ended() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn draw(&mut self, text: &str) {
        let cells = text.width();
        let rest = " ".repeat(self.cells.saturating_sub(cells));
        self.cells = cells;
        // A bar that cannot be drawn is none.
        let mut stderr = io::stderr();
        let _ = write!(stderr, "\r{text}{rest}").and_then(|()| stderr.flush());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.cells > 0 {
            self.draw("");
            self.draw("");
        }
    }
}

/// Bytes in a second, once there is something to count.
fn rate(done: u64, time: Duration) -> Option<u64> {
    let milliseconds = u64::try_from(time.as_millis()).ok().filter(|milliseconds| *milliseconds >= 500)?;
    Some(done.saturating_mul(1000) / milliseconds)
}

fn line(name: &str, progress: Progress, rate: Option<u64>, width: usize) -> String {
    let what = match progress.step {
        Step::Reading => "reading",
        Step::Sending => "sending",
        Step::Receiving => "receiving",
        Step::Writing => "writing",
    };
    let percent = progress.done.saturating_mul(100).checked_div(progress.total).unwrap_or(100).min(100);
    let rate = rate.map(|rate| format!(", {}/s", content::size(rate))).unwrap_or_default();
    let numbers =
        format!("{percent:>3} %, {} of {}{rate}", content::size(progress.done), content::size(progress.total));
    let label = format!("{what} {name}");
    let room = width.saturating_sub(label.width() + numbers.width() + 5);
    if room < SHORTEST {
        return sanitize::shorten(&format!("{label} {numbers}"), width.saturating_sub(1)).into_owned();
    }
    let room = room.min(LONGEST);
    let full = room * percent as usize / 100;
    format!("{label} [{}{}] {numbers}", "#".repeat(full), "·".repeat(room - full))
}

/// The whole terminal knows that something happens, and no time goes into telling it.
const REDRAW: Duration = Duration::from_millis(100);
const SHORTEST: usize = 8;
const LONGEST: usize = 30;
/// Standard output may be a pipe while standard error is a terminal.
const WIDEST: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_and_tells_how_far_it_is() {
        let progress = |done| Progress { step: Step::Sending, done, total: 2_000_000 };
        let cases = [
            (0, None, "sending a.pdf [······························]   0 %, 0 B of 2.0 MB"),
            (1_000_000, None, "sending a.pdf [###############···············]  50 %, 1.0 MB of 2.0 MB"),
            (2_000_000, Some(5000), "sending a.pdf [#############################] 100 %, 2.0 MB of 2.0 MB, 5.0 kB/s"),
        ];
        for (done, rate, expected) in cases {
            let drawn = line("a.pdf", progress(done), rate, 80);
            assert_eq!(drawn, expected);
        }
        for width in 1..100 {
            let drawn = line("a rather long name.pdf", progress(1_234_567), Some(7), width);
            assert!(drawn.width() <= width, "{width}: {drawn}");
        }
        let empty = Progress { step: Step::Reading, done: 0, total: 0 };
        assert!(line("x", empty, None, 80).contains("100 %"));
        assert_eq!(rate(3000, Duration::from_millis(1500)), Some(2000));
        assert_eq!(rate(3000, Duration::ZERO), None);
    }
}

//! Waiting with an end, and with a sign of life on the terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use qpq_client::Error;

use crate::output::Output;
use crate::signals::Signals;

/// Waits for one thing.
pub struct Wait<'a> {
    pub what: &'a str,
    pub timeout: Duration,
    pub output: &'a Output,
    pub signals: &'a Signals,
}

impl Wait<'_> {
    /// Tries again and again, each time with the little time that `attempt` may take, until it is neither offline nor
    /// out of time, or the whole time is over, or somebody interrupts.
    pub fn run<T>(&self, mut attempt: impl FnMut(Duration) -> Result<T, Error>) -> Result<T, Error> {
        let start = Instant::now();
        let mut progress = Progress::new(self);
        loop {
            let began = Instant::now();
            let left = self.timeout.saturating_sub(start.elapsed());
            let error = match attempt(left.min(SLICE)) {
                Err(error @ (Error::Offline(_) | Error::TimedOut(_))) => error,
                done => return done,
            };
            if start.elapsed() >= self.timeout || self.signals.ended() {
                return Err(match error {
                    Error::TimedOut(_) => Error::TimedOut(start.elapsed()),
                    other => other,
                });
            }
            // Somebody who is offline answers at once; do not ask in a circle.
            thread::sleep(SLICE.saturating_sub(began.elapsed()).min(self.timeout.saturating_sub(start.elapsed())));
            progress.tick(start.elapsed());
        }
    }

    /// Makes one call that must not be cut into slices, such as a question to the server.
    pub fn once<T>(&self, call: impl FnOnce(Duration) -> Result<T, Error>) -> Result<T, Error> {
        let (done, over) = mpsc::channel::<()>();
        let mut progress = Progress::new(self);
        thread::scope(|scope| {
            scope.spawn(move || {
                let start = Instant::now();
                while over.recv_timeout(SLICE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    progress.tick(start.elapsed());
                }
            });
            let outcome = call(self.timeout);
            drop(done);
            outcome
        })
    }

    /// Looks at `condition` until it holds.
    pub fn until(&self, mut condition: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
        self.run(|slice| {
            let start = Instant::now();
            loop {
                if condition()? {
                    return Ok(());
                }
                if start.elapsed() >= slice {
                    return Err(Error::TimedOut(slice));
                }
                thread::sleep(LOOK_AGAIN.min(slice));
            }
        })
    }
}

/// `waiting for the server… 3s`, wiped when it is over.
struct Progress<'a> {
    what: &'a str,
    visible: bool,
    shown: Option<u64>,
}

impl<'a> Progress<'a> {
    fn new(wait: &Wait<'a>) -> Self {
        Self { what: wait.what, visible: !wait.output.quiet && io::stderr().is_terminal(), shown: None }
    }

    fn tick(&mut self, elapsed: Duration) {
        let seconds = elapsed.as_secs();
        if self.visible && seconds > 0 && self.shown != Some(seconds) {
            self.shown = Some(seconds);
            // A sign of life that cannot be written is none.
            let _ = write!(io::stderr(), "\r{}… {seconds}s", self.what);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r{}\r", " ".repeat(self.what.len() + 12));
        }
    }
}

const SLICE: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(milliseconds: u64) -> (Output, Signals, Duration) {
        (Output::new(false, true, false), Signals::default(), Duration::from_millis(milliseconds))
    }

    #[test]
    fn other_errors_end_the_wait_and_so_does_success() {
        let (output, signals, timeout) = wait(10_000);
        let wait = Wait { what: "x", timeout, output: &output, signals: &signals };
        assert!(matches!(wait.run(|_| Err::<(), _>(Error::WrongPassword)), Err(Error::WrongPassword)));
        assert_eq!(wait.once(Ok).ok(), Some(timeout));
        let mut tries = 0;
        let done = wait.run(|_| {
            tries += 1;
            if tries == 2 { Ok(tries) } else { Err(Error::Offline("not yet".into())) }
        });
        assert_eq!(done.ok(), Some(2));
    }

    #[test]
    fn the_time_is_limited() {
        let (output, signals, timeout) = wait(0);
        let wait = Wait { what: "x", timeout, output: &output, signals: &signals };
        assert!(matches!(wait.until(|| Ok(false)), Err(Error::TimedOut(_))));
        assert!(wait.until(|| Ok(true)).is_ok());
    }
}

//! How long somebody waits for something: so long, or until they no longer want to.

use std::time::{Duration, Instant};

use crate::error::Error;

pub struct Patience<'a> {
    given: Duration,
    deadline: Instant,
    is_interrupted: &'a dyn Fn() -> bool,
}

impl<'a> Patience<'a> {
    pub fn new(given: Duration, is_interrupted: &'a dyn Fn() -> bool) -> Self {
        Self { given, deadline: Instant::now() + given, is_interrupted }
    }

    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Resolves when it is over, with the reason.
    pub async fn over(&self) -> Error {
        loop {
            if (self.is_interrupted)() {
                return Error::Interrupted;
            }
            let left = self.left();
            if left.is_zero() {
                return Error::TimedOut(self.given);
            }
            tokio::time::sleep(left.min(SLICE)).await;
        }
    }
}

const SLICE: Duration = Duration::from_millis(100);

//! A consumer: a name under which a position in the events is stored.

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qpq_client::{Client, EventStream, Readiness};

use crate::status::Failure;

/// Several threads may read under one name: each event goes to one of them.
pub struct Consumer {
    client: Client,
    stream: Mutex<EventStream>,
    /// Once somebody has asked for a file descriptor.
    readiness: Mutex<Option<Readiness>>,
}

impl Consumer {
    pub fn new(client: Client, name: &str) -> Result<Self, Failure> {
        let stream = Mutex::new(client.events(name)?);
        Ok(Self { client, stream, readiness: Mutex::default() })
    }

    /// The next event as an object; none when nothing came in time.
    pub fn next(&self, timeout: Duration) -> Result<Option<String>, Failure> {
        let deadline = Instant::now() + timeout;
        let interrupts = self.client.interrupts();
        loop {
            let generation = self.client.generation();
            self.with_readiness(Readiness::clear);
            // The lock is held for a look, and never while waiting.
            let event = lock(&self.stream).next(Duration::ZERO)?;
            if let Some(event) = event {
                self.with_readiness(Readiness::set);
                return Ok(Some(qpq_client::json::event(&event)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.client.wait_for_events(generation, interrupts, left)?;
        }
    }

    pub fn acknowledge(&self, position: u64) -> Result<(), Failure> {
        Ok(lock(&self.stream).acknowledge_to(position)?)
    }

    /// A descriptor that is readable when [`Self::next`] is worth calling. It lives as long as this.
    pub fn descriptor(&self) -> Result<RawFd, Failure> {
        let mut readiness = lock(&self.readiness);
        let made = match readiness.take() {
            Some(made) => made,
            None => Readiness::new(&self.client)?,
        };
        Ok(readiness.insert(made).as_fd().as_raw_fd())
    }

    fn with_readiness(&self, act: impl FnOnce(&Readiness)) {
        if let Some(readiness) = &*lock(&self.readiness) {
            act(readiness);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The durable event stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use qpq_core::engine::{Command, Query};
use qpq_core::view::Event;

use crate::client::Client;
use crate::error::Error;

/// Events in order. What was returned and not acknowledged comes again after a restart: nothing is missed.
pub struct EventStream {
    client: Client,
    /// None: whoever reads keeps the position.
    consumer: Option<String>,
    position: u64,
    acknowledged: u64,
    buffer: VecDeque<Event>,
}

impl EventStream {
    pub(crate) fn new(client: Client, consumer: &str) -> Result<Self, Error> {
        let name = consumer.to_owned();
        let position = client.look(move |query| query.consumer(&name))?.unwrap_or(0);
        Ok(Self { consumer: Some(consumer.to_owned()), ..Self::after(client, position) })
    }

    pub(crate) fn after(client: Client, position: u64) -> Self {
        Self { client, consumer: None, position, acknowledged: position, buffer: VecDeque::new() }
    }

    /// A consumer that has never been here begins with what happens from now on.
    pub(crate) fn from_now(client: Client, consumer: &str) -> Result<Self, Error> {
        let name = consumer.to_owned();
        let (known, last) = client.look(move |query| Ok((query.consumer(&name)?, query.last_event()?)))?;
        let mut stream = Self::new(client, consumer)?;
        if known.is_none() {
            // Stored even when nothing has happened yet, or it would begin anew the next time.
            stream.position = last;
            stream.store(last)?;
        }
        Ok(stream)
    }

    /// The next event after the last one returned. Waits up to `timeout`; `None` when nothing came.
    ///
    /// # Errors
    /// The client was closed or interrupted, or its database cannot be read.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        let deadline = Instant::now() + timeout;
        let interrupts = self.client.shared().interrupts();
        loop {
            if let Some(event) = self.buffer.pop_front() {
                self.position = event.position;
                return Ok(Some(event));
            }
            let generation = self.client.shared().generation();
            let after = self.position;
            let look = move |query: &mut Query<'_>| Ok((query.events(after, BATCH as usize)?, query.last_event()?));
            let (events, newest) = self.client.look(look)?;
            if after < newest {
                self.buffer = events.into();
                if self.buffer.is_empty() {
                    self.position = past_nothing(after, newest);
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.client.shared().wait_for_events(generation, interrupts, left)?;
        }
    }

    /// Stores that everything returned so far has been dealt with.
    ///
    /// # Errors
    /// The client was closed, or its database cannot be written.
    pub fn acknowledge(&mut self) -> Result<(), Error> {
        self.acknowledge_to(self.position)
    }

    /// Stores that everything up to this position ([`Event::position`]) has been dealt with. What was acknowledged before stays
    /// so.
    ///
    /// # Errors
    /// Also [`Error::BadInput`] for a position that has not been returned.
    pub fn acknowledge_to(&mut self, position: u64) -> Result<(), Error> {
        if position > self.position {
            return Err(Error::BadInput(format!("event {position} has not been read, only up to {}", self.position)));
        }
        if position <= self.acknowledged { Ok(()) } else { self.store(position) }
    }

    fn store(&mut self, position: u64) -> Result<(), Error> {
        if let Some(consumer) = self.consumer.clone() {
            self.client.command(Command::MoveConsumer { consumer, position })?;
        }
        self.acknowledged = position;
        Ok(())
    }
}

/// Where to go on when none of a batch of events can be shown any more. Positions are whole numbers, so that a batch has
/// looked at least this far; `newest` is of the same moment as the batch, so that nothing is passed over that came since.
fn past_nothing(after: u64, newest: u64) -> u64 {
    newest.min(after.saturating_add(BATCH))
}

const BATCH: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_without_anything_to_show_is_passed_and_no_more_than_that() {
        assert_eq!(past_nothing(5, 7), 7);
        assert_eq!(past_nothing(5, 1000), 105);
    }
}

//! What is behind a handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use qpq_client::{Client, PendingLink};

use crate::consumer::Consumer;
use crate::status::Failure;

/// An opened client, and who reads its events.
pub struct Instance {
    client: Client,
    consumers: Mutex<HashMap<String, Arc<Consumer>>>,
    /// A new device about which somebody has to decide.
    pub pending_link: Mutex<Option<PendingLink>>,
}

impl Instance {
    pub fn new(client: Client) -> Self {
        Self { client, consumers: Mutex::default(), pending_link: Mutex::default() }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The consumer with this name, which begins where it left off.
    pub fn consumer(&self, name: &str) -> Result<Arc<Consumer>, Failure> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(Failure::bad_input(format!("the name of a consumer has 1 to {LONGEST_NAME} bytes")));
        }
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = consumers.get(name) {
            return Ok(consumer.clone());
        }
        if consumers.len() >= MOST_CONSUMERS {
            return Err(Failure::bad_input(format!("a client has at most {MOST_CONSUMERS} consumers")));
        }
        let consumer = Arc::new(Consumer::new(self.client.clone(), name)?);
        consumers.insert(name.to_owned(), consumer.clone());
        Ok(consumer)
    }

    /// Ends everything, also calls that wait in other threads.
    pub fn close(&self) {
        self.client.interrupt();
        self.client.clone().close();
    }
}

/// Names are stored for ever, and somebody could make them up in a loop by mistake.
const MOST_CONSUMERS: usize = 64;
const LONGEST_NAME: usize = 64;

//! The threads that read, each with a connection of its own; or one connection for whoever asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::{Reply, StoreError};

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The handle; dropping it finishes the queue and joins the threads.
pub struct Readers {
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Instead of the threads: the caller reads.
    inline: Option<Mutex<Connection>>,
}

impl Readers {
    pub fn start(connections: Vec<Connection>) -> Self {
        let (queue, jobs) = bounded(QUEUE);
        let threads = connections
            .into_iter()
            .map(|connection| {
                let jobs = jobs.clone();
                std::thread::Builder::new()
                    .name("store-reader".into())
                    .spawn(move || run(&connection, &jobs))
                    .expect("the operating system starts a thread at start-up")
            })
            .collect();
        Self { queue: Some(queue), threads, inline: None }
    }

    /// Without threads: everything has been read when [`Self::submit`] returns.
    pub fn inline(connection: Connection) -> Self {
        Self { queue: None, threads: Vec::new(), inline: Some(Mutex::new(connection)) }
    }

    /// Runs `work` on one of the connections.
    pub fn submit<T, F>(&self, work: F) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(connection)))
                .unwrap_or_else(|_| Err(StoreError::Internal("a store operation panicked".into())));
            let _ = reply.send(outcome);
        });
        let queued = match (&self.queue, &self.inline) {
            (Some(queue), _) => queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Closed,
            }),
            (None, Some(connection)) => {
                job(&connection.lock().unwrap_or_else(PoisonError::into_inner));
                Ok(())
            }
            (None, None) => Err(StoreError::Closed),
        };
        Box::pin(async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, jobs: &Receiver<Job>) {
    for job in jobs {
        job(connection);
    }
}

/// Reads that may wait; every online device may want one at the same moment.
const QUEUE: usize = 16 * 1024;

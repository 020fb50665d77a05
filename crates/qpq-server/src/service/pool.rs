//! Threads for what takes milliseconds of CPU, so that the connections' threads never wait for it. A simulation has none:
//! there everything happens on the caller's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};
use qpq_proto::code::{Code, Refusal};
use tokio::sync::oneshot;

use super::refuse;

type Job = Box<dyn FnOnce() + Send>;

/// The threads end when the last handle is gone and the queue is empty.
pub struct Pool {
    /// None: on the caller's own thread.
    queue: Option<Sender<Job>>,
    /// Jobs that nobody has begun with.
    waiting: Arc<AtomicUsize>,
}

impl Pool {
    pub fn start(threads: usize) -> Self {
        if threads == 0 {
            return Self { queue: None, waiting: Arc::default() };
        }
        let (queue, jobs) = bounded::<Job>(QUEUE);
        for _ in 0..threads {
            let jobs = jobs.clone();
            std::thread::Builder::new()
                .name("qpq-crypto".into())
                .stack_size(STACK)
                .spawn(move || jobs.iter().for_each(|job| job()))
                .expect("the operating system starts a thread at start-up");
        }
        Self { queue: Some(queue), waiting: Arc::default() }
    }

    /// Jobs in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs `work` on one of the threads. A panic in it is the caller's refusal, and nobody else's.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let place = Waiting::begin(&self.waiting);
        let job: Job = Box::new(move || {
            drop(place);
            let _ = reply.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let queued = match &self.queue {
            Some(queue) => queue.try_send(job),
            None => {
                job();
                Ok(())
            }
        };
        match queued {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Refusal::later(
                    Code::Overloaded,
                    "too much is waiting for validation",
                    Duration::from_secs(1),
                ));
            }
            Err(TrySendError::Disconnected(_)) => return Err(refuse::internal("the validation threads are gone")),
        }
        match answer.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) | Err(_) => Err(refuse::internal("a validation panicked")),
        }
    }
}

/// Counts a job until somebody begins with it, or throws it away.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Validations that may wait: at 20 ms for a commit in a group of a thousand this is five seconds' worth.
const QUEUE: usize = 256;

/// OpenMLS recurses along its tree, and debug builds of it need more than the two MiB that threads get.
const STACK: usize = 8 * 1024 * 1024;

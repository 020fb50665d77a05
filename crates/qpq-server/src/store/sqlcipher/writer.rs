//! The one thread that writes. It takes whatever has queued up, runs each job in a savepoint of its own unless it needs
//! none, commits all of them in one flush, and only then answers anybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qpq_proto::mutation::{Mutation, is_on};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::change::OnCommit;
use crate::store::{Reply, StoreError};

use super::repeats::Repeats;
use super::tail::Tail;
use super::tx::{Pending, Tx};

/// How many jobs shared one transaction.
pub type BatchSize = usize;

/// How long a transaction took.
#[derive(Clone, Copy, Debug)]
pub struct BatchTiming {
    pub whole: Duration,
    /// Its COMMIT, which waits for the disk; none when it came to nothing.
    pub flush: Option<Duration>,
}

/// Told the size and duration of every transaction.
pub type BatchObserver = Arc<dyn Fn(BatchSize, BatchTiming) + Send + Sync>;

/// What happens between a commit and the answers.
pub struct After {
    pub on_commit: OnCommit,
    pub tail: Arc<Tail>,
    pub observer: BatchObserver,
}

/// The handle; dropping it finishes the queue and joins the thread.
pub struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    /// Instead of the thread: the caller writes.
    inline: Option<Mutex<Inline>>,
}

/// What the thread would own.
struct Inline {
    connection: Connection,
    repeats: Repeats,
    after: After,
    writable: Arc<AtomicBool>,
}

impl Writer {
    pub fn start(connection: Connection, after: After, writable: Arc<AtomicBool>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .stack_size(STACK)
            .spawn(move || run(&connection, jobs, &after, &writable))
            .expect("the operating system starts a thread at start-up");
        Self { queue: Some(queue), thread: Some(thread), inline: None }
    }

    /// Without a thread: each job is a batch of its own, and committed when [`Self::submit`] returns.
    pub fn inline(connection: Connection, after: After, writable: Arc<AtomicBool>) -> Self {
        let inline = Inline { connection, repeats: Repeats::new(), after, writable };
        Self { queue: None, thread: None, inline: Some(Mutex::new(inline)) }
    }

    /// Queues `work`. The answer comes after the commit that holds it.
    pub fn submit<T, F>(&self, work: F) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue_up(work, false)
    }

    /// The same for a post, which leaves nothing behind when it fails, and so goes without a savepoint.
    pub fn submit_atomic<T, F>(&self, work: F) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue_up(work, true)
    }

    fn queue_up<T, F>(&self, work: F, is_atomic: bool) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), is_atomic, outcome: Err(StoreError::Closed), reply };
        let queued = self.enqueue(Box::new(call));
        Box::pin(async move {
            match queued {
                Ok(()) => {}
                Err(Late { queue: Some(queue), job }) => wait_for_room(&queue, job).await?,
                Err(Late { queue: None, .. }) => return Err(StoreError::Closed),
            }
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    /// Jobs in the queue.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// At once if there is room, so that jobs run in the order of the calls.
    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), Late> {
        if let Some(inline) = &self.inline {
            let Inline { connection, repeats, after, writable } =
                &*inline.lock().unwrap_or_else(PoisonError::into_inner);
            commit(connection, repeats, &mut vec![job], after, writable);
            return Ok(());
        }
        let Some(queue) = &self.queue else {
            return Err(Late { queue: None, job });
        };
        queue.try_send(job).map_err(|error| match error {
            // A weak handle: whoever waits for room must not keep the thread from ending.
            mpsc::error::TrySendError::Full(job) => Late { queue: Some(queue.downgrade()), job },
            mpsc::error::TrySendError::Closed(job) => Late { queue: None, job },
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A job that found no room in the queue, or no queue.
struct Late {
    queue: Option<mpsc::WeakSender<Box<dyn Job>>>,
    job: Box<dyn Job>,
}

async fn wait_for_room(queue: &mpsc::WeakSender<Box<dyn Job>>, job: Box<dyn Job>) -> Result<(), StoreError> {
    let queue = queue.upgrade().ok_or(StoreError::Closed)?;
    match tokio::time::timeout(PATIENCE, queue.send(job)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(StoreError::Closed),
        Err(_) => Err(StoreError::Busy),
    }
}

/// A piece of work together with its caller.
trait Job: Send {
    /// An error of it has changed nothing.
    fn is_atomic(&self) -> bool;
    /// Errors mean: undo what it did.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    /// Answers the caller; an error replaces whatever `run` had to say.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Call<T, F> {
    work: Option<F>,
    is_atomic: bool,
    outcome: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
{
    fn is_atomic(&self) -> bool {
        self.is_atomic
    }

    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        self.outcome = catch_unwind(AssertUnwindSafe(|| work(tx)))
            .unwrap_or_else(|_| Err(StoreError::Internal("a store operation panicked".into())));
        match &self.outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // The caller may have gone; what was asked for has happened all the same.
        let _ = self.reply.send(committed.and(self.outcome));
    }
}

fn run(connection: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>, after: &After, writable: &AtomicBool) {
    let mut batch = Vec::with_capacity(BATCH);
    let repeats = Repeats::new();
    while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
        commit(connection, &repeats, &mut batch, after, writable);
    }
}

/// One transaction, with what has to happen before and after its answers.
fn commit(
    connection: &Connection,
    repeats: &Repeats,
    batch: &mut Vec<Box<dyn Job>>,
    after: &After,
    writable: &AtomicBool,
) {
    let started = Instant::now();
    let size = batch.len();
    let mut flush = None;
    match transact(connection, repeats, batch) {
        Ok((pending, flushed)) => {
            flush = Some(flushed);
            if !writable.swap(true, Ordering::Relaxed) {
                tracing::info!("the disk can be written again");
            }
            after.tail.apply(pending.appended, &pending.erased);
            if !pending.changes.is_empty() {
                (after.on_commit)(&pending.changes);
            }
            batch.drain(..).for_each(|job| job.answer(Ok(())));
        }
        Err(error) => {
            tracing::error!(%error, jobs = size, "transaction failed");
            if let StoreError::Unwritable(_) = error {
                writable.store(false, Ordering::Relaxed);
            }
            batch.drain(..).for_each(|job| job.answer(Err(error.clone())));
        }
    }
    repeats.trim();
    (after.observer)(size, BatchTiming { whole: started.elapsed(), flush });
}

/// What it did, and how long the disk took.
type Committed = (Pending, Duration);

fn transact(connection: &Connection, repeats: &Repeats, batch: &mut [Box<dyn Job>]) -> Result<Committed, StoreError> {
    let outcome = attempt(connection, repeats, batch);
    if outcome.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    outcome
}

fn attempt(connection: &Connection, repeats: &Repeats, batch: &mut [Box<dyn Job>]) -> Result<Committed, StoreError> {
    if is_on(Mutation::AnswerBeforeCommit) && !connection.is_autocommit() {
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let tx = Tx::new(connection, repeats);
    for job in batch {
        if job.is_atomic() {
            job.run(&tx).or_else(|error| survive(&tx, error))?;
        } else {
            tx.settle()?;
            run_in_savepoint(&tx, job.as_mut())?;
        }
    }
    tx.settle()?;
    let flush = Instant::now();
    if !is_on(Mutation::AnswerBeforeCommit) {
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok((tx.into_pending(), flush.elapsed()))
}

fn run_in_savepoint(tx: &Tx<'_>, job: &mut dyn Job) -> Result<(), StoreError> {
    let mark = tx.mark();
    tx.prepare_cached("SAVEPOINT job")?.execute([])?;
    if let Err(error) = job.run(tx) {
        survive(tx, error)?;
        tx.prepare_cached("ROLLBACK TO job")?.execute([])?;
        tx.undo_to(&mark);
    }
    tx.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}

/// SQLite has ended the whole transaction when the disk is full or fails; other errors concern one job.
fn survive(tx: &Tx<'_>, error: StoreError) -> Result<(), StoreError> {
    if tx.is_autocommit() || matches!(error, StoreError::Unwritable(_)) { Err(error) } else { Ok(()) }
}

/// Jobs that may wait. At thousands of jobs a second this is well below a second's work; more would only grow latency.
const QUEUE: usize = 1024;

/// How long a caller may wait for room in the queue before it is told to come back later.
const PATIENCE: Duration = Duration::from_secs(2);

/// Jobs in one transaction: beyond this the flush is no longer what costs.
const BATCH: usize = 256;

/// Plenty for SQLite, in debug builds as well.
const STACK: usize = 4 * 1024 * 1024;

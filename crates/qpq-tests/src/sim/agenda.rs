//! Virtual time: what happens when. Of two things at the same moment the one that was planned first happens first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use qpq_proto::time::Timestamp;

use super::network::{Down, LinkId, Up};

/// Something that happens at its time.
pub enum Event {
    /// The users do something.
    Act,
    /// A quiet moment to look whether everything is settled.
    Look,
    Tick(usize),
    /// A device is switched on, or tries to connect again.
    Start(usize),
    /// A device works through what has come in.
    Turn(usize),
    AtServer(LinkId, Up),
    AtDevice(LinkId, Down),
    /// The device's end of a connection is gone.
    CutAtDevice(LinkId),
    /// The server's end is.
    CutAtServer(LinkId),
    ServerCrash,
    ServerStart,
    /// What the server does by itself now and then.
    ServerTidy,
    ServerFlush,
    /// Somebody has slept enough.
    Wake(Waker),
}

/// The agenda, shared by everybody.
#[derive(Clone)]
pub struct Agenda(Arc<Mutex<Inner>>);

struct Inner {
    /// Milliseconds since the Unix epoch at which virtual time began.
    epoch: u64,
    /// Microseconds since then.
    now: u64,
    planned: u64,
    heap: BinaryHeap<Reverse<Item>>,
}

struct Item {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Agenda {
    /// Time begins at `epoch`.
    pub fn new(epoch: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Inner { epoch: epoch.0, now: 0, planned: 0, heap: BinaryHeap::new() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since time began.
    pub fn micros(&self) -> u64 {
        self.inner().now
    }

    /// What both ends see on their clocks.
    pub fn now(&self) -> Timestamp {
        let inner = self.inner();
        Timestamp(inner.epoch + inner.now / 1000)
    }

    /// `event` happens in so many microseconds.
    pub fn after(&self, micros: u64, event: Event) {
        let at = self.inner().now + micros;
        self.at(at, event);
    }

    /// `event` happens at this time.
    pub fn at(&self, at: u64, event: Event) {
        let mut inner = self.inner();
        inner.planned += 1;
        let number = inner.planned;
        inner.heap.push(Reverse(Item { at, number, event }));
    }

    /// Goes on to the next event.
    pub fn next(&self) -> Option<Event> {
        let mut inner = self.inner();
        let Reverse(item) = inner.heap.pop()?;
        inner.now = inner.now.max(item.at);
        Some(item.event)
    }

    /// Resolves in so many microseconds.
    pub fn sleep(&self, micros: u64) -> Sleep {
        Sleep { agenda: self.clone(), until: self.micros() + micros, planned: false }
    }
}

/// Waits in virtual time.
pub struct Sleep {
    agenda: Agenda,
    until: u64,
    planned: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.agenda.micros() >= self.until {
            return Poll::Ready(());
        }
        if !self.planned {
            self.planned = true;
            self.agenda.at(self.until, Event::Wake(context.waker().clone()));
        }
        Poll::Pending
    }
}

/// So many microseconds.
pub const MILLISECOND: u64 = 1000;
/// So many microseconds.
pub const SECOND: u64 = 1000 * MILLISECOND;

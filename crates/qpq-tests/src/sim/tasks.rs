//! The server's side of every call, as futures on one thread. Whoever is woken is polled in the order of birth.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::network::LinkId;

/// All futures that are under way.
#[derive(Default)]
pub struct Tasks {
    tasks: BTreeMap<u64, Task>,
    woken: Arc<Mutex<BTreeSet<u64>>>,
    born: u64,
}

struct Task {
    /// The connection that it serves: it ends with that.
    link: Option<LinkId>,
    waker: Waker,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

struct Bell {
    task: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).insert(self.task);
    }
}

impl Tasks {
    /// Begins something.
    pub fn spawn(&mut self, link: Option<LinkId>, future: impl Future<Output = ()> + 'static) {
        self.born += 1;
        let bell = Arc::new(Bell { task: self.born, woken: self.woken.clone() });
        let task = Task { link, waker: Waker::from(bell.clone()), future: Box::pin(future) };
        self.tasks.insert(self.born, task);
        bell.wake();
    }

    /// Runs everybody who can run, until nobody can.
    pub fn run(&mut self) {
        loop {
            let next = self.woken.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            let Some(number) = next else { return };
            let Some(task) = self.tasks.get_mut(&number) else { continue };
            let waker = task.waker.clone();
            if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&number);
            }
        }
    }

    /// Drops what serves a connection that is gone.
    pub fn end(&mut self, link: LinkId) {
        self.tasks.retain(|_, task| task.link != Some(link));
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.tasks.clear();
    }
}

/// What a future gives that has nothing to wait for.
pub fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

//! Somebody who waits for an answer, and may stop waiting before it comes.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The end that answers.
pub struct Waiter<T> {
    answer: SyncSender<T>,
    /// The channel itself does not tell whether anybody still listens.
    listening: Weak<()>,
}

/// The end that waits.
pub struct Awaited<T> {
    answer: Receiver<T>,
    _listening: Arc<()>,
}

/// A waiter and what it waits with.
pub fn waiter<T>() -> (Waiter<T>, Awaited<T>) {
    let (sender, receiver) = sync_channel(1);
    let listening = Arc::new(());
    let waiter = Waiter { answer: sender, listening: Arc::downgrade(&listening) };
    (waiter, Awaited { answer: receiver, _listening: listening })
}

impl<T> Waiter<T> {
    /// Answers; nothing happens when nobody waits any more.
    pub fn tell(self, answer: T) {
        let _ = self.answer.send(answer);
    }

    /// Whether nobody waits any more.
    pub fn is_gone(&self) -> bool {
        self.listening.strong_count() == 0
    }
}

impl<T> Awaited<T> {
    /// Waits up to `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.answer.recv_timeout(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_who_no_longer_waits() {
        let (first, awaited) = waiter();
        assert!(!first.is_gone());
        first.tell(7);
        assert_eq!(awaited.recv_timeout(Duration::ZERO), Ok(7));
        let (second, awaited) = waiter();
        drop(awaited);
        assert!(second.is_gone());
        second.tell(8);
    }
}

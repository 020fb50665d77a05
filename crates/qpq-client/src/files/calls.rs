//! The calls of all transfers on one connection: a few at a time, apart from the requests of the engine.

use std::collections::VecDeque;

use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use qpq_proto::code::Refusal;

use crate::waiter::Waiter;
use crate::wire::{self, BlobAnswer, BlobCall, Session};

/// What the server says to a call of a transfer. Whoever waits for it is dropped when the connection ends before that.
pub type BlobAnswered = Result<BlobAnswer, Refusal>;

#[derive(Default)]
pub struct Calls {
    waiting: VecDeque<(BlobCall, Waiter<BlobAnswered>)>,
    on_the_way: FuturesUnordered<LocalBoxFuture<'static, ()>>,
}

impl Calls {
    /// Calls leave in the order in which they come here.
    pub fn add(&mut self, session: &Session, call: BlobCall, answer: Waiter<BlobAnswered>) {
        self.waiting.push_back((call, answer));
        self.send_waiting(session);
    }

    /// One of them was answered; none when there are none.
    pub async fn next(&mut self) -> Option<()> {
        self.on_the_way.next().await
    }

    /// Sends what there is room for.
    pub fn send_waiting(&mut self, session: &Session) {
        while self.on_the_way.len() < MOST
            && let Some((call, answer)) = self.waiting.pop_front()
        {
            let answered = wire::blob_call(session, &call);
            self.on_the_way.push(Box::pin(async move {
                if let Some(answered) = answered.await {
                    answer.tell(answered);
                }
            }));
        }
    }
}

/// Half a mebibyte of files may stand before a message on its way.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiter::waiter;

    #[test]
    fn however_many_transfers_there_are_few_of_their_calls_are_on_the_way() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (session, _) = wire::deaf();
            let mut calls = Calls::default();
            let blob = qpq_proto::ids::BlobId([1; 32]);
            let awaited: Vec<_> = (0..20)
                .map(|_| {
                    let (answer, awaited) = waiter();
                    calls.add(&session, BlobCall::Begin { blob, size: 5000 }, answer);
                    awaited
                })
                .collect();
            assert_eq!((calls.on_the_way.len(), calls.waiting.len()), (MOST, 20 - MOST));
            drop(calls);
            let lost = std::sync::mpsc::RecvTimeoutError::Disconnected;
            assert!(awaited.iter().all(|one| one.recv_timeout(std::time::Duration::ZERO) == Err(lost)));
        });
    }
}

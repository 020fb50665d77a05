//! Outgoing bytes. capnp-rpc flushes after every message, which would be a packet each; here a flush does nothing, and the
//! vat sends what has gathered after each round. What nobody waits for goes with the next message that somebody waits for,
//! or after a moment.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;
use tokio::time::{Duration, Instant, Sleep, sleep};

/// How long it may wait: longer than a device gathers what it acknowledges, so that the two share a packet.
const MOMENT: Duration = Duration::from_millis(250);

/// Bytes of it that do not wait.
const UNHURRIED: usize = 4 * 1024;

/// Whether somebody waits for each of the messages that are queued to be written, in their order. Clones are handles to the
/// same.
#[derive(Clone, Default)]
pub(super) struct Hurry(Rc<RefCell<VecDeque<bool>>>);

impl Hurry {
    /// Another message has been queued.
    pub(super) fn queue(&self, is_waited_for: bool) {
        self.0.borrow_mut().push_back(is_waited_for);
    }

    /// The next message has been written.
    fn next(&self) -> bool {
        self.0.borrow_mut().pop_front().unwrap_or(true)
    }
}

/// Bytes that may gather before writers wait.
const CAPACITY: usize = 64 * 1024;

/// Bytes that an idle connection keeps allocated.
const KEPT: usize = 1024;

/// The side that sends.
pub(super) struct Outbox<W> {
    writer: W,
    sent: usize,
    /// Until what nobody waits for is sent all the same; it runs while there is such.
    moment: Moment,
    shared: Rc<RefCell<Shared>>,
}

/// The side that is filled.
pub(super) struct OutboxWriter {
    hurry: Hurry,
    shared: Rc<RefCell<Shared>>,
}

#[derive(Default)]
struct Shared {
    bytes: Vec<u8>,
    /// Somebody waits for a message among them.
    is_waited_for: bool,
    /// The stream failed for this reason, or was finished.
    broken: Option<io::ErrorKind>,
    waiting: Option<Waker>,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    /// `hurry` knows of each message before it is written; a flush ends one.
    pub(super) fn new(writer: W, hurry: Hurry) -> (Self, OutboxWriter) {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let outbox = Self { writer, sent: 0, moment: Moment::default(), shared: shared.clone() };
        (outbox, OutboxWriter { hurry, shared })
    }

    /// Sends what has gathered, if somebody waits for it or it has waited for its moment; until then the context is woken.
    pub(super) fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (gathered, is_waited_for) = {
            let shared = self.shared.borrow();
            (shared.bytes.len(), shared.is_waited_for)
        };
        if gathered == 0 {
            return Poll::Ready(Ok(()));
        }
        let waits = !is_waited_for && self.sent == 0 && gathered < UNHURRIED;
        if waits && self.moment.poll(cx).is_pending() {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(cx)
    }

    /// Sends what has gathered; ready when nothing is left and it has been flushed.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(self.poll_write_out(cx));
        if let Err(error) = &outcome {
            self.shared.borrow_mut().fail(error.kind());
        }
        Poll::Ready(outcome)
    }

    /// Sends the rest and ends the stream.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await?;
        self.shared.borrow_mut().fail(io::ErrorKind::BrokenPipe);
        poll_fn(|cx| Pin::new(&mut self.writer).poll_shutdown(cx)).await
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        if let Some(kind) = shared.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if shared.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < shared.bytes.len() {
            let written = ready!(Pin::new(&mut self.writer).poll_write(cx, &shared.bytes[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.moment.is_running = false;
        shared.is_waited_for = false;
        shared.bytes.clear();
        shared.bytes.shrink_to(KEPT);
        shared.wake();
        Pin::new(&mut self.writer).poll_flush(cx)
    }
}

/// A timer that is made when it is needed first.
#[derive(Default)]
struct Moment {
    timer: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Moment {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(MOMENT)));
        if !self.is_running {
            self.is_running = true;
            timer.as_mut().reset(Instant::now() + MOMENT);
        }
        timer.as_mut().poll(cx)
    }
}

impl futures::io::AsyncWrite for OutboxWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.shared.borrow_mut();
        if let Some(kind) = shared.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let room = CAPACITY - shared.bytes.len();
        if room == 0 {
            shared.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = buf.len().min(room);
        shared.bytes.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    /// A message is complete.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hurry.next() {
            self.shared.borrow_mut().is_waited_for = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Shared {
    fn fail(&mut self, kind: io::ErrorKind) {
        self.broken.get_or_insert(kind);
        self.bytes = Vec::new();
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::io::AsyncWriteExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn gathers_and_sends_in_order() {
        let (near, mut far) = tokio::io::duplex(100);
        let (mut outbox, mut writer) = Outbox::new(near, Hurry::default());
        let expected: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
        let mut received = Vec::new();
        let fill = async {
            for part in expected.chunks(999) {
                writer.write_all(part).await.unwrap();
                writer.flush().await.unwrap();
            }
        };
        let send = async {
            let mut fill = std::pin::pin!(fill);
            poll_fn(|cx| {
                let filled = fill.as_mut().poll(cx);
                let _ = outbox.poll_send(cx);
                filled
            })
            .await;
            outbox.finish().await.unwrap();
        };
        let (_, read) = tokio::join!(send, far.read_to_end(&mut received));
        drop(read);
        assert_eq!(received, expected);
        assert!(outbox.shared.borrow().bytes.capacity() <= KEPT);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_waits() {
        let (near, mut far) = tokio::io::duplex(100);
        let hurry = Hurry::default();
        let (mut outbox, mut writer) = Outbox::new(near, hurry.clone());
        let begin = Instant::now();
        let rounds = async {
            loop {
                poll_fn(|cx| outbox.poll_round(cx)).await.unwrap();
                // Woken by the moment's end, as a vat is.
                poll_fn(|cx| match outbox.shared.borrow().bytes.is_empty() {
                    true => Poll::Ready(()),
                    false => outbox.moment.poll(cx),
                })
                .await;
                if outbox.shared.borrow().bytes.is_empty() {
                    break;
                }
            }
        };
        let mut write = async |bytes: &[u8], is_waited_for| {
            hurry.queue(is_waited_for);
            writer.write_all(bytes).await.unwrap();
            writer.flush().await.unwrap();
        };
        write(b"later", false).await;
        let (mut received, ()) = ([0; 5], rounds.await);
        far.read_exact(&mut received).await.unwrap();
        assert!(begin.elapsed() >= MOMENT && &received == b"later");

        write(b"later,", false).await;
        poll_fn(|cx| outbox.poll_round(cx)).await.unwrap();
        assert!(!outbox.shared.borrow().bytes.is_empty());
        write(b"now", true).await;
        poll_fn(|cx| outbox.poll_round(cx)).await.unwrap();
        assert!(outbox.shared.borrow().bytes.is_empty());
        let mut received = [0; 9];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"later,now");
    }

    #[tokio::test]
    async fn a_broken_stream_reaches_the_writer() {
        let (near, far) = tokio::io::duplex(100);
        let (mut outbox, mut writer) = Outbox::new(near, Hurry::default());
        drop(far);
        writer.write_all(b"lost").await.unwrap();
        assert!(poll_fn(|cx| outbox.poll_send(cx)).await.is_err());
        assert!(writer.write_all(b"refused").await.is_err());
    }
}

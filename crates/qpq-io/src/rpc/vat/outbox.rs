//! Outgoing bytes. capnp-rpc flushes after every message, which would be a packet each; here a flush does nothing, and the
//! vat sends what has gathered after each round.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

/// Bytes that may gather before writers wait.
const CAPACITY: usize = 64 * 1024;

/// Bytes that an idle connection keeps allocated.
const KEPT: usize = 1024;

/// The side that sends.
pub(super) struct Outbox<W> {
    writer: W,
    sent: usize,
    shared: Rc<RefCell<Shared>>,
}

/// The side that is filled.
pub(super) struct OutboxWriter(Rc<RefCell<Shared>>);

#[derive(Default)]
struct Shared {
    bytes: Vec<u8>,
    /// The stream failed for this reason, or was finished.
    broken: Option<io::ErrorKind>,
    waiting: Option<Waker>,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(super) fn new(writer: W) -> (Self, OutboxWriter) {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let outbox = Self { writer, sent: 0, shared: shared.clone() };
        (outbox, OutboxWriter(shared))
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
        shared.bytes.clear();
        shared.bytes.shrink_to(KEPT);
        shared.wake();
        Pin::new(&mut self.writer).poll_flush(cx)
    }
}

impl futures::io::AsyncWrite for OutboxWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.0.borrow_mut();
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

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        let (mut outbox, mut writer) = Outbox::new(near);
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
    async fn a_broken_stream_reaches_the_writer() {
        let (near, far) = tokio::io::duplex(100);
        let (mut outbox, mut writer) = Outbox::new(near);
        drop(far);
        writer.write_all(b"lost").await.unwrap();
        assert!(poll_fn(|cx| outbox.poll_send(cx)).await.is_err());
        assert!(writer.write_all(b"refused").await.is_err());
    }
}

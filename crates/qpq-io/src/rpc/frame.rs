//! A limit on message size that holds before memory is spent: the Cap'n Proto stream framing is followed, and a message
//! that announces more than is allowed ends the stream before its body is passed on.
//!
//! Framing (capnproto.org, "Serialization over a stream"): `u32` number of segments less one, a `u32` size in words for
//! each segment, padding to a full word, the segments; all little-endian.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::io::AsyncRead;

/// The largest limit that makes sense, in bytes: RPC readers do not traverse more than this.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;

/// capnp refuses messages with this many segments or more.
const TOO_MANY_SEGMENTS: u64 = 512;

const WORD: u64 = 8;

/// The largest message accepted on a connection, in bytes, segment table included. Clones are handles to the same limit,
/// so that a connection can start small and be trusted with more after authentication.
#[derive(Clone, Debug)]
pub struct FrameLimit(Arc<AtomicUsize>);

impl FrameLimit {
    /// A limit of `bytes`, at most [`MAX_FRAME`].
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes.min(MAX_FRAME))))
    }

    /// Allows `bytes` (at most [`MAX_FRAME`]) from the next message on. A limit that is higher already stays.
    pub fn raise(&self, bytes: usize) {
        self.0.fetch_max(bytes.min(MAX_FRAME), Ordering::Relaxed);
    }

    /// The limit now, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A byte stream of Cap'n Proto messages that fails with [`io::ErrorKind::InvalidData`] at the first message that is
/// larger than the limit or has more segments than capnp accepts, and stays failed.
#[derive(Debug)]
pub struct LimitedReader<R> {
    inner: R,
    limit: FrameLimit,
    state: State,
    received: Rc<Cell<usize>>,
}

impl<R> LimitedReader<R> {
    /// Reads from `inner`, which is at the beginning of a message.
    pub fn new(inner: R, limit: FrameLimit) -> Self {
        Self { inner, limit, state: State::Table(Table::default()), received: Rc::default() }
    }

    /// Bytes that were read; for whoever takes note of them to set to 0 again.
    pub(super) fn received(&self) -> Rc<Cell<usize>> {
        self.received.clone()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for LimitedReader<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let allowed = match &this.state {
            State::Table(table) => table.missing(),
            State::Body { remaining } => *remaining,
            State::Failed => return Poll::Ready(Err(refused("an earlier message was refused"))),
        };
        let length = usize::try_from(allowed).map_or(buf.len(), |allowed| buf.len().min(allowed));
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf[..length]))?;
        match this.state.advance(&buf[..read], this.limit.bytes() as u64) {
            Ok(()) => {
                this.received.set(this.received.get() + read);
                Poll::Ready(Ok(read))
            }
            Err(error) => {
                this.state = State::Failed;
                Poll::Ready(Err(error))
            }
        }
    }
}

/// Where in the stream the next byte belongs.
#[derive(Debug)]
enum State {
    Table(Table),
    Body { remaining: u64 },
    Failed,
}

impl State {
    /// Takes note of `bytes`, which are not more than the state asked for.
    fn advance(&mut self, bytes: &[u8], limit: u64) -> io::Result<()> {
        match self {
            Self::Table(table) => {
                for byte in bytes {
                    table.push(*byte, limit)?;
                }
                if table.missing() == 0 {
                    *self = Self::body(table.body);
                }
            }
            Self::Body { remaining } => *self = Self::body(*remaining - bytes.len() as u64),
            Self::Failed => {}
        }
        Ok(())
    }

    fn body(remaining: u64) -> Self {
        match remaining {
            0 => Self::Table(Table::default()),
            remaining => Self::Body { remaining },
        }
    }
}

/// A segment table of which `read` bytes have been seen.
#[derive(Debug)]
struct Table {
    read: u64,
    /// The number that is being read, with the bytes so far.
    number: u32,
    /// The table's length in bytes; of its first word until the number of segments is known.
    length: u64,
    segments: u64,
    /// The sizes so far, in bytes.
    body: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self { read: 0, number: 0, length: WORD, segments: 0, body: 0 }
    }
}

impl Table {
    fn missing(&self) -> u64 {
        self.length - self.read
    }

    fn push(&mut self, byte: u8, limit: u64) -> io::Result<()> {
        self.number = (self.number >> 8) | (u32::from(byte) << 24);
        self.read += 1;
        if !self.read.is_multiple_of(4) {
            return Ok(());
        }
        let (number, index) = (u64::from(self.number), self.read / 4 - 1);
        if index == 0 {
            self.segments = number + 1;
            if self.segments >= TOO_MANY_SEGMENTS {
                return Err(refused("a message has too many segments"));
            }
            self.length = (4 + 4 * self.segments).next_multiple_of(WORD);
        } else if index <= self.segments {
            self.body += number * WORD;
        }
        if self.length + self.body > limit {
            return Err(refused(&format!("a message is larger than the limit of {limit} bytes")));
        }
        Ok(())
    }
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;
    use futures::io::AsyncReadExt;

    use super::*;

    /// A message whose segments have these sizes in words.
    fn message(segments: &[u32]) -> Vec<u8> {
        let mut bytes = (segments.len() as u32 - 1).to_le_bytes().to_vec();
        for words in segments {
            bytes.extend(words.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let body: u32 = segments.iter().sum();
        bytes.extend((0..body * 8).map(|i| i as u8));
        bytes
    }

    /// Reads `bytes`, delivered as `parts`, to the end. Returns what was passed on, and whether it failed.
    fn read(parts: &[&[u8]], limit: usize) -> (Vec<u8>, bool) {
        let inner = parts.iter().fold(Box::pin(futures::io::empty()) as Pin<Box<dyn AsyncRead>>, |before, part| {
            Box::pin(before.chain(*part))
        });
        let mut reader = LimitedReader::new(inner, FrameLimit::new(limit));
        let (mut out, mut buf) = (Vec::new(), [0; 100]);
        loop {
            match reader.read(&mut buf).now_or_never().unwrap() {
                Ok(0) => return (out, false),
                Ok(n) => out.extend(&buf[..n]),
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::InvalidData);
                    assert!(reader.read(&mut buf).now_or_never().unwrap().is_err());
                    return (out, true);
                }
            }
        }
    }

    #[test]
    fn each_side_of_the_limit() {
        for segments in [&[5][..], &[1, 2], &[1, 2, 3], &[0, 7, 0, 9, 1], &[0], &[1; 100]] {
            let bytes = message(segments);
            assert_eq!(read(&[&bytes], bytes.len()), (bytes.clone(), false));
            let (passed, failed) = read(&[&bytes], bytes.len() - 1);
            let body: u32 = segments.iter().sum();
            assert!(failed && passed.len() <= bytes.len() - body as usize * 8, "{segments:?}");
        }
    }

    #[test]
    fn split_anywhere() {
        let messages = [message(&[2]), message(&[0]), message(&[1, 0, 3])];
        let large = message(&[3, 3]);
        let all: Vec<u8> = messages.concat();
        let with_large = [all.clone(), large].concat();
        for at in 0..with_large.len() {
            let (first, second) = with_large.split_at(at);
            let (passed, failed) = read(&[first, second], 48);
            assert!(failed);
            assert!(passed.starts_with(&all) && passed.len() < all.len() + 16, "split at {at}");
        }
        let bytewise: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(read(&bytewise, 48), (all, false));
    }

    #[test]
    fn segments_are_limited() {
        assert!(!read(&[&message(&[0; 511])], MAX_FRAME).1);
        assert_eq!(read(&[&message(&[0; 512])], MAX_FRAME), (vec![], true));
        assert_eq!(read(&[&[0xff; 64]], MAX_FRAME), (vec![], true));
    }

    #[test]
    fn sizes_do_not_overflow() {
        let mut bytes = 510_u32.to_le_bytes().to_vec();
        bytes.extend([0xff; 511 * 4]);
        assert!(read(&[&bytes], MAX_FRAME).1);
    }

    #[test]
    fn limits_only_grow() {
        let limit = FrameLimit::new(100);
        limit.clone().raise(1000);
        limit.raise(10);
        assert_eq!(limit.bytes(), 1000);
        limit.raise(usize::MAX);
        assert_eq!(limit.bytes(), MAX_FRAME);
    }
}

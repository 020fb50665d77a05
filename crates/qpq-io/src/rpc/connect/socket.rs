//! The client's UDP socket. The kernel may hand over 64 packets as one, and quinn sets 32 buffers aside for as many each:
//! 3 MiB for every connection. Here one such buffer is enough, from which quinn's own, smaller ones are filled.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use crate::rpc::receive_buffer;

/// Packets for which each of quinn's buffers has room.
const SEGMENTS: usize = 8;

/// What one system call may receive: the most that UDP carries.
const LARGEST: usize = 64 * 1024;

pub(super) struct ClientSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    arrived: Mutex<Arrived>,
}

/// What the last system call received, and how much of it quinn has.
struct Arrived {
    bytes: Box<[u8]>,
    meta: RecvMeta,
    taken: usize,
}

impl ClientSocket {
    /// Takes any free port. Needs a tokio runtime.
    pub(super) fn bind(local: SocketAddr) -> io::Result<Arc<Self>> {
        let socket = std::net::UdpSocket::bind(local)?;
        receive_buffer::widen(&socket)?;
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(Self { inner, arrived: Mutex::new(Arrived::nothing()) }))
    }
}

impl Arrived {
    fn nothing() -> Self {
        Self { bytes: vec![0; LARGEST].into(), meta: RecvMeta { len: 0, ..RecvMeta::default() }, taken: 0 }
    }

    fn poll_more(&mut self, socket: &dyn AsyncUdpSocket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken == self.meta.len {
            let mut meta = [RecvMeta::default()];
            let received = ready!(socket.poll_recv(cx, &mut [IoSliceMut::new(&mut self.bytes)], &mut meta))?;
            if received > 0 {
                (self.meta, self.taken) = (meta[0], 0);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As many whole packets as there is room for.
    fn take(&mut self, buf: &mut [u8]) -> RecvMeta {
        let stride = self.meta.stride.max(1);
        let room = (buf.len() / stride).max(1) * stride;
        let next = room.min(self.meta.len - self.taken);
        // A packet that is larger than what we have agreed to receive is cut, and then is none.
        let copied = next.min(buf.len());
        buf[..copied].copy_from_slice(&self.bytes[self.taken..self.taken + copied]);
        self.taken += next;
        RecvMeta { len: copied, ..self.meta }
    }
}

impl AsyncUdpSocket for ClientSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            match arrived.poll_more(&*self.inner, cx) {
                Poll::Ready(Ok(())) => *meta = arrived.take(buf),
                // A failure comes again.
                _ if filled > 0 => break,
                other => return other.map_ok(|()| 0),
            }
            filled += 1;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        SEGMENTS
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for ClientSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    #[test]
    fn packets_stay_whole() {
        let bytes: Box<[u8]> = (0..25).collect();
        let meta = RecvMeta { len: 25, stride: 4, ..RecvMeta::default() };
        let mut arrived = Arrived { bytes, meta, taken: 0 };
        let mut buf = [0; 10];
        for expected in
            [&[0, 1, 2, 3, 4, 5, 6, 7][..], &[8, 9, 10, 11, 12, 13, 14, 15], &[16, 17, 18, 19, 20, 21, 22, 23], &[24]]
        {
            let meta = arrived.take(&mut buf);
            assert_eq!((&buf[..meta.len], meta.stride), (expected, 4));
        }
        assert_eq!(arrived.taken, arrived.meta.len);

        arrived.taken = 0;
        let meta = arrived.take(&mut buf[..3]);
        assert_eq!((meta.len, arrived.taken), (3, 4), "a packet that does not fit is cut");
    }

    #[tokio::test]
    async fn everything_that_arrives_is_passed_on() {
        let local = (Ipv4Addr::LOCALHOST, 0).into();
        let (socket, sender) = (ClientSocket::bind(local).unwrap(), UdpSocket::bind(local).unwrap());
        for number in 0..40_u8 {
            sender.send_to(&[number; 900], socket.local_addr().unwrap()).unwrap();
        }
        let mut numbers = Vec::new();
        while numbers.len() < 40 {
            let mut storage = vec![vec![0; 2000]; 32];
            let mut bufs: Vec<_> = storage.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            let mut meta = [RecvMeta::default(); 32];
            let received = poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta)).await.unwrap();
            for (buf, meta) in bufs.iter().zip(meta).take(received) {
                numbers.extend(buf[..meta.len].chunks(meta.stride).map(|packet| packet[0]));
            }
        }
        assert_eq!(numbers, (0..40).collect::<Vec<u8>>());
    }
}

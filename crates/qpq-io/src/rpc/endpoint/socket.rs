//! The server's UDP sockets: one for each worker, all on the same port.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use super::exchange::Exchange;
use super::identifiers::Seat;
use crate::rpc::receive_buffer;

/// Packets that one system call sends to one client. quinn keeps a buffer for as many for every connection, idle or not:
/// its own ten would be 14 KiB each, and more than four hardly make the calls cheaper.
const MOST_SEGMENTS: usize = 4;

/// So many sockets on one address, among which the kernel deals datagrams, each client's always to the same one; a single one
/// where it does not do that. With port 0 they share any free one.
///
/// # Errors
/// When the address cannot be used, or somebody has it already.
pub(super) fn bind(listen: SocketAddr, sockets: usize) -> io::Result<Vec<std::net::UdpSocket>> {
    let mut bound = vec![std::net::UdpSocket::bind(listen)?];
    share(&mut bound, sockets)?;
    let mut is_enough = true;
    for socket in &bound {
        is_enough &= receive_buffer::widen(socket)?;
    }
    if !is_enough {
        let wanted = receive_buffer::WANTED;
        tracing::info!(wanted, "few datagrams may wait here; a busy server wants this much as net.core.rmem_max");
    }
    Ok(bound)
}

/// The first one was bound without sharing, so that it is known to be the only one; from then on the port is never free.
#[cfg(target_os = "linux")]
fn share(bound: &mut Vec<std::net::UdpSocket>, sockets: usize) -> io::Result<()> {
    let address = bound[0].local_addr()?;
    socket2::SockRef::from(&bound[0]).set_reuse_port(true)?;
    while bound.len() < sockets {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        bound.push(socket.into());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn share(_: &mut Vec<std::net::UdpSocket>, _: usize) -> io::Result<()> {
    Ok(())
}

/// One worker's: quinn's socket, with a bound on segmentation offload, and without what belongs to other workers.
pub(super) struct ServerSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    seat: Seat,
    exchange: Arc<Exchange>,
}

impl ServerSocket {
    /// Takes over a bound socket. Needs a tokio runtime.
    pub(super) fn new(socket: std::net::UdpSocket, seat: Seat, exchange: Arc<Exchange>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { inner: TokioRuntime.wrap_udp_socket(socket)?, seat, exchange }))
    }
}

impl AsyncUdpSocket for ServerSocket {
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
        if self.seat.workers == 1 {
            return self.inner.poll_recv(cx, bufs, meta);
        }
        // Half of the room at most, so that neither source keeps the other one waiting.
        self.exchange.register(self.seat, cx.waker());
        let half = bufs.len().div_ceil(2);
        let collected = self.exchange.collect(self.seat, &mut bufs[..half], meta);
        loop {
            let (bufs, meta) = (&mut bufs[collected..], &mut meta[collected..]);
            let received = match self.inner.poll_recv(cx, bufs, meta) {
                Poll::Pending if collected > 0 => return Poll::Ready(Ok(collected)),
                other => ready!(other)?,
            };
            let filled = collected + self.exchange.sort(self.seat, bufs, meta, received);
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments().min(MOST_SEGMENTS)
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_port_has_one_server() {
        let sockets = bind(LOCAL, 3).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        for workers in [1, 2] {
            assert_eq!(bind(address, workers).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn the_kernel_deals_to_all_of_them() {
        let sockets = bind(LOCAL, 2).unwrap();
        let address = sockets[0].local_addr().unwrap();
        sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        // All to one of them: once in 2^63 times. On loopback a datagram is there when it has been sent.
        for _ in 0..64 {
            UdpSocket::bind(LOCAL).unwrap().send_to(&[1], address).unwrap();
        }
        let count = |socket: &UdpSocket| std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count();
        let received: Vec<usize> = sockets.iter().map(count).collect();
        assert!(received.iter().all(|count| *count > 0) && received.iter().sum::<usize>() == 64, "{received:?}");
    }

    #[tokio::test]
    async fn datagrams_reach_the_worker_that_their_identifier_names() {
        const WORKERS: usize = 3;
        let exchange = Arc::new(Exchange::new(WORKERS));
        let sockets: Vec<_> = bind(LOCAL, WORKERS)
            .unwrap()
            .into_iter()
            .enumerate()
            .map(|(index, socket)| {
                ServerSocket::new(socket, Seat { index, workers: WORKERS }, exchange.clone()).unwrap()
            })
            .collect();
        let address = sockets[0].local_addr().unwrap();
        // Sixteen clients, so that the kernel deals to each worker, and each of them has connections everywhere.
        for client in 0..16 {
            let socket = UdpSocket::bind(LOCAL).unwrap();
            for owner in 0..WORKERS as u8 {
                socket.send_to(&[0x40, owner, client], address).unwrap();
            }
        }
        let receiving = sockets.iter().enumerate().map(async |(index, socket)| {
            let mut clients = Vec::new();
            while clients.len() < 16 {
                let mut storage = [[0; 64]; 4];
                let mut bufs = storage.each_mut().map(|buf| IoSliceMut::new(buf));
                let mut meta = [RecvMeta::default(); 4];
                let received = poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta)).await.unwrap();
                for (buf, meta) in bufs.iter().zip(meta).take(received) {
                    assert_eq!((meta.len, buf[1]), (3, index as u8));
                    clients.push(buf[2]);
                }
            }
            clients.sort_unstable();
            assert_eq!(clients, (0..16).collect::<Vec<u8>>());
        });
        futures::future::join_all(receiving).await;
    }
}

//! Datagrams that arrive at the wrong worker. The kernel picks a socket by the addresses of both ends, so a client that moves
//! to another network may reach another worker than the one that has its connection, which then gets its datagrams here.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;
use quinn::udp::RecvMeta;

use super::identifiers::Seat;

/// The datagrams that wait for each worker.
pub(super) struct Exchange(Vec<Shelf>);

#[derive(Default)]
struct Shelf {
    datagrams: Mutex<VecDeque<Datagram>>,
    owner: AtomicWaker,
}

struct Datagram {
    bytes: Vec<u8>,
    meta: RecvMeta,
}

/// Datagrams that may wait for a worker; those beyond are lost, as in a full socket.
const ROOM: usize = 1024;

/// Bytes of one: what our transport parameters allow (quinn's default). Longer ones are nobody's.
const LARGEST: usize = 1472;

impl Exchange {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Shelf::default()).collect())
    }

    /// Hands over what belongs to other workers among what a socket received, and closes the gaps. Returns how many of the
    /// buffers are filled then.
    pub(super) fn sort(
        &self,
        seat: Seat,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        received: usize,
    ) -> usize {
        let mut kept = 0;
        for index in 0..received {
            let length = self.keep_own(seat, &mut bufs[index], meta[index]);
            if length == 0 {
                continue;
            }
            if kept < index {
                let (before, from) = bufs.split_at_mut(index);
                before[kept][..length].copy_from_slice(&from[0][..length]);
            }
            meta[kept] = RecvMeta { len: length, ..meta[index] };
            kept += 1;
        }
        kept
    }

    /// The same for the datagrams in one buffer: returns the length of what stays.
    fn keep_own(&self, seat: Seat, buf: &mut [u8], meta: RecvMeta) -> usize {
        let (mut from, mut kept) = (0, 0);
        while from < meta.len {
            let to = (from + meta.stride.max(1)).min(meta.len);
            match seat.owner(&buf[from..to]) {
                Some(owner) if owner != seat.index => self.hand_over(owner, &buf[from..to], meta),
                // Only the last one may be shorter than the others, and it stays the last.
                _ => {
                    buf.copy_within(from..to, kept);
                    kept += to - from;
                }
            }
            from = to;
        }
        kept
    }

    fn hand_over(&self, to: usize, datagram: &[u8], meta: RecvMeta) {
        let shelf = &self.0[to];
        let mut datagrams = shelf.datagrams();
        if datagrams.len() < ROOM && datagram.len() <= LARGEST {
            let meta = RecvMeta { len: datagram.len(), stride: datagram.len(), ..meta };
            datagrams.push_back(Datagram { bytes: datagram.to_vec(), meta });
            drop(datagrams);
            shelf.owner.wake();
        }
    }

    /// Who is to be woken when something comes for this worker.
    pub(super) fn register(&self, seat: Seat, waker: &Waker) {
        self.0[seat.index].owner.register(waker);
    }

    /// Fills some of the buffers with what others handed over, and returns how many.
    pub(super) fn collect(&self, seat: Seat, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut datagrams = self.0[seat.index].datagrams();
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(datagram) = datagrams.pop_front() else { break };
            // Both came from buffers of the same size.
            let length = datagram.bytes.len().min(buf.len());
            buf[..length].copy_from_slice(&datagram.bytes[..length]);
            *meta = RecvMeta { len: length, ..datagram.meta };
            filled += 1;
        }
        filled
    }
}

impl Shelf {
    fn datagrams(&self) -> MutexGuard<'_, VecDeque<Datagram>> {
        self.datagrams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams of four bytes for these workers, in one buffer; `None` has a long header.
    fn buffer(owners: &[Option<u8>]) -> (Vec<u8>, RecvMeta) {
        let datagram = |(number, owner): (usize, &Option<u8>)| match owner {
            Some(owner) => [0x40, *owner, 0, number as u8],
            None => [0xc0, 1, 0, number as u8],
        };
        let bytes: Vec<u8> = owners.iter().enumerate().flat_map(datagram).collect();
        let meta = RecvMeta { len: bytes.len(), stride: 4, ..RecvMeta::default() };
        (bytes, meta)
    }

    #[test]
    fn everybody_gets_their_own() {
        let seats = [0, 1].map(|index| Seat { index, workers: 2 });
        let exchange = Exchange::new(2);
        let contents = [&[Some(1), Some(1)][..], &[Some(0), Some(1), None, Some(0)], &[Some(0)], &[None]];
        let (mut bytes, mut meta): (Vec<_>, Vec<_>) = contents.iter().map(|owners| buffer(owners)).unzip();
        let mut bufs: Vec<_> = bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
        // The first buffer has to hold what moves there.
        let mut room = [0; 16];
        room[..8].copy_from_slice(&bufs[0]);
        bufs[0] = IoSliceMut::new(&mut room);

        assert_eq!(exchange.sort(seats[0], &mut bufs, &mut meta, 4), 3);
        let numbers = |buf: &[u8]| buf.chunks(4).map(|datagram| datagram[3]).collect::<Vec<_>>();
        assert_eq!(numbers(&bufs[0][..meta[0].len]), [0, 2, 3]);
        assert_eq!((meta[0].stride, meta[1].len, meta[2].len), (4, 4, 4));

        assert_eq!(exchange.collect(seats[0], &mut bufs, &mut meta), 0);
        assert_eq!(exchange.collect(seats[1], &mut bufs, &mut meta), 3);
        assert!((0..3).all(|index| meta[index].len == 4 && bufs[index][1] == 1));
        assert_eq!(exchange.collect(seats[1], &mut bufs, &mut meta), 0);
    }

    #[test]
    fn a_worker_that_does_not_come_costs_little() {
        let seat = Seat { index: 0, workers: 2 };
        let exchange = Exchange::new(2);
        for _ in 0..2 * ROOM {
            let (mut bytes, meta) = buffer(&[Some(1)]);
            assert_eq!(exchange.sort(seat, &mut [IoSliceMut::new(&mut bytes)], &mut [meta], 1), 0);
        }
        assert_eq!(exchange.0[1].datagrams().len(), ROOM);
        exchange.0[1].datagrams().clear();
        for (length, kept) in [(LARGEST, 1), (LARGEST + 1, 1)] {
            let mut bytes = vec![1; length];
            let meta = RecvMeta { len: length, stride: length, ..RecvMeta::default() };
            assert_eq!(exchange.sort(seat, &mut [IoSliceMut::new(&mut bytes)], &mut [meta], 1), 0);
            assert_eq!(exchange.0[1].datagrams().len(), kept);
        }
    }
}

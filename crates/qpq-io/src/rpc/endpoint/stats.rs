//! Counters of a server, for its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a server is doing. Clones read the same counters; reading costs nothing.
#[derive(Clone, Debug, Default)]
pub struct ServerStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    open: AtomicUsize,
    handshakes: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    retried: AtomicU64,
    ignored: AtomicU64,
    failed: AtomicU64,
}

impl ServerStats {
    /// Connections now, handshakes included.
    pub fn connections_open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Handshakes under way now.
    pub fn handshakes_open(&self) -> usize {
        self.0.handshakes.load(Ordering::Relaxed)
    }

    /// Connections established since the start.
    pub fn accepted_total(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Connections refused since the start, because there were too many.
    pub fn refused_total(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Clients asked to prove their address first since the start.
    pub fn retried_total(&self) -> u64 {
        self.0.retried.load(Ordering::Relaxed)
    }

    /// Attempts that were not answered since the start, because their address had too many handshakes under way.
    pub fn ignored_total(&self) -> u64 {
        self.0.ignored.load(Ordering::Relaxed)
    }

    /// Handshakes that failed or took too long since the start.
    pub fn handshakes_failed_total(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ignored(&self) {
        self.0.ignored.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.0.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one more, unless there are as many as there may be.
    pub(super) fn open(&self, most: usize) -> Option<OpenConnection> {
        let one_more = |open: usize| (open < most).then_some(open + 1);
        self.0.open.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        self.0.handshakes.fetch_add(1, Ordering::Relaxed);
        Some(OpenConnection { counters: self.0.clone(), established: false })
    }
}

/// Counts a connection for as long as it lives.
pub(super) struct OpenConnection {
    counters: Arc<Counters>,
    established: bool,
}

impl OpenConnection {
    pub(super) fn established(&mut self) {
        self.established = true;
        self.counters.handshakes.fetch_sub(1, Ordering::Relaxed);
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        if !self.established {
            self.counters.handshakes.fetch_sub(1, Ordering::Relaxed);
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

//! Whom the server lets in, which all its workers decide together.

use std::sync::Arc;

use quinn::Incoming;

use super::stats::OpenConnection;
use super::{Addresses, Place, ServerStats};

/// Clones share one count.
#[derive(Clone)]
pub(super) struct Admission(Arc<Limits>);

struct Limits {
    stats: ServerStats,
    connections: usize,
    busy: usize,
    handshakes: Addresses,
}

/// A connection that was let in, and counts while this lives.
pub(super) struct Admitted {
    open: OpenConnection,
    /// Among the handshakes of its address, until it is established.
    handshake: Option<Place>,
}

impl Admitted {
    pub(super) fn established(&mut self) {
        self.open.established();
        self.handshake = None;
    }
}

/// Handshakes under way per worker from which on clients have to show first that their address is theirs. One costs up to
/// 0.8 ms of CPU, so this is a backlog that a person would not notice.
const BUSY_HANDSHAKES: usize = 64;

/// Handshakes under way of one address: those who share it get through one after the other, and nobody holds all places with
/// handshakes that lead nowhere.
const HANDSHAKES_PER_ADDRESS: usize = 512;

impl Admission {
    pub(super) fn new(stats: ServerStats, connections: usize, workers: usize) -> Self {
        Self(Arc::new(Limits { stats, connections, busy: BUSY_HANDSHAKES * workers, handshakes: Addresses::default() }))
    }

    /// Hands back the attempt, with what counts it while it lives; otherwise it has been answered.
    pub(super) fn admit(&self, incoming: Incoming) -> Option<(Incoming, Admitted)> {
        let Limits { stats, connections, busy, handshakes } = &*self.0;
        if stats.handshakes_open() >= *busy && !incoming.remote_address_validated() {
            stats.retried();
            // It cannot fail: quinn allows it for every address that has not been validated.
            let _ = incoming.retry();
            return None;
        }
        let Some(handshake) = handshakes.enter(incoming.remote_address().ip(), HANDSHAKES_PER_ADDRESS) else {
            stats.ignored();
            // The client asks again by itself.
            incoming.ignore();
            return None;
        };
        match stats.open(*connections) {
            Some(open) => Some((incoming, Admitted { open, handshake: Some(handshake) })),
            None => {
                stats.refused();
                incoming.refuse();
                None
            }
        }
    }
}

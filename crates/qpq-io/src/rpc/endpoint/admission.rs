//! Whom the server lets in, which all its workers decide together.

use std::sync::Arc;

use quinn::Incoming;

use super::ServerStats;
use super::stats::OpenConnection;

/// Clones share one count.
#[derive(Clone)]
pub(super) struct Admission(Arc<Limits>);

struct Limits {
    stats: ServerStats,
    connections: usize,
    busy: usize,
}

/// Handshakes under way per worker from which on clients have to show first that their address is theirs. One costs up to
/// 0.8 ms of CPU, so this is a backlog that a person would not notice.
const BUSY_HANDSHAKES: usize = 64;

impl Admission {
    pub(super) fn new(stats: ServerStats, connections: usize, workers: usize) -> Self {
        Self(Arc::new(Limits { stats, connections, busy: BUSY_HANDSHAKES * workers }))
    }

    /// Hands back the attempt, with what counts it while it lives; otherwise it has been answered.
    pub(super) fn admit(&self, incoming: Incoming) -> Option<(Incoming, OpenConnection)> {
        let Limits { stats, connections, busy } = &*self.0;
        if stats.handshakes_open() >= *busy && !incoming.remote_address_validated() {
            stats.retried();
            // It cannot fail: quinn allows it for every address that has not been validated.
            let _ = incoming.retry();
            return None;
        }
        match stats.open(*connections) {
            Some(open) => Some((incoming, open)),
            None => {
                stats.refused();
                incoming.refuse();
                None
            }
        }
    }
}

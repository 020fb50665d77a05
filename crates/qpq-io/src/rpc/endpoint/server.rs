//! The accept loop.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use quinn::{Endpoint, Incoming, TokioRuntime};
use tokio::time::timeout;

use super::socket::ServerSocket;
use super::worker::{GRACE, LINGER, Worker};
use super::{Handler, ServerOptions, ServerStats};
use crate::Error;
use crate::rpc::close;
use crate::rpc::tls::ReloadableCertificate;
use crate::shutdown::Shutdown;

/// A server that is bound to its address. Nobody is answered before [`run`](Self::run).
pub struct Server {
    endpoint: Endpoint,
    local_address: SocketAddr,
    workers: usize,
    max_connections: usize,
    stats: ServerStats,
}

impl Server {
    /// Binds the UDP socket. Needs a tokio runtime, which has to run as long as the server does.
    ///
    /// # Errors
    /// [`Error::Io`] when the address cannot be used, [`Error::Config`].
    pub fn bind(options: ServerOptions, certificate: ReloadableCertificate) -> Result<Self, Error> {
        let failed = |e| Error::io(format!("cannot listen on {}", options.listen), e);
        let socket = std::net::UdpSocket::bind(options.listen).map_err(failed)?;
        let endpoint = Endpoint::new_with_abstract_socket(
            options.endpoint_config(),
            Some(options.server_config(&certificate)?),
            ServerSocket::new(socket).map_err(failed)?,
            Arc::new(TokioRuntime),
        )
        .map_err(failed)?;
        Ok(Self {
            local_address: endpoint.local_addr().map_err(failed)?,
            endpoint,
            workers: options.workers.max(1),
            max_connections: options.max_connections,
            stats: ServerStats::default(),
        })
    }

    /// The address that it listens on, with the real port.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Counters, which stay readable after the server has ended.
    pub fn stats(&self) -> ServerStats {
        self.stats.clone()
    }

    /// Serves until `shutdown` resolves; then accepts nobody any more, gives the handlers five seconds to finish, tells
    /// the clients, and returns when all worker threads are done (or one has hung: that one is left behind).
    ///
    /// # Errors
    /// [`Error::Io`] when worker threads cannot be started, [`Error::Closed`] when the socket has failed.
    pub async fn run(self, handler: Arc<dyn Handler>, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let (stop, quit) = (Shutdown::new(), Shutdown::new());
        let workers = (0..self.workers)
            .map(|index| Worker::start(index, handler.clone(), stop.signal(), quit.signal()))
            .collect::<Result<Vec<_>, _>>()?;

        let mut shutdown = pin!(shutdown);
        let outcome = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &workers),
                    None => break Err(Error::Closed("the UDP socket has failed".into())),
                },
            }
        };

        self.endpoint.set_server_config(None);
        stop.trigger();
        let ended = join_all(workers.into_iter().map(Worker::finish));
        if timeout(GRACE + LINGER + SLACK, ended).await.is_err() {
            tracing::error!("a worker thread hangs and is left behind");
        }
        self.endpoint.close(close::SHUTTING_DOWN, b"shutting down");
        let _ = timeout(SLACK, self.endpoint.wait_idle()).await;
        quit.trigger();
        outcome
    }

    fn admit(&self, incoming: Incoming, workers: &[Worker]) {
        if self.stats.connections_open() >= self.max_connections {
            self.stats.refused();
            return incoming.refuse();
        }
        if self.stats.handshakes_open() >= BUSY_HANDSHAKES * workers.len() && !incoming.remote_address_validated() {
            self.stats.retried();
            // It cannot fail: quinn allows it for every address that has not been validated.
            let _ = incoming.retry();
            return;
        }
        if let Some(worker) = workers.iter().min_by_key(|worker| worker.load()) {
            worker.deal(incoming, self.stats.open());
        }
    }
}

/// Handshakes under way per worker from which on clients have to show first that their address is theirs. One costs up to
/// 0.8 ms of CPU, so this is a backlog that a person would not notice.
const BUSY_HANDSHAKES: usize = 64;

/// For what should take no time.
const SLACK: Duration = Duration::from_secs(1);

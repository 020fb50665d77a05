//! The server as a whole.

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use quinn::ServerConfig;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::admission::Admission;
use super::exchange::Exchange;
use super::identifiers::{MOST_WORKERS, Seat};
use super::socket;
use super::worker::{Bound, Desk, End, GRACE, LINGER, Worker};
use super::{Handler, ServerOptions, ServerStats};
use crate::Error;
use crate::rpc::close;
use crate::rpc::tls::ReloadableCertificate;
use crate::shutdown::Shutdown;

/// A server that is bound to its address. Nobody is answered before [`run`](Self::run).
pub struct Server {
    options: ServerOptions,
    config: ServerConfig,
    sockets: Vec<UdpSocket>,
    local_address: SocketAddr,
    stats: ServerStats,
}

impl Server {
    /// Binds the UDP port.
    ///
    /// # Errors
    /// [`Error::Io`] when the address cannot be used, [`Error::Config`].
    pub fn bind(options: ServerOptions, certificate: ReloadableCertificate) -> Result<Self, Error> {
        let failed = |e| Error::io(format!("cannot listen on {}", options.listen), e);
        let sockets = socket::bind(options.listen, options.workers.clamp(1, MOST_WORKERS)).map_err(failed)?;
        Ok(Self {
            config: options.server_config(&certificate)?,
            local_address: sockets[0].local_addr().map_err(failed)?,
            sockets,
            options,
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
    /// [`Error::Io`] when worker threads cannot be started, [`Error::Closed`] when a socket has failed.
    pub async fn run(self, handler: Arc<dyn Handler>, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { options, config, sockets, stats, .. } = self;
        let (stop, quit) = (Shutdown::new(), Shutdown::new());
        let count = sockets.len();
        let exchange = Arc::new(Exchange::new(count));
        let admission = Admission::new(stats, options.max_connections, count);
        // Each worker says when it has ended, however it did.
        let (ending, mut ended) = mpsc::unbounded_channel();
        let mut workers = Vec::new();
        for (index, socket) in sockets.into_iter().enumerate() {
            let seat = Seat { index, workers: count };
            let socket = Bound { socket, seat, exchange: exchange.clone() };
            let config = (options.endpoint_config(seat), config.clone());
            let desk = Desk { handler: handler.clone(), admission: admission.clone(), shutdown: stop.signal() };
            workers.push(Worker::start(socket, config, desk, End(ending.clone()), quit.signal()).await?);
        }
        drop(ending);

        let mut shutdown = pin!(shutdown);
        let outcome = tokio::select! {
            () = &mut shutdown => Ok(()),
            _ = ended.recv() => Err(Error::Closed("a UDP socket or a worker thread has failed".into())),
        };

        workers.iter().for_each(|worker| worker.endpoint().set_server_config(None));
        stop.trigger();
        let all_ended = async { while ended.recv().await.is_some() {} };
        if timeout(GRACE + LINGER + SLACK, all_ended).await.is_err() {
            tracing::error!("a worker thread hangs and is left behind");
        }
        workers.iter().for_each(|worker| worker.endpoint().close(close::SHUTTING_DOWN, b"shutting down"));
        let idle = join_all(workers.iter().map(|worker| worker.endpoint().wait_idle()));
        let _ = timeout(SLACK, idle).await;
        quit.trigger();
        outcome
    }
}

/// For what should take no time.
const SLACK: Duration = Duration::from_secs(1);

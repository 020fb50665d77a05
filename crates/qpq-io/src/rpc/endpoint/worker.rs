//! Worker threads: each runs the connections that begin on its socket.

use std::net::UdpSocket;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, VarInt};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use super::ServerConnection;
use super::admission::{Admission, Admitted};
use super::exchange::Exchange;
use super::identifiers::Seat;
use super::socket::ServerSocket;
use crate::Error;
use crate::rpc::close;
use crate::shutdown::ShutdownSignal;

/// Serves connections. Runs on a worker thread: what it spawns with `spawn_local` stays there, and nothing in it may block.
pub trait Handler: Send + Sync + 'static {
    /// Serves one connection until the future ends, which closes it. When `shutdown` comes the handler lets running
    /// calls finish and returns; after five seconds it is dropped. A panic ends this connection only.
    fn serve(self: Arc<Self>, connection: ServerConnection, shutdown: ShutdownSignal) -> LocalBoxFuture<'static, ()>;
}

/// How long handlers may take to finish after shutdown was asked for.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How long a client may take to complete its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to read our last words and hang up before we do.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// RPC objects nest, and so do their destructors.
const STACK: usize = 8 * 1024 * 1024;

/// A worker's socket, and where it belongs.
pub(super) struct Bound {
    pub(super) socket: UdpSocket,
    pub(super) seat: Seat,
    pub(super) exchange: Arc<Exchange>,
}

/// Tells that a worker has ended, also when it panics: the kernel would go on dealing clients to it.
pub(super) struct End(pub(super) mpsc::UnboundedSender<()>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A worker as the server sees it.
pub(super) struct Worker(Endpoint);

impl Worker {
    /// The thread ends when `quit` comes after its desk has been told to stop.
    pub(super) async fn start(
        Bound { socket, seat, exchange }: Bound,
        (endpoint_config, server_config): (EndpointConfig, ServerConfig),
        desk: Desk,
        end: End,
        quit: ShutdownSignal,
    ) -> Result<Self, Error> {
        let failed = |e| Error::io("cannot start a worker thread", e);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (starting, started) = oneshot::channel();
        let life = async move {
            let end = end;
            let endpoint = ServerSocket::new(socket, seat, exchange).and_then(|socket| {
                Endpoint::new_with_abstract_socket(endpoint_config, Some(server_config), socket, Arc::new(TokioRuntime))
            });
            match endpoint {
                Ok(endpoint) => {
                    let _ = starting.send(Ok(endpoint.clone()));
                    desk.work(endpoint).await;
                }
                Err(error) => {
                    let _ = starting.send(Err(error));
                }
            }
            drop(end);
            // quinn's connection drivers live on this thread and still have to say goodbye.
            quit.wait().await;
        };
        thread::Builder::new()
            .name(format!("qpq-worker-{}", seat.index))
            .stack_size(STACK)
            .spawn(move || LocalSet::new().block_on(&runtime, life))
            .map_err(failed)?;
        let endpoint = started.await.map_err(|_| Error::Closed("a worker thread ended at once".into()))?;
        Ok(Self(endpoint.map_err(failed)?))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

/// What a worker thread needs for every connection.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) admission: Admission,
    pub(super) shutdown: ShutdownSignal,
}

impl Desk {
    async fn work(self, endpoint: Endpoint) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => {
                        if let Some((incoming, admitted)) = self.admission.admit(incoming) {
                            connections.spawn_local(self.clone().attend(incoming, admitted));
                        }
                    }
                    // The socket has failed.
                    None => break,
                },
                () = self.shutdown.wait() => break,
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }

    async fn attend(self, incoming: Incoming, mut admitted: Admitted) {
        let connection = tokio::select! {
            connection = handshake(incoming) => connection,
            () = self.shutdown.wait() => None,
        };
        let Some(connection) = connection else { return };
        admitted.established();
        let code = self.serve(connection.clone()).await;
        // A close discards what is still in flight, so the client gets a moment to read it and hang up itself. After a
        // panic the streams would look complete when they are not.
        if code != close::INTERNAL {
            let _ = timeout(LINGER, connection.closed()).await;
        }
        connection.close(code, b"");
    }

    /// Runs the handler; returns the code to close the connection with.
    async fn serve(&self, connection: Connection) -> VarInt {
        let connection = match ServerConnection::new(connection) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(%error, "a connection cannot be served");
                return close::INTERNAL;
            }
        };
        let handler = self.handler.clone();
        let shutdown = self.shutdown.clone();
        // The call is inside, so that a panic before the first await is caught as well.
        let serve = AssertUnwindSafe(async move { handler.serve(connection, shutdown).await }).catch_unwind();
        let outcome = tokio::select! {
            outcome = serve => outcome,
            () = self.grace_over() => return close::SHUTTING_DOWN,
        };
        match outcome {
            Err(_) => {
                tracing::error!("a connection ended in a panic");
                close::INTERNAL
            }
            Ok(()) if self.shutdown.is_triggered() => close::SHUTTING_DOWN,
            Ok(()) => close::DONE,
        }
    }

    async fn grace_over(&self) {
        self.shutdown.wait().await;
        sleep(GRACE).await;
    }
}

async fn handshake(incoming: Incoming) -> Option<Connection> {
    let connecting = incoming.accept().ok()?;
    match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("handshake took too long");
            None
        }
    }
}

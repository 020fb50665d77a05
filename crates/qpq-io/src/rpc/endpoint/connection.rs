//! A connection from a client.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use crate::Error;
use crate::rpc::connect::exporter;
use crate::rpc::{close, transport};

/// An established connection. Clones are handles to the same one; when the [`Handler`](super::Handler) returns it is
/// closed.
#[derive(Clone)]
pub struct ServerConnection {
    connection: Connection,
    exporter: [u8; 32],
}

impl ServerConnection {
    pub(super) fn new(connection: Connection) -> Result<Self, Error> {
        Ok(Self { exporter: exporter(&connection)?, connection })
    }

    /// Where the client is now; it may move. Rate limits count by this.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The channel binding of this connection (`tls-exporter`, RFC 9266): the same at both ends, and on no other connection.
    pub fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    /// How many packets have come from the client: a sign of life even while it has nothing to say.
    pub fn packets_received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// The client has shown who it is: from now on it may send as far ahead as the server sends.
    pub fn trust(&self) {
        self.connection.set_receive_window(transport::CONNECTION_WINDOW);
    }

    /// The next byte stream that the client opens; it has ten seconds to do so.
    ///
    /// # Errors
    /// [`Error::Timeout`] (the connection stays open), [`Error::Closed`].
    pub async fn accept_stream(&self) -> Result<(SendStream, RecvStream), Error> {
        const DEADLINE: Duration = Duration::from_secs(10);
        match timeout(DEADLINE, self.connection.accept_bi()).await {
            Ok(accepted) => accepted.map_err(close::closed),
            Err(_) => Err(Error::Timeout("the client opens no stream".into())),
        }
    }

    /// Waits for the end of the connection: [`Error::Closed`] with the reason.
    pub async fn closed(&self) -> Error {
        close::closed(self.connection.closed().await)
    }

    /// Closes the connection at once: what has not been acknowledged yet is lost. The client is told `reason`.
    pub fn close(&self, reason: &str) {
        self.connection.close(close::DONE, reason.as_bytes());
    }
}

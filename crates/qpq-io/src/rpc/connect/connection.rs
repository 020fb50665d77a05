//! A connection to a server.

use quinn::{Connection, Endpoint, RecvStream, SendStream};

use crate::Error;
use crate::rpc::close;
use crate::rpc::pin::Verified;
use crate::rpc::tls::Fingerprint;

/// An established connection. It keeps itself alive (every 15 s) and follows the client to other networks; without any
/// answer for 45 s it is over. Dropping it, and the streams, closes it.
pub struct ClientConnection {
    pub(super) connection: Connection,
    /// The socket of this connection alone.
    pub(super) endpoint: Endpoint,
    pub(super) verified: Verified,
    pub(super) fingerprint: Fingerprint,
    pub(super) exporter: [u8; 32],
}

impl ClientConnection {
    /// The channel binding of this connection (`tls-exporter`, RFC 9266): the same at both ends, and on no other connection.
    pub fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    /// The fingerprint of the server's certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Why that certificate was accepted.
    pub fn verified(&self) -> Verified {
        self.verified
    }

    /// Opens a byte stream in both directions. The server sees it with the first byte that is written.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn open_stream(&self) -> Result<(SendStream, RecvStream), Error> {
        self.connection.open_bi().await.map_err(close::closed)
    }

    /// Waits for the end of the connection: [`Error::Closed`] with the reason.
    pub async fn closed(&self) -> Error {
        close::closed(self.connection.closed().await)
    }

    /// Closes the connection at once: what has not been acknowledged yet is lost. The server is told `reason`.
    pub fn close(&self, reason: &str) {
        self.connection.close(close::DONE, reason.as_bytes());
    }

    /// Closes the connection as [`close`](Self::close) does, and waits until the server can have heard of it: up to three
    /// round trips. Call it before the process ends.
    pub async fn close_and_wait(self, reason: &str) {
        self.close(reason);
        self.endpoint.wait_idle().await;
    }
}

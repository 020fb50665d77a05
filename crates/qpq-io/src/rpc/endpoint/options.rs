//! What a server is started with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, IdleTimeout, ServerConfig};

use super::identifiers::{RandomIdentifiers, ResetKey, Seat};
use crate::Error;
use crate::rpc::tls::{ReloadableCertificate, server_tls_config};
use crate::rpc::transport;
use crate::secret::Secret;

/// Settings of a [`Server`](super::Server).
pub struct ServerOptions {
    /// The UDP address to listen on. Port 0 takes any free one; `[::]` takes IPv4 too where the system allows it.
    pub listen: SocketAddr,
    /// Worker threads, from one to 256: as many as there are cores to use. Systems other than Linux use one.
    pub workers: usize,
    /// Connections at a time, handshakes included; more are refused. Each costs about 50 KiB while idle.
    pub max_connections: usize,
    /// Keep it across restarts: with it clients learn at once that their connections did not survive.
    pub reset_key: Secret<64>,
    /// How long a connection may be silent; clients keep themselves alive every 15 s.
    pub idle_timeout: Duration,
}

/// Handshakes that quinn queues before we have looked at them.
const MAX_INCOMING: usize = 1024;

/// Bytes of early packets kept for one of those: a client's first flight, with a hybrid key share, is under 3 KiB.
const INCOMING_BUFFER: u64 = 64 * 1024;

/// The same for all of them.
const INCOMING_BUFFER_TOTAL: u64 = 16 * 1024 * 1024;

/// Between two notices of one worker that a connection is unknown here: after a restart every client needs one.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

impl ServerOptions {
    pub(super) fn endpoint_config(&self, seat: Seat) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(ResetKey::new(&self.reset_key)));
        config.cid_generator(move || Box::new(RandomIdentifiers(seat)));
        config.min_reset_interval(RESET_INTERVAL);
        config
    }

    pub(super) fn server_config(&self, certificate: &ReloadableCertificate) -> Result<ServerConfig, Error> {
        let idle = IdleTimeout::try_from(self.idle_timeout)
            .map_err(|_| Error::Config("the idle timeout is too long for QUIC".into()))?;
        let crypto = QuicServerConfig::try_from(server_tls_config(certificate)?)
            .map_err(|e| Error::Config(format!("TLS settings do not suit QUIC: {e}")))?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(transport::server(idle))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
        Ok(config)
    }
}

//! Establishing a connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime};
use rustls::pki_types::CertificateDer;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::socket::ClientSocket;
use super::{ClientConnection, ServerAddress};
use crate::Error;
use crate::rpc::pin::{Policy, ServerTrust, Verifier};
use crate::rpc::tls::{Fingerprint, client_tls_config};
use crate::rpc::{close, transport};

/// Connects to servers under one trust decision; root certificates are loaded once.
pub struct Connector {
    policy: Arc<Policy>,
}

impl Connector {
    /// # Errors
    /// [`Error::Io`] or [`Error::CertificateInvalid`] when the CA file cannot be used.
    pub fn new(trust: ServerTrust) -> Result<Self, Error> {
        Ok(Self { policy: Arc::new(Policy::load(trust)?) })
    }

    /// Connects to the server at whichever of its addresses answers first, within ten seconds. Needs a tokio runtime, and
    /// the connection lives on that one.
    ///
    /// # Errors
    /// [`Error::CertificateChanged`] and [`Error::CertificateInvalid`] when somebody answers who is not trusted;
    /// [`Error::Incompatible`]; [`Error::Offline`] and [`Error::Timeout`] when nobody answers.
    pub async fn connect(&self, server: &ServerAddress) -> Result<ClientConnection, Error> {
        let attempt = Box::pin(self.race(server));
        match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout(format!("{server} does not answer"))),
        }
    }

    /// Starts with the next address when one has failed or is slow ("happy eyeballs", RFC 8305); the first success wins.
    async fn race(&self, server: &ServerAddress) -> Result<ClientConnection, Error> {
        let mut addresses = resolve(server).await?.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut last_error = Error::Offline { context: format!("{server} has no address") };
        loop {
            let next = addresses.next();
            let exhausted = next.is_none();
            attempts.extend(next.map(|address| Box::pin(self.attempt(server, address))));
            tokio::select! {
                outcome = attempts.next() => match outcome {
                    Some(Ok(connection)) => return Ok(connection),
                    Some(Err(error)) if is_final(&error) => return Err(error),
                    Some(Err(error)) => last_error = error,
                    None => return Err(last_error),
                },
                () = sleep(STAGGER), if !exhausted => {}
            }
        }
    }

    async fn attempt(&self, server: &ServerAddress, address: SocketAddr) -> Result<ClientConnection, Error> {
        let verifier = Arc::new(Verifier::new(self.policy.clone()));
        let config = client_config(verifier.clone())?;
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = ClientSocket::bind(local)
            .and_then(|socket| {
                Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
            })
            .map_err(|e| Error::Offline { context: format!("cannot open a UDP socket: {e}") })?;
        let outcome = endpoint
            .connect_with(config, address, &server.host)
            .map_err(|e| Error::Offline { context: format!("{server}: {e}") })?
            .await;
        let decision = verifier.decision();
        let connection = match (outcome, decision) {
            (Ok(connection), _) => connection,
            (Err(_), Some(Err(refused))) => return Err(refused),
            (Err(error), _) => return Err(close::not_established(&server.to_string(), error)),
        };
        let verified = verifier
            .decision()
            .unwrap_or_else(|| Err(Error::CertificateInvalid("the server presented none".into())))?;
        Ok(ClientConnection {
            verified,
            fingerprint: peer_fingerprint(&connection)?,
            exporter: exporter(&connection)?,
            connection,
            endpoint,
        })
    }
}

/// Long enough for a handshake over a bad mobile network, short enough to look elsewhere.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an address may take before the next one is tried beside it (RFC 8305 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// RFC 9266.
const CHANNEL_BINDING: &[u8] = b"EXPORTER-Channel-Binding";

/// The channel binding of a connection, at either end.
pub(in crate::rpc) fn exporter(connection: &Connection) -> Result<[u8; 32], Error> {
    let mut binding = [0; 32];
    connection
        .export_keying_material(&mut binding, CHANNEL_BINDING, b"")
        .map_err(|_| Error::Closed("the handshake gave no channel binding".into()))?;
    Ok(binding)
}

/// IPv6 and IPv4 in turn, beginning with what the resolver prefers.
async fn resolve(server: &ServerAddress) -> Result<Vec<SocketAddr>, Error> {
    let found = lookup_host((server.host.as_str(), server.port))
        .await
        .map_err(|e| Error::Offline { context: format!("cannot find {server}: {e}") })?;
    let found: Vec<_> = found.collect();
    let prefers_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|a| a.is_ipv6() == prefers_v6);
    let longest = preferred.len().max(other.len());
    Ok((0..longest).flat_map(|i| [preferred.get(i), other.get(i)]).flatten().copied().collect())
}

fn client_config(verifier: Arc<Verifier>) -> Result<ClientConfig, Error> {
    let crypto = QuicClientConfig::try_from(client_tls_config(verifier)?)
        .map_err(|e| Error::Config(format!("TLS settings do not suit QUIC: {e}")))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport::client());
    Ok(config)
}

fn peer_fingerprint(connection: &Connection) -> Result<Fingerprint, Error> {
    connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .and_then(|chain| chain.first().map(|certificate| Fingerprint::of(certificate)))
        .ok_or_else(|| Error::CertificateInvalid("the server presented none".into()))
}

/// Somebody who is not the server answers under its name: no other address makes that good.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::CertificateChanged { .. } | Error::CertificateInvalid(_) | Error::Config(_))
}

//! TLS as both ends use it: version 1.3, and key exchange with X25519MLKEM768 only, so that nobody in between can talk
//! two ends into a classic one. Sessions are never resumed: every connection shows and checks the certificate.

mod certificate;
mod expiry;
mod fingerprint;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::Error;

pub use certificate::{ReloadableCertificate, ServerCertificate};
pub use fingerprint::Fingerprint;

/// What both ends ask for in the handshake (RFC 7301).
pub const ALPN: &[u8] = b"qpq/1";

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768], ..aws_lc_rs::default_provider() })
}

pub(super) fn server_tls_config(certificate: &ReloadableCertificate) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unsupported)?
        .with_no_client_auth()
        .with_cert_resolver(certificate.resolver());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(super) fn client_tls_config(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unsupported)?
        // Ours checks more than the usual one, not less: see `pin`.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn unsupported(error: rustls::Error) -> Error {
    Error::Config(format!("TLS 1.3 is not available: {error}"))
}

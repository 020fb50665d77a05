//! Why connections end, on the wire and as errors.

use quinn::{ConnectionError, VarInt};

use crate::Error;

/// The sender is done, or has nothing to add.
pub(super) const DONE: VarInt = VarInt::from_u32(0);
/// The server is shutting down: connect again in a moment.
pub(super) const SHUTTING_DOWN: VarInt = VarInt::from_u32(1);
/// A panic ended the connection.
pub(super) const INTERNAL: VarInt = VarInt::from_u32(2);

/// What a TLS alert adds to, as a QUIC transport error code (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;
const ALERT_HANDSHAKE_FAILURE: u64 = CRYPTO_ERROR + 40;
const ALERT_PROTOCOL_VERSION: u64 = CRYPTO_ERROR + 70;
const ALERT_NO_APPLICATION_PROTOCOL: u64 = CRYPTO_ERROR + 120;
/// RFC 9000, section 20.1.
const CONNECTION_REFUSED: u64 = 0x02;

/// The end of an established connection.
pub(super) fn closed(error: ConnectionError) -> Error {
    match error {
        ConnectionError::TimedOut => Error::Closed("the other end does not answer any more".into()),
        ConnectionError::LocallyClosed => Error::Closed("by us".into()),
        ConnectionError::Reset => Error::Closed("the other end was restarted".into()),
        ConnectionError::ApplicationClosed(close) if close.error_code == SHUTTING_DOWN => {
            Error::Closed("the server is shutting down".into())
        }
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => {
            Error::Closed("by the other end".into())
        }
        ConnectionError::ApplicationClosed(close) => Error::Closed(String::from_utf8_lossy(&close.reason).into_owned()),
        other => Error::Closed(other.to_string()),
    }
}

/// A connection that did not come about.
pub(super) fn not_established(server: &str, error: ConnectionError) -> Error {
    let code = match &error {
        ConnectionError::ConnectionClosed(close) => Some(u64::from(close.error_code)),
        ConnectionError::TransportError(error) => Some(u64::from(error.code)),
        _ => None,
    };
    match (code, error) {
        (Some(ALERT_NO_APPLICATION_PROTOCOL), _) => {
            Error::Incompatible(format!("{server} does not speak this protocol (or not this version of it)"))
        }
        (Some(ALERT_HANDSHAKE_FAILURE | ALERT_PROTOCOL_VERSION), _) => {
            Error::Incompatible(format!("{server} does not offer X25519MLKEM768 over TLS 1.3"))
        }
        (_, ConnectionError::VersionMismatch) => Error::Incompatible(format!("{server} does not speak QUIC version 1")),
        (Some(CONNECTION_REFUSED), _) => {
            Error::Offline { context: format!("{server} is full and refuses new connections") }
        }
        (_, ConnectionError::TimedOut) => Error::Timeout(format!("{server} does not answer")),
        (_, error) => Error::Offline { context: format!("{server}: {error}") },
    }
}

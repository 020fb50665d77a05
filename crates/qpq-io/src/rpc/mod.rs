//! Connections: QUIC with TLS 1.3 and hybrid post-quantum key exchange below, Cap'n Proto RPC above. The vats do not
//! depend on the QUIC parts: they speak over any pair of byte streams.

pub mod frame;
pub mod vat;

pub mod pin;
pub mod tls;

mod close;
pub mod receive_buffer;
mod transport;

pub mod connect;
pub mod endpoint;

//! Connection identifiers and stateless resets: after a restart, clients are told that their connection is gone instead
//! of waiting for their idle timeout (RFC 9000, section 10.3).

use std::time::Duration;

use hkdf::hmac::{Hmac, KeyInit, Mac};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator};
use sha2::Sha256;

use crate::secret::Secret;

/// HMAC-SHA256 under a key that stays the same across restarts.
pub(super) struct ResetKey(Hmac<Sha256>);

impl ResetKey {
    pub(super) fn new(key: &Secret<64>) -> Self {
        Self(Hmac::new_from_slice(key.expose()).expect("HMAC takes keys of any length"))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let signature = self.0.clone().chain_update(data).finalize().into_bytes();
        signature_out.copy_from_slice(&signature);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.0.clone().chain_update(data).verify_slice(signature).map_err(|_| CryptoError)
    }
}

/// Which of the workers: each has a socket, and the connections that were begun on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) index: usize,
    /// At most [`MOST_WORKERS`].
    pub(super) workers: usize,
}

/// As many as the first byte of an identifier can tell apart.
pub(super) const MOST_WORKERS: usize = 256;

impl Seat {
    /// The worker that has the connection of a datagram. None: whoever got it keeps it. Long headers (RFC 9000, section
    /// 17.2) belong to handshakes, during which clients do not change their address.
    pub(super) fn owner(self, datagram: &[u8]) -> Option<usize> {
        let [header, identifier, ..] = *datagram else { return None };
        let is_long = header & 0x80 != 0;
        (!is_long).then_some(usize::from(identifier) % self.workers)
    }

    /// The first byte of an identifier, changed as little as needed to be this worker's.
    fn mark(self, byte: u8) -> u8 {
        let byte = usize::from(byte);
        let marked = byte - byte % self.workers + self.index;
        u8::try_from(marked).unwrap_or_else(|_| (marked - self.workers) as u8)
    }
}

/// Random identifiers, of which the first byte says whose they are. quinn's own generator drops what it did not make
/// itself, so that after a restart no client would ever get a reset.
pub(super) struct RandomIdentifiers(pub(super) Seat);

const LENGTH: usize = 8;

impl ConnectionIdGenerator for RandomIdentifiers {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
        bytes[0] = self.0.mark(bytes[0]);
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_depend_on_key_and_data() {
        let sign = |key: u8, data: &[u8]| {
            let mut signature = [0; 32];
            ResetKey::new(&Secret::new([key; 64])).sign(data, &mut signature);
            signature
        };
        assert_eq!(sign(1, b"a"), sign(1, b"a"));
        assert_ne!(sign(1, b"a"), sign(2, b"a"));
        assert_ne!(sign(1, b"a"), sign(1, b"b"));
        let key = ResetKey::new(&Secret::new([1; 64]));
        assert!(key.verify(b"a", &sign(1, b"a")).is_ok());
        assert!(key.verify(b"b", &sign(1, b"a")).is_err());
    }

    #[test]
    fn identifiers_say_whose_they_are() {
        for workers in [1, 2, 3, 7, 255, MOST_WORKERS] {
            for index in [0, workers / 2, workers - 1] {
                let seat = Seat { index, workers };
                for byte in 0..=255 {
                    assert_eq!(seat.owner(&[0x40, seat.mark(byte)]), Some(index), "{seat:?} {byte}");
                }
                let identifier = RandomIdentifiers(seat).generate_cid();
                assert_eq!(seat.owner(&[&[0x5f], &identifier[..]].concat()), Some(index));
                assert_eq!(seat.owner(&[&[0xc0], &identifier[..]].concat()), None, "a long header");
            }
        }
        assert_eq!(Seat { index: 0, workers: 2 }.owner(&[0x40]), None, "too short for one");
    }
}

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

/// Random identifiers. quinn's own generator drops what it did not make itself, so that after a restart no client would
/// ever get a reset.
pub(super) struct RandomIdentifiers;

const LENGTH: usize = 8;

impl ConnectionIdGenerator for RandomIdentifiers {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
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
}

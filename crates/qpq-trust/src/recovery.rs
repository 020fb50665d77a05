//! The proof of who has the recovery phrase: a signature over the exporter value of one connection.

use ed25519_dalek::Signer as _;

use crate::error::TrustError;
use crate::identity::verify_ed25519;

/// The public half of the key with this seed.
pub fn public_key(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// Signs the exporter value of this connection with the recovery key.
pub fn sign(seed: &[u8; 32], exporter: &[u8; 32]) -> [u8; 64] {
    ed25519_dalek::SigningKey::from_bytes(seed).sign(&message(exporter)).to_bytes()
}

/// Checks it.
///
/// # Errors
/// [`TrustError::NotAuthentic`].
pub fn verify(key: &[u8; 32], exporter: &[u8; 32], proof: &[u8]) -> Result<(), TrustError> {
    let proof = proof.try_into().map_err(|_| TrustError::NotAuthentic("length of a recovery proof"))?;
    verify_ed25519(key, &message(exporter), proof)
}

fn message(exporter: &[u8; 32]) -> Vec<u8> {
    [b"quicproquo recovery proof 1\0".as_slice(), exporter].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_connection_and_one_phrase() {
        let proof = sign(&[7; 32], &[1; 32]);
        let key = public_key(&[7; 32]);
        assert_eq!(verify(&key, &[1; 32], &proof), Ok(()));
        assert!(verify(&key, &[2; 32], &proof).is_err());
        assert!(verify(&public_key(&[8; 32]), &[1; 32], &proof).is_err());
        assert!(verify(&key, &[1; 32], &proof[..63]).is_err());
    }
}

//! The device proof: a signature over the TLS exporter value of one connection (RFC 9266), worthless on any other.

use ed25519_dalek::Signer as _;

use qpq_proto::keys::DeviceRecord;

use crate::error::TrustError;
use crate::identity::verify_ed25519;

/// Signs the exporter value of this connection with the device's key.
pub fn sign(device_key: &[u8; 32], exporter: &[u8; 32]) -> [u8; 64] {
    ed25519_dalek::SigningKey::from_bytes(device_key).sign(&message(exporter)).to_bytes()
}

/// Checks the proof of `device` for this connection.
///
/// # Errors
/// [`TrustError::NotAuthentic`].
pub fn verify(device: &DeviceRecord, exporter: &[u8; 32], proof: &[u8]) -> Result<(), TrustError> {
    let proof = proof.try_into().map_err(|_| TrustError::NotAuthentic("length of a device proof"))?;
    verify_ed25519(&device.signature_key, &message(exporter), proof)
}

/// Whether `message`, which begins with a domain string of its own, was signed with this Ed25519 key.
pub fn is_signed(signature_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    verify_ed25519(signature_key, message, signature).is_ok()
}

fn message(exporter: &[u8; 32]) -> Vec<u8> {
    [b"quicproquo device proof 1\0".as_slice(), exporter].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_connection_and_one_device() {
        let key = [7; 32];
        let record = |key: &[u8; 32]| DeviceRecord {
            signature_key: ed25519_dalek::SigningKey::from_bytes(key).verifying_key().to_bytes(),
            envelope_key: vec![],
            name: String::new(),
        };
        let proof = sign(&key, &[1; 32]);
        assert_eq!(verify(&record(&key), &[1; 32], &proof), Ok(()));
        assert!(verify(&record(&key), &[2; 32], &proof).is_err());
        assert!(verify(&record(&[8; 32]), &[1; 32], &proof).is_err());
        assert!(verify(&record(&key), &[1; 32], &proof[..63]).is_err());
    }
}

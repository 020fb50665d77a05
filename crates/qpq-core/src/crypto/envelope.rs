//! Envelopes: what is addressed to one device, sealed to its X-Wing key
//! (X-Wing → HKDF-SHA256 → ChaCha20-Poly1305, padded). Who sent it is authenticated inside.

use hkdf::Hkdf;
use qpq_proto::ids::DeviceId;
use sha2::Sha256;
use x_wing::{Decapsulate as _, DecapsulationKey, Encapsulate as _, EncapsulationKey, KeyExport as _};
use zeroize::Zeroizing;

use super::Unopenable;

/// The secret half of a device's envelope key: an X-Wing seed.
pub struct EnvelopeKey(DecapsulationKey);

impl EnvelopeKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(DecapsulationKey::from(*seed))
    }

    /// The public half, 1216 bytes, as manifests list it.
    pub fn public(&self) -> Vec<u8> {
        use x_wing::Decapsulator as _;
        self.0.encapsulation_key().to_bytes().to_vec()
    }

    /// Opens an envelope that was sealed to `device` with this key.
    ///
    /// # Errors
    /// [`Unopenable`] for anything else.
    pub fn open(&self, device: DeviceId, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let (format, rest) = envelope.split_first().ok_or(Unopenable)?;
        let (encapsulated, sealed) = rest.split_at_checked(CIPHERTEXT).ok_or(Unopenable)?;
        if *format != FORMAT {
            return Err(Unopenable);
        }
        let ciphertext = x_wing::Ciphertext::try_from(encapsulated).map_err(|_| Unopenable)?;
        let shared = self.0.decapsulate(&ciphertext);
        let key = derive(shared.as_slice(), encapsulated);
        let mut plaintext = super::open(&key, &device.0, sealed)?;
        unpad(&mut plaintext)?;
        Ok(plaintext)
    }
}

/// Seals `plaintext` to the envelope key of `device`.
///
/// # Errors
/// [`SealError`] when the key is no X-Wing key, or without random numbers.
pub fn seal(device: DeviceId, public_key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let key = EncapsulationKey::try_from(public_key).map_err(|_| SealError::Key)?;
    let (encapsulated, shared) = key.encapsulate();
    let encapsulated = encapsulated.as_slice();
    let key = derive(shared.as_slice(), encapsulated);
    let sealed = super::seal(&key, &device.0, &pad(plaintext))?;
    Ok([&[FORMAT], encapsulated, &sealed].concat())
}

/// Whether these bytes are an X-Wing key at all; of the right length they always are in a manifest.
pub fn is_key(public_key: &[u8]) -> bool {
    EncapsulationKey::try_from(public_key).is_ok()
}

/// Why nothing could be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the envelope key is no X-Wing key")]
    Key,
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

fn derive(shared: &[u8], encapsulated: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(encapsulated), shared)
        .expand(b"quicproquo envelope 1", &mut key[..])
        .expect("32 bytes are within what HKDF can give");
    key
}

/// One byte 0x80, then zeros up to a multiple of [`BLOCK`]: the length says little about the content.
fn pad(plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(plaintext.to_vec());
    padded.push(0x80);
    let length = padded.len().next_multiple_of(BLOCK);
    padded.resize(length, 0);
    padded
}

fn unpad(padded: &mut Vec<u8>) -> Result<(), Unopenable> {
    while padded.last() == Some(&0) {
        padded.pop();
    }
    if padded.pop() == Some(0x80) { Ok(()) } else { Err(Unopenable) }
}

const FORMAT: u8 = 1;
const CIPHERTEXT: usize = 1120;
const BLOCK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Its test vectors: seed and public key, ciphertext and shared secret.
    #[test]
    fn the_kem_is_that_of_the_draft() {
        let vectors = include_str!("../../tests/vectors/x-wing.json");
        let vectors: Vec<std::collections::HashMap<String, String>> = serde_json::from_str(vectors).expect("JSON");
        assert!(!vectors.is_empty());
        for vector in vectors {
            let bytes = |name: &str| hex::decode(&vector[name]).expect("hexadecimal");
            let key = EnvelopeKey::from_seed(&bytes("seed").try_into().expect("32 bytes"));
            assert_eq!(key.public(), bytes("pk"));
            let public = EncapsulationKey::try_from(&bytes("pk")[..]).expect("a key");
            let random = bytes("eseed").as_slice().try_into().expect("64 bytes");
            let (ciphertext, shared) = public.encapsulate_deterministic(&random);
            assert_eq!((ciphertext.as_slice(), shared.as_slice()), (&bytes("ct")[..], &bytes("ss")[..]));
            assert_eq!(key.0.decapsulate(&ciphertext).as_slice(), bytes("ss"));
        }
    }

    /// An envelope of the first version.
    #[test]
    fn envelopes_that_were_sealed_once_stay_readable() {
        let envelope = hex::decode(include_str!("../../tests/vectors/envelope.hex").trim()).expect("hexadecimal");
        let opened = EnvelopeKey::from_seed(&[2; 32]).open(DeviceId([1; 16]), &envelope);
        assert_eq!(opened.expect("an old envelope").as_slice(), b"welcome");
    }

    #[test]
    fn only_the_addressee_opens_an_envelope() {
        let device = DeviceId([1; 16]);
        let key = EnvelopeKey::from_seed(&[2; 32]);
        let envelope = seal(device, &key.public(), b"welcome").expect("own key");
        assert_eq!(envelope.len(), 1 + CIPHERTEXT + 12 + BLOCK + 16);
        assert_eq!(key.open(device, &envelope).expect("own envelope").as_slice(), b"welcome");
        assert!(key.open(DeviceId([2; 16]), &envelope).is_err());
        assert!(EnvelopeKey::from_seed(&[3; 32]).open(device, &envelope).is_err());
        for position in [0, 1, 500, 1121, envelope.len() - 1] {
            let mut changed = envelope.clone();
            changed[position] ^= 1;
            assert!(key.open(device, &changed).is_err(), "byte {position}");
        }
        assert!(key.open(device, &[]).is_err());
        assert!(seal(device, &[0; 10], b"x").is_err());
    }
}

//! The encryption of one part, after STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance"): the nonce is the number of the part and whether it is the last one, so that none can
//! be left out, exchanged, repeated or cut off at the end. Each file has a key of its own, and with it one plaintext.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use qpq_io::secret::Secret;

/// The key of one file.
pub struct Cipher(ChaCha20Poly1305);

/// Which part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub index: u32,
    pub is_last: bool,
}

impl Cipher {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(&Key::from(*key)))
    }

    pub fn seal(&self, place: Place, plain: &[u8]) -> Vec<u8> {
        self.0
            .encrypt(&place.nonce(), Payload { msg: plain, aad: CONTEXT })
            .expect("a part is far below the cipher's limit of 256 GiB")
    }

    /// None: not what was sealed with this key for this place.
    pub fn open(&self, place: Place, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(&place.nonce(), Payload { msg: sealed, aad: CONTEXT }).ok()
    }
}

impl Place {
    fn nonce(self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[7..11].copy_from_slice(&self.index.to_be_bytes());
        nonce[11] = u8::from(self.is_last);
        Nonce::from(nonce)
    }
}

/// A key for one file.
pub fn fresh_key() -> Secret<32> {
    Secret::random()
}

const CONTEXT: &[u8] = b"quicproquo file 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_opens_only_unchanged_and_in_its_place() {
        let cipher = Cipher::new(&[7; 32]);
        let place = Place { index: 3, is_last: false };
        let sealed = cipher.seal(place, b"some bytes");
        assert_eq!(sealed.len(), 10 + qpq_proto::blobs::TAG);
        assert_eq!(cipher.open(place, &sealed).as_deref(), Some(&b"some bytes"[..]));
        for wrong in [
            Place { index: 2, is_last: false },
            Place { index: 4, is_last: false },
            Place { index: 3, is_last: true },
            Place { index: 3 << 8, is_last: false },
        ] {
            assert_eq!(cipher.open(wrong, &sealed), None, "{wrong:?}");
        }
        for length in 0..sealed.len() {
            assert_eq!(cipher.open(place, &sealed[..length]), None, "cut to {length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open(place, &changed), None, "bit {bit}");
        }
        assert_eq!(Cipher::new(&[8; 32]).open(place, &sealed), None);
    }

    /// What is on servers must stay readable.
    #[test]
    fn the_bytes_of_a_part_do_not_change() {
        let sealed = Cipher::new(&[1; 32]).seal(Place { index: 1, is_last: true }, b"abc");
        assert_eq!(sealed, EXPECTED);
    }

    const EXPECTED: [u8; 19] =
        [121, 133, 235, 24, 255, 36, 242, 241, 77, 201, 133, 192, 69, 227, 216, 229, 130, 132, 71];
}

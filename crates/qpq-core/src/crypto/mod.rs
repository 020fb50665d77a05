//! Cryptography outside MLS: envelopes to one device, the key file, the names of groups, whispers, and transcripts.

pub mod envelope;
pub mod group_name;
pub mod key_file;
pub mod phrase;
pub mod recovery;
pub mod transcript;
pub mod whisper;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};

/// Something sealed cannot be opened: wrong key, or changed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be opened: wrong key, or the bytes were changed")]
pub struct Unopenable;

/// ChaCha20-Poly1305 (RFC 8439): nonce and ciphertext in one.
pub(crate) fn seal(key: &[u8; 32], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce)?;
    let sealed = ChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad })
        .expect("the plaintext is far below the cipher's limit of 256 GiB");
    Ok([&nonce[..], &sealed].concat())
}

/// The opposite of [`seal`].
pub(crate) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, Unopenable> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<12>().ok_or(Unopenable)?;
    ChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad })
        .map(zeroize::Zeroizing::new)
        .map_err(|_| Unopenable)
}

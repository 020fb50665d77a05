//! The recovery phrase of an identity, and what the server keeps for whoever has it.
//!
//! The phrase follows from the identity's keys, so that every device shows the same one. The record is those keys, sealed
//! under the phrase: 256 bits that nobody can guess, so no password stretching is needed.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Unopenable, open, seal};

/// What the words stand for.
pub struct RecoverySecret(Zeroizing<[u8; 32]>);

impl RecoverySecret {
    /// Of the identity with these seeds.
    pub fn of_identity(identity_keys: &[u8; 64]) -> Self {
        Self(derive(identity_keys, b"quicproquo recovery phrase 1"))
    }

    /// Of these words.
    ///
    /// # Errors
    /// [`super::phrase::PhraseError`].
    pub fn of_words(words: &str) -> Result<Self, super::phrase::PhraseError> {
        super::phrase::entropy(words).map(Self)
    }

    /// To be written down.
    pub fn words(&self) -> Zeroizing<String> {
        super::phrase::words(&self.0)
    }

    /// The Ed25519 seed that proves the phrase to the server.
    pub fn proof_seed(&self) -> Zeroizing<[u8; 32]> {
        derive(&self.0[..], b"quicproquo recovery proof key 1")
    }

    /// The record for the server.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn seal(&self, identity_keys: &[u8; 64]) -> Result<Vec<u8>, getrandom::Error> {
        let sealed = seal(&self.sealing_key(), RECORD, identity_keys)?;
        Ok([&[FORMAT], &sealed[..]].concat())
    }

    /// The identity's seeds.
    ///
    /// # Errors
    /// [`Unopenable`].
    pub fn open(&self, record: &[u8]) -> Result<Zeroizing<[u8; 64]>, Unopenable> {
        let (format, sealed) = record.split_first().ok_or(Unopenable)?;
        if *format != FORMAT {
            return Err(Unopenable);
        }
        let opened = open(&self.sealing_key(), RECORD, sealed)?;
        opened[..].try_into().map(Zeroizing::new).map_err(|_| Unopenable)
    }

    fn sealing_key(&self) -> Zeroizing<[u8; 32]> {
        derive(&self.0[..], b"quicproquo recovery sealing key 1")
    }
}

fn derive(secret: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret).expand(label, &mut key[..]).expect("32 bytes are within what HKDF can give");
    key
}

const FORMAT: u8 = 1;
const RECORD: &[u8] = b"quicproquo recovery record 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_bring_the_keys_back_and_others_do_not() {
        let secret = RecoverySecret::of_identity(&[5; 64]);
        let record = secret.seal(&[5; 64]).expect("random numbers");
        let typed = RecoverySecret::of_words(&secret.words()).expect("own words");
        assert_eq!(*typed.open(&record).expect("own record"), [5; 64]);
        assert_eq!(*typed.proof_seed(), *secret.proof_seed());
        let other = RecoverySecret::of_identity(&[6; 64]);
        assert!(other.open(&record).is_err() && typed.open(&record[1..]).is_err() && typed.open(&[]).is_err());
    }

    /// Words that somebody has written down, and a record of the first version.
    #[test]
    fn what_was_written_down_once_stays_good() {
        let secret = RecoverySecret::of_identity(&[1; 64]);
        assert_eq!(*secret.words(), WORDS);
        let record = hex::decode(RECORD_OF_THE_FIRST_VERSION).expect("hexadecimal");
        assert_eq!(*secret.open(&record).expect("an old record"), [1; 64]);
    }

    const WORDS: &str = "nose cream erode method broom swim raven stock power place derive bean \
        mother nothing penalty decrease champion pistol else angle gown gossip error camera";
    const RECORD_OF_THE_FIRST_VERSION: &str = "014fed64fef48f5a1993e2297d85f6e9421d7d2b94fe8b2be377d0a4b7ff0819fa44938b5a77af2351db0888ae42248570025d2c7f39d86f96bd3e3e9c3520a28b60f098ed8066c534badb8f41eb356fee77b18b33b03e56aec7fe0d5c";
}

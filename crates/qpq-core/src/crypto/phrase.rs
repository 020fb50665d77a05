//! 256 bits as 24 words that people can write down (BIP-39, the English list): eleven bits each, the last eight of them a
//! checksum.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The words of `entropy`, separated by spaces.
pub fn words(entropy: &[u8; 32]) -> Zeroizing<String> {
    let list = list();
    let bits = Zeroizing::new([&entropy[..], &[checksum(entropy)]].concat());
    let words = (0..WORDS).map(|word| list[index(&bits, word)]);
    Zeroizing::new(words.collect::<Vec<_>>().join(" "))
}

/// The opposite of [`words`]. Case, spaces and line breaks do not matter.
///
/// # Errors
/// [`PhraseError`], which says what to look at.
pub fn entropy(phrase: &str) -> Result<Zeroizing<[u8; 32]>, PhraseError> {
    let list = list();
    let typed: Vec<_> = phrase.split_whitespace().map(|word| Zeroizing::new(word.to_lowercase())).collect();
    if typed.len() != WORDS {
        return Err(PhraseError::Count(typed.len()));
    }
    let mut bits = Zeroizing::new([0_u8; 33]);
    for (number, word) in typed.iter().enumerate() {
        let found = list.binary_search(&word.as_str()).map_err(|_| PhraseError::Word(number + 1))?;
        for bit in (0..BITS).filter(|bit| found >> (BITS - 1 - bit) & 1 == 1) {
            let at = number * BITS + bit;
            bits[at / 8] |= 0x80 >> (at % 8);
        }
    }
    let mut entropy = Zeroizing::new([0; 32]);
    entropy.copy_from_slice(&bits[..32]);
    if checksum(&entropy) == bits[32] { Ok(entropy) } else { Err(PhraseError::Checksum) }
}

/// Why words are no phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    #[error("a recovery phrase has 24 words, these are {0}")]
    Count(usize),
    #[error("word {0} is not one of the list; check how it is written")]
    Word(usize),
    #[error("these words do not belong together; check their order, and whether each is the right one")]
    Checksum,
}

fn list() -> Vec<&'static str> {
    include_str!("english.txt").lines().collect()
}

fn checksum(entropy: &[u8; 32]) -> u8 {
    Sha256::digest(entropy)[0]
}

fn index(bits: &[u8], word: usize) -> usize {
    (word * BITS..(word + 1) * BITS).fold(0, |index, at| index << 1 | usize::from(bits[at / 8] >> (7 - at % 8) & 1))
}

const WORDS: usize = 24;
const BITS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    /// From the vectors of BIP-39.
    #[test]
    fn the_words_are_those_of_the_standard() {
        let abandon = format!("{}art", "abandon ".repeat(23));
        let zoo = format!("{}vote", "zoo ".repeat(23));
        let mixed = "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen \
                     patrol group space point ten exist slush involve unfold";
        let cases = [
            ("00".repeat(32), abandon),
            ("ff".repeat(32), zoo),
            ("f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f".into(), mixed.to_owned()),
        ];
        for (hexadecimal, phrase) in cases {
            let bytes: [u8; 32] = hex::decode(hexadecimal).expect("hexadecimal").try_into().expect("32 bytes");
            assert_eq!(*words(&bytes), phrase);
            assert_eq!(entropy(&phrase).as_deref(), Ok(&bytes));
            assert_eq!(entropy(&format!("  {}\n", phrase.to_uppercase())).as_deref(), Ok(&bytes));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let phrase = words(&[7; 32]);
        assert_eq!(entropy("abandon"), Err(PhraseError::Count(1)));
        let mut list: Vec<_> = phrase.split(' ').collect();
        list.swap(0, 1);
        assert_eq!(entropy(&list.join(" ")), Err(PhraseError::Checksum));
        list[4] = "qpq";
        assert_eq!(entropy(&list.join(" ")), Err(PhraseError::Word(5)));
    }
}

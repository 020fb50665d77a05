//! Registration codes: shown once, kept only as a hash.

use qpq_proto::ids::ContentHash;

use crate::store::account::InviteHash;

/// A fresh code of 80 random bits, in groups that can be read out, and what is stored of it.
///
/// # Panics
/// When the operating system has no random numbers.
pub fn generate() -> (String, InviteHash) {
    let mut random = [0_u8; CHARACTERS];
    getrandom::fill(&mut random).expect("the operating system provides randomness");
    let characters: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let code = [&characters[..4], &characters[4..8], &characters[8..12], &characters[12..]].join("-");
    let hash = hash(&code);
    (code, hash)
}

/// What is stored of a code. Case and hyphens do not matter, and letters that look like digits count as those.
pub fn hash(code: &str) -> InviteHash {
    let canonical: String = code
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect();
    InviteHash(ContentHash::of(format!("quicproquo invite 1\0{canonical}").as_bytes()).0)
}

/// Crockford's base 32: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const CHARACTERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_being_read_out() {
        let (code, hashed) = generate();
        assert_eq!(code.len(), 19);
        assert_eq!(hash(&code), hashed);
        assert_eq!(hash(&code.to_uppercase().replace('-', " ")), hashed);
        assert_eq!(hash("o1l"), hash("0I1"));
        assert_ne!(hash(&generate().0), hashed);
    }
}

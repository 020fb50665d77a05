//! Safety numbers: 60 digits that two people compare to know that nobody stands between them.

use sha2::{Digest as _, Sha512};

use qpq_proto::ids::IdentityId;

/// The safety number of two identities; the same in whichever order. Twelve groups of five digits.
///
/// Thirty digits for each identity, made like Signal's numeric fingerprints: iterated SHA-512, so that finding another
/// identity with the same digits costs 2^99 × 5200 hashes.
pub fn safety_number(a: &IdentityId, b: &IdentityId) -> String {
    let mut halves = [digits(a), digits(b)];
    halves.sort_unstable();
    let digits = halves.concat();
    let groups: Vec<&str> = (0..12).map(|group| &digits[group * 5..group * 5 + 5]).collect();
    groups.join(" ")
}

fn digits(identity: &IdentityId) -> String {
    let mut hash = Sha512::new().chain_update(b"quicproquo safety number 1\0").chain_update(identity.0).finalize();
    for _ in 1..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(identity.0).finalize();
    }
    hash.chunks(5)
        .take(6)
        .map(|chunk| {
            let number = chunk.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
            format!("{:05}", number % 100_000)
        })
        .collect()
}

const ITERATIONS: u32 = 5200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_stable_and_sixty_digits() {
        let (a, b) = (IdentityId([1; 32]), IdentityId([2; 32]));
        let number = safety_number(&a, &b);
        assert_eq!(number, safety_number(&b, &a));
        assert_eq!(number.chars().filter(char::is_ascii_digit).count(), 60);
        assert_ne!(number, safety_number(&a, &IdentityId([3; 32])));
        // People write these down: the algorithm must never change.
        assert_eq!(number, "19320 34681 74142 74598 65137 57604 92942 92140 41545 17233 78854 89184");
    }
}

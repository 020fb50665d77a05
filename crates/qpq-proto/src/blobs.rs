//! Encrypted files as both ends cut them: into parts of one size, after padding that hides how long a file is.

/// What one part holds of the padded file.
pub const PLAIN_PART: usize = 64 * 1024;
/// What authenticates a part.
pub const TAG: usize = 16;
/// One part as it is stored; the last one may be shorter.
pub const PART: usize = PLAIN_PART + TAG;
/// Shorter files are padded to this.
pub const LEAST_PADDED: u64 = 1024;

/// The size that a file is padded to: Padmé, which adds at most 12 % and leaves only about log log `size` bits to be
/// learned (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs").
pub fn padded(size: u64) -> u64 {
    let size = size.max(LEAST_PADDED);
    let exponent = size.ilog2();
    let mantissa = exponent.ilog2() + 1;
    let mask = (1_u64 << (exponent - mantissa)) - 1;
    size.saturating_add(mask) & !mask
}

/// The size of the encrypted file on the server.
pub fn sealed(size: u64) -> u64 {
    let padded = padded(size);
    padded.saturating_add(padded.div_ceil(PLAIN_PART as u64).saturating_mul(TAG as u64))
}

/// How long the part at `offset` of a blob of this size is; none where no part begins.
pub fn part_at(sealed: u64, offset: u64) -> Option<usize> {
    let begins = offset < sealed && offset.is_multiple_of(PART as u64);
    begins.then(|| usize::try_from(sealed - offset).unwrap_or(PART).min(PART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_never_shrinks_hides_the_low_bits_and_costs_little() {
        assert_eq!([0, 1, 1024].map(padded), [1024; 3]);
        assert_eq!(padded(1025), 1088);
        assert_eq!(padded(50 << 20), 50 << 20, "a limit in round numbers is itself a padded size");
        let mut before = 0;
        for size in (0..2_000_000).step_by(37) {
            let padded_size = padded(size);
            assert!(padded_size >= size && padded_size >= before, "{size}");
            assert_eq!(padded(padded_size), padded_size, "{size}");
            assert!(size <= LEAST_PADDED || (padded_size - size) * 100 <= size * 12, "{size}: {padded_size}");
            before = padded_size;
        }
        assert!(padded(u64::MAX) >= u64::MAX - (1 << 58), "and nothing overflows");
        assert!(sealed(u64::MAX) > 0);
    }

    #[test]
    fn parts_follow_each_other_without_gap_to_the_end() {
        for size in [0, 1, 65_536, 65_537, 1_000_000] {
            let (sealed, mut offset) = (sealed(size), 0);
            while let Some(part) = part_at(sealed, offset) {
                assert!(part > TAG && part <= PART);
                offset += part as u64;
            }
            assert_eq!(offset, sealed, "{size}");
        }
        assert_eq!(part_at(200_000, 5), None);
        assert_eq!(part_at(200_000, 200_000), None);
    }
}

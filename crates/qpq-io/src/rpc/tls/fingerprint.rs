//! Certificates as people compare them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::Error;

/// The SHA-256 of a certificate (its DER encoding). Shown as lower-case hexadecimal bytes with colons between; read with
/// or without the colons and a leading `SHA256:`, in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// A fingerprint that was stored as bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a DER-encoded certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The hash, to store it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const PREFIX: &str = "sha256:";
        let text = text.trim();
        let digits = match text.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &text[PREFIX.len()..],
            _ => text,
        };
        let digits: String = digits.chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(&digits, &mut bytes)
            .map_err(|_| Error::Config(format!("{text:?} is not a fingerprint: 32 hexadecimal bytes are needed")))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let fingerprint = Fingerprint::of(b"certificate");
        let shown = fingerprint.to_string();
        assert_eq!(shown.len(), 32 * 3 - 1);
        for spelling in [
            shown.clone(),
            shown.to_uppercase(),
            shown.replace(':', ""),
            format!("SHA256:{shown}"),
            format!(" sha256:{}\n", shown.replace(':', "")),
        ] {
            assert_eq!(spelling.parse::<Fingerprint>().unwrap(), fingerprint);
        }
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "sha256:", "00", &"00".repeat(33), &"0g".repeat(32), "äöüäöüäöü"] {
            assert!(matches!(text.parse::<Fingerprint>(), Err(Error::Config(_))), "{text}");
        }
    }
}

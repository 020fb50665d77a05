//! Identifiers: fixed-size newtypes, shown in full as hexadecimal and in logs shortened to eight digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::read::Malformed;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; $length]);

        impl $name {
            /// The length in bytes.
            pub const LENGTH: usize = $length;

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The first eight hexadecimal digits: enough to tell log lines apart, too few to look anybody up.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = Malformed;

            fn try_from(bytes: &[u8]) -> Result<Self, Malformed> {
                bytes.try_into().map(Self).map_err(|_| Malformed::new(stringify!($name), "wrong length"))
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let bytes = hex::decode(text).map_err(|_| Malformed::new(stringify!($name), "not hexadecimal"))?;
                Self::try_from(&bytes[..])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
    };
}

id!(
    /// Who somebody is: SHA-256 over both public identity keys.
    IdentityId, 32
);
id!(
    /// One device of an identity: the first 16 bytes of the SHA-256 of its signature key.
    DeviceId, 16
);
id!(
    /// An MLS group, chosen at random by its creator.
    GroupId, 16
);
id!(
    /// An end-to-end message, chosen at random by its sender; the server never sees it.
    MessageId, 16
);
id!(
    /// An encrypted file on the server, chosen at random by its uploader: whoever knows it may fetch it.
    BlobId, 32
);
id!(
    /// SHA-256 of a ciphertext or commit: what makes repeating a request harmless.
    ContentHash, 32
);

impl ContentHash {
    /// The hash of `payload`.
    pub fn of(payload: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(payload).into())
    }
}

/// An MLS epoch (RFC 9420, section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A position in a log. The first entry has number 1; 0 stands before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways_and_lengths_are_checked() {
        let id = DeviceId([7; 16]);
        assert_eq!(id.to_string().parse::<DeviceId>().expect("own text"), id);
        assert!("07".parse::<DeviceId>().is_err());
        assert!("zz".parse::<DeviceId>().is_err());
        assert!(IdentityId::try_from(&[0u8; 31][..]).is_err());
    }
}

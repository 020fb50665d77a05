//! Accounts: user names, and what the directory says about one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::generated::{gateway_capnp, keys_capnp};
use crate::limits;
use crate::read::{self, Malformed};
use crate::time::Timestamp;

/// A user name: 1 to 32 of `a–z 0–9 . _ -`, beginning with a letter or digit. It only locates an identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The name without the leading `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads it from the wire.
    pub fn read(value: capnp::Result<capnp::text::Reader<'_>>) -> Result<Self, Malformed> {
        read::text("name", value, 64)?.parse()
    }
}

impl FromStr for UserName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if text.len() > 32 || !begins_well || !text.chars().all(allowed) {
            return Err(Malformed::new(
                "name",
                "a user name has 1 to 32 characters out of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for UserName {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserName(…)")
    }
}

/// A directory entry. Nothing in it is to be believed before `qpq-trust` has checked the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: UserName,
    /// An encoded `SignedManifest`.
    pub manifest: Vec<u8>,
}

impl Account {
    /// Reads it from the wire.
    pub fn read(reader: keys_capnp::account::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            name: UserName::read(reader.get_name())?,
            manifest: read::some_bytes("account.manifest", reader.get_manifest(), limits::MANIFEST)?,
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: keys_capnp::account::Builder<'_>) {
        builder.set_name(self.name.as_str());
        builder.set_manifest(&self.manifest);
    }
}

/// How a server introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    pub protocol: u16,
    /// The part after `@` in names.
    pub domain: String,
    /// Name and version of the software.
    pub software: String,
    /// Random, and another one after the server was restored from a backup; 0 when it does not say.
    pub incarnation: u64,
    /// The server's clock; 0 when it does not say.
    pub now: Timestamp,
}

impl ServerHello {
    /// Reads it from the wire.
    pub fn read(reader: gateway_capnp::server_hello::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            protocol: reader.get_protocol(),
            domain: read::text("server.domain", reader.get_domain(), limits::SHORT_TEXT)?,
            software: read::text("server.software", reader.get_software(), limits::SHORT_TEXT)?,
            incarnation: reader.get_incarnation(),
            now: Timestamp(reader.get_now_ms()),
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: gateway_capnp::server_hello::Builder<'_>) {
        builder.set_protocol(self.protocol);
        builder.set_domain(&self.domain[..]);
        builder.set_software(&self.software[..]);
        builder.set_incarnation(self.incarnation);
        builder.set_now_ms(self.now.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow_on_purpose() {
        for good in ["a", "alice", "0x", "a.b_c-d", &"a".repeat(32)] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "Alice", "-a", ".a", "ünï", "a b", "a@b", "a\n", &"a".repeat(33)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }
}

//! Group names: in the group's context for all members, unreadable for the server that keeps it.
//!
//! Each name has a key of its own. Whoever joins gets it in the sealed Welcome; whoever is a member when the name
//! changes gets the new one wrapped under the exporter of the epoch before. A removed member cannot read later names.

use qpq_proto::ids::GroupId;
use zeroize::Zeroizing;

use super::Unopenable;

/// The exporter label under which name keys are wrapped (RFC 9420, section 8.5).
pub const EXPORTER_LABEL: &str = "quicproquo name key 1";

/// Encrypts a name.
pub fn seal_name(key: &[u8; 32], group: GroupId, name: &str) -> Result<Vec<u8>, getrandom::Error> {
    super::seal(key, &[b"name", &group.0[..]].concat(), name.as_bytes())
}

/// Decrypts a name; an empty ciphertext is an empty name.
pub fn open_name(key: &[u8; 32], group: GroupId, sealed: &[u8]) -> Result<String, Unopenable> {
    if sealed.is_empty() {
        return Ok(String::new());
    }
    let name = super::open(key, &[b"name", &group.0[..]].concat(), sealed)?;
    String::from_utf8(name.to_vec()).map_err(|_| Unopenable)
}

/// Wraps a name key under an exporter secret.
pub fn wrap_key(exporter: &[u8; 32], group: GroupId, key: &[u8; 32]) -> Result<Vec<u8>, getrandom::Error> {
    super::seal(exporter, &[b"key", &group.0[..]].concat(), key)
}

/// The opposite of [`wrap_key`].
pub fn unwrap_key(exporter: &[u8; 32], group: GroupId, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, Unopenable> {
    let key = super::open(exporter, &[b"key", &group.0[..]].concat(), wrapped)?;
    key[..].try_into().map(Zeroizing::new).map_err(|_| Unopenable)
}

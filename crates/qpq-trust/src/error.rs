//! Why something is not to be trusted.

use qpq_proto::Malformed;

/// What a check found. The texts name no user, device or content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The bytes are not what they should be.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A signature, key or chain of hashes does not fit.
    #[error("not authentic: {0}")]
    NotAuthentic(&'static str),
    /// An older manifest than one that was already seen.
    #[error("rollback: manifest version {offered} is offered, version {known} is already known")]
    Rollback { known: u64, offered: u64 },
    /// A leaf whose device the identity's manifest does not list.
    #[error("the device is not in its identity's manifest")]
    UnlistedDevice,
    /// The group's rules do not let this member do that.
    #[error("not allowed: {0}")]
    Forbidden(&'static str),
    /// Somebody was added while others wait to be removed who asked to leave: newcomers could not tell why those go.
    #[error("those who left must be removed before anybody is added")]
    LeaversRemain,
    /// MLS itself refuses it.
    #[error("MLS: {0}")]
    Mls(String),
    /// Too old, too long-lived, or not valid yet.
    #[error("expired or too long-lived")]
    Lifetime,
}

impl TrustError {
    /// Wraps an OpenMLS or codec error.
    pub fn mls(error: impl std::fmt::Display) -> Self {
        Self::Mls(error.to_string())
    }
}

//! The engine's errors, by what the caller can do.

use qpq_trust::TrustError;

use crate::store::StoreError;

/// Why an input could not be handled. The transaction must be rolled back; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed: try again when it works.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A command that cannot be carried out as it is.
    #[error("{0}")]
    BadInput(String),
    /// What others sent does not pass the checks.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// OpenMLS refuses.
    #[error("MLS: {0}")]
    Mls(String),
    /// The operating system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Error {
    pub(crate) fn mls(error: impl std::fmt::Display) -> Self {
        Self::Mls(error.to_string())
    }
}

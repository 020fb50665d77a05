//! What can go wrong with the store, named by what follows from it.

/// A store operation that did not happen (or, if the answer was lost, may have: repeat it, they are idempotent).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting already.
    #[error("the server has more to write than it can keep up with")]
    Busy,
    /// The disk is full, read-only or failing: nothing can be accepted until an operator acts.
    #[error("the server cannot write to its disk: {0}")]
    Unwritable(&'static str),
    /// The store is shutting down.
    #[error("the server is shutting down")]
    Closed,
    /// A bug, or a damaged database. The text is for the log.
    #[error("the store failed: {0}")]
    Internal(String),
}

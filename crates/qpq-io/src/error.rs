//! What can go wrong between us and the world, named by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::rpc::tls::Fingerprint;

/// An error of the network, the files or the process. Databases have their own, [`DbError`](crate::db::DbError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server cannot be reached or will not take us now: try again later.
    #[error("offline: {context}")]
    Offline {
        /// What was tried, and why it failed.
        context: String,
    },
    /// The server presented another certificate than the pinned one. Never retry by itself: either its operator has
    /// replaced the certificate, or somebody is in between, and only the user can find out.
    #[error("the server's certificate has changed: expected {expected}, but it presented {presented}")]
    CertificateChanged {
        /// The pinned fingerprint.
        expected: Fingerprint,
        /// The fingerprint of the certificate that was presented.
        presented: Fingerprint,
    },
    /// The server's certificate is not acceptable (or not usable, for our own).
    #[error("invalid certificate: {0}")]
    CertificateInvalid(String),
    /// The server was reached but has no protocol or cipher in common with us: update one of the two.
    #[error("incompatible server: {0}")]
    Incompatible(String),
    /// Settings or arguments are wrong: correct them and start again.
    #[error("{0}")]
    Config(String),
    /// Another process holds the lock: stop it first.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A file, socket or thread failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path or address.
        context: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Nothing happened within the time limit: try again.
    #[error("timed out: {0}")]
    Timeout(String),
    /// The connection is over, with the reason that the other end (or we) gave. Connect again.
    #[error("connection closed: {0}")]
    Closed(String),
}

impl Error {
    pub(crate) fn io(context: impl Into<String>, source: io::Error) -> Self {
        Self::Io { context: context.into(), source }
    }

    pub(crate) fn file(action: &str, path: &Path, source: io::Error) -> Self {
        Self::io(format!("cannot {action} {}", path.display()), source)
    }
}

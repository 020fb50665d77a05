//! Why a server does not start, or stops.

use std::path::PathBuf;

use qpq_io::db::DbError;

use crate::config::ConfigError;
use crate::store::StoreError;

/// What an operator has to act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Correct the settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Production mode is strict about something that development mode would provide by itself.
    #[error("production mode: {0}")]
    NotForProduction(String),
    /// Another server has this data directory.
    #[error("another server is running with the data directory {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// Files, certificates, sockets, threads.
    #[error(transparent)]
    Io(#[from] qpq_io::Error),
    /// The same, where only the operating system's reason is known.
    #[error("{0}: {1}")]
    System(String, std::io::Error),
    /// The database cannot be opened.
    #[error("{}: {reason}", path.display())]
    Database { path: PathBuf, reason: DbError },
    /// The database can be opened, but not used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backup cannot be made or restored like this; says what to do.
    #[error("{0}")]
    Backup(String),
    /// No server answers, or it is not ready.
    #[error("not ready: {0}")]
    NotReady(String),
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::System(what.into(), error)
    }
}

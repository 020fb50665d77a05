//! What can go wrong with a database, named by what the caller can do.

use rusqlite::{ErrorCode, ffi};

/// An error of a database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The key does not open this file. (A damaged first page looks the same.)
    #[error("wrong database key, or this is not a database: check the key or password, or restore a backup")]
    WrongKey,
    /// Pages are damaged: stop writing, and restore a backup.
    #[error("the database is damaged, restore a backup: {0}")]
    Corrupt(String),
    /// The disk is full; nothing was changed. Free some space and repeat.
    #[error("the disk is full: free some space and try again")]
    Full,
    /// The file, its directory or the connection is read-only.
    #[error("the database is read-only: check the permissions of the file and its directory")]
    ReadOnly,
    /// Another connection held the database for longer than the busy timeout. Repeat.
    #[error("the database is busy: another process is using it, try again")]
    Busy,
    /// The file was written by a newer version of this software; it was not touched.
    #[error("the database has version {found}, but this version knows only up to {known}: update the software")]
    Newer {
        /// The version in the file.
        found: u32,
        /// The last migration that we know.
        known: u32,
    },
    /// The operating system failed to open, read or write.
    #[error("cannot access the database, check the disk and the permissions: {0}")]
    Io(String),
    /// Everything else, constraint violations included: mostly our own mistakes.
    #[error("database: {0}")]
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error_code() else {
            return Self::Other(error);
        };
        match code {
            // SQLite does not say why the index of its log could not grow; there is no other reason.
            ErrorCode::SystemIoFailure if extended(&error) == ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
            ErrorCode::NotADatabase => Self::WrongKey,
            ErrorCode::DatabaseCorrupt => Self::Corrupt(error.to_string()),
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::ReadOnly => Self::ReadOnly,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed => Self::Io(format!("{error} (SQLite code {})", extended(&error))),
            _ => Self::Other(error),
        }
    }
}

/// SQLite's extended code.
fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |error| error.extended_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: i32, expected: fn(&DbError) -> bool) {
        let error = DbError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(expected(&error), "{code}: {error:?}");
    }

    #[test]
    fn codes_are_classified() {
        check(ffi::SQLITE_NOTADB, |e| matches!(e, DbError::WrongKey));
        check(ffi::SQLITE_IOERR_SHMSIZE, |e| matches!(e, DbError::Full));
        check(ffi::SQLITE_IOERR_WRITE, |e| matches!(e, DbError::Io(_)));
        check(ffi::SQLITE_CORRUPT, |e| matches!(e, DbError::Corrupt(_)));
        check(ffi::SQLITE_FULL, |e| matches!(e, DbError::Full));
        check(ffi::SQLITE_READONLY, |e| matches!(e, DbError::ReadOnly));
        check(ffi::SQLITE_BUSY, |e| matches!(e, DbError::Busy));
        check(ffi::SQLITE_LOCKED, |e| matches!(e, DbError::Busy));
        check(ffi::SQLITE_BUSY_SNAPSHOT, |e| matches!(e, DbError::Busy));
        check(ffi::SQLITE_IOERR_FSYNC, |e| matches!(e, DbError::Io(_)));
        check(ffi::SQLITE_CONSTRAINT, |e| matches!(e, DbError::Other(_)));
    }
}

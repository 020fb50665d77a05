//! Writing a database anew: without its gaps, or with another key.

use std::path::Path;

use qpq_io::db::{self, DbError, DbKey, OpenOptions};
use rusqlite::Connection;

use super::snapshot::into_one_file;

/// A database that nobody else can use until this is dropped.
pub struct Exclusive(Connection);

impl Exclusive {
    /// Locks the database at `path`, and makes the file alone all of it.
    ///
    /// # Errors
    /// Those of [`db::open`]; [`DbError::Busy`] when somebody else has it open.
    pub fn open(path: &Path, key: &DbKey) -> Result<Self, DbError> {
        let connection =
            db::open(path, key, &OpenOptions { cache_kib: 16 * 1024, read_only: false, ..OpenOptions::default() })?;
        connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
        // Fails while others have it open, and holds the lock from then on.
        into_one_file(&connection)?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT;")?;
        Ok(Self(connection))
    }

    /// Writes what is in use of it into the empty file `target`, and gives that the key `new`, if there is one.
    ///
    /// # Errors
    /// A full disk above all.
    pub fn copy(&self, target: &Path, key: &DbKey, new: Option<&DbKey>) -> Result<(), DbError> {
        db::copy(&self.0, target)?;
        let connection = db::open(target, key, &OpenOptions::default())?;
        into_one_file(&connection)?;
        if let Some(new) = new {
            db::rekey(&connection, new)?;
        }
        let checked: String = connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
        if checked == "ok" { Ok(()) } else { Err(DbError::Corrupt(checked)) }
    }

    /// The file has been replaced. Whoever has opened the old one in the meantime and waits for it gets an error instead of
    /// writing where nobody looks any more.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn retire(self) -> Result<(), DbError> {
        // The journal would have the name of the new file's.
        self.0.query_row("PRAGMA journal_mode = MEMORY", [], |_| Ok(()))?;
        Ok(self.0.pragma_update(None, "user_version", i32::MAX)?)
    }
}

/// Whether this key opens the database at `path`, which then has recovered from whatever it was interrupted in.
///
/// # Errors
/// Everything but a wrong key.
pub fn opens(path: &Path, key: &DbKey) -> Result<bool, DbError> {
    match db::open(path, key, &OpenOptions { cache_kib: 1024, read_only: false, ..OpenOptions::default() }) {
        Ok(_) => Ok(true),
        Err(DbError::WrongKey) => Ok(false),
        Err(error) => Err(error),
    }
}

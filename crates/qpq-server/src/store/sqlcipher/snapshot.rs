//! A copy of a database in a file of its own, with a few other files inside, and the way back.

use std::path::Path;

use qpq_io::db::{self, DbError, DbKey, OpenOptions, Pages};
use qpq_proto::time::Timestamp;
use rusqlite::params;
use zeroize::Zeroizing;

use super::MIGRATIONS;
use super::row::{self, Number};

/// What a copy was made of besides the database.
pub struct Enclosed {
    /// When it was made.
    pub taken: Timestamp,
    pub files: Vec<EnclosedFile>,
}

/// A small file, perhaps a private one: in the copy it is encrypted like the rest.
pub struct EnclosedFile {
    pub name: String,
    pub bytes: Zeroizing<Vec<u8>>,
}

/// Copies the database at `source` as it is at one moment, whoever is writing to it, into the empty file `target`; the
/// copy has the same key. Nothing is left beside it.
///
/// # Errors
/// Those of [`db::open`], and a full disk.
pub fn copy(source: &Path, target: &Path, key: &DbKey, enclosed: &Enclosed) -> Result<(), DbError> {
    db::copy(&db::open(source, key, &READ_ONLY)?, target)?;
    let connection = db::open(target, key, &OpenOptions::default())?;
    connection.execute_batch(
        "CREATE TABLE backup (taken INTEGER NOT NULL);
         CREATE TABLE backup_files (name TEXT PRIMARY KEY, bytes BLOB NOT NULL);",
    )?;
    connection.execute("INSERT INTO backup (taken) VALUES (?1)", [Number(enclosed.taken.0)])?;
    for EnclosedFile { name, bytes } in &enclosed.files {
        connection.execute("INSERT INTO backup_files (name, bytes) VALUES (?1, ?2)", params![name, &bytes[..]])?;
    }
    into_one_file(&connection)
}

/// Makes the copy at `path` a database to go on with: takes out what was enclosed, and brings it up to date.
///
/// # Errors
/// Those of [`db::open`] and [`db::migrate`]; [`DbError::Corrupt`] when pages are damaged.
pub fn reopen(path: &Path, key: &DbKey) -> Result<Enclosed, DbError> {
    let mut connection = db::open(path, key, &OpenOptions::default())?;
    let taken = connection.query_row("SELECT taken FROM backup", [], |row| row::number(row, 0))?;
    let files = connection
        .prepare("SELECT name, bytes FROM backup_files")?
        .query_map([], |row| Ok(EnclosedFile { name: row.get(0)?, bytes: Zeroizing::new(row.get(1)?) }))?
        .collect::<Result<_, _>>()?;
    db::migrate(&mut connection, MIGRATIONS)?;
    connection.execute_batch("DROP TABLE backup; DROP TABLE backup_files;")?;
    set_apart(&connection)?;
    into_one_file(&connection)?;
    Ok(Enclosed { taken: Timestamp(taken), files })
}

/// What must not happen twice, although the database has forgotten that it has happened.
///
/// # Errors
/// Those of SQLite.
pub fn set_apart(connection: &rusqlite::Connection) -> Result<(), DbError> {
    // One-time packages that were claimed after the copy must not be given to anybody again. Nobody can tell which those
    // are; the devices bring new ones when they connect. And what is put into an inbox from now on must not take the
    // place of something that its device has had: it would take the one for the other. Devices learn from another
    // incarnation that they may know more than the server.
    connection.execute_batch(
        "UPDATE key_packages SET package = NULL WHERE last_resort = 0;
         UPDATE inboxes SET head_seq = head_seq + 1000000;
         DELETE FROM settings WHERE key = 'incarnation';",
    )?;
    Ok(())
}

/// Writes the log back into the database, so that the file alone is all of it.
pub(super) fn into_one_file(connection: &rusqlite::Connection) -> Result<(), DbError> {
    Ok(connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?)
}

const READ_ONLY: OpenOptions = OpenOptions { cache_kib: 1024, read_only: true, pages: Pages::Large };

//! Opening a database.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{DbError, DbKey};
use crate::files;

/// How to open a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Page cache of this connection, in KiB. Reads are ten times faster with 64 MiB than with SQLite's default of 2.
    pub cache_kib: u32,
    /// Never write, and fail when the file is missing.
    pub read_only: bool,
    /// What the file is for, when it has to be made.
    pub pages: Pages,
}

/// How large the pages of a new database are. A page is authenticated, encrypted and written as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// 4096 bytes, for many transactions that change a little here and there.
    Small,
    /// 8192 bytes, for large rows, and for many rows in one transaction.
    #[default]
    Large,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { cache_kib: 16 * 1024, read_only: false, pages: Pages::default() }
    }
}

/// Opens the database at `path`, and creates it (permission 0600) when it is missing and not `read_only`. Commits are on
/// disk when they return; deleted data is overwritten; temporary tables stay in memory; foreign keys are enforced.
/// Waits up to five seconds for other connections before it reports [`DbError::Busy`].
///
/// # Errors
/// [`DbError::WrongKey`] when the key does not open it; [`DbError::Io`] when the file cannot be opened.
pub fn open(path: &Path, key: &DbKey, options: &OpenOptions) -> Result<Connection, DbError> {
    let flags = prepare_file(path, options)?;
    // Nothing in the file says how it is laid out: what does not open in one way may in another.
    let (wanted, others) = match options.pages {
        Pages::Small => (&SMALL, [&LARGE, &FORMER]),
        Pages::Large => (&LARGE, [&SMALL, &FORMER]),
    };
    let mut outcome = open_as(wanted, path, key, options, flags);
    for layout in others {
        if let Err(DbError::WrongKey) = outcome {
            outcome = open_as(layout, path, key, options, flags);
        }
    }
    outcome
}

fn open_as(
    layout: &Layout,
    path: &Path,
    key: &DbKey,
    options: &OpenOptions,
    flags: OpenFlags,
) -> Result<Connection, DbError> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);

    // SQLCipher would print to standard error what the caller is told anyway.
    connection.execute_batch("PRAGMA cipher_log_level = NONE;")?;

    // The order matters: the key first, then how pages are laid out, then the first read, which checks both.
    connection.execute_batch(&key.pragma("key"))?;
    connection.execute_batch(&layout.pragmas("cipher"))?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;

    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{};",
        options.cache_kib
    ))?;
    if !options.read_only {
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    }
    Ok(connection)
}

/// Writes what is in use of a database into the empty file `target`, under the same key, with large pages in their present
/// layout.
///
/// # Errors
/// [`DbError::Full`] above all.
pub fn copy(connection: &Connection, target: &Path) -> Result<(), DbError> {
    let name = target.to_str().ok_or_else(|| DbError::Io(format!("{} is not UTF-8", target.display())))?;
    // The copy gets the source's key by itself; its layout is the process's default.
    connection.execute_batch(&LARGE.pragmas("cipher_default"))?;
    connection.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

/// Encrypts the whole database anew. Not for databases in WAL mode, and not for the only copy.
///
/// # Errors
/// [`DbError::Full`] above all.
pub fn rekey(connection: &Connection, key: &DbKey) -> Result<(), DbError> {
    Ok(connection.execute_batch(&key.pragma("rekey"))?)
}

/// How pages are laid out and authenticated.
struct Layout {
    /// Bytes.
    page_size: u32,
    /// SQLCipher's name of the authentication code.
    hmac: &'static str,
}

/// Processors of the last years have instructions for SHA-256, and take less than half the time for it that SHA-512 takes.
const SMALL: Layout = Layout { page_size: 4096, hmac: "HMAC_SHA256" };
const LARGE: Layout = Layout { page_size: 8192, hmac: "HMAC_SHA256" };

/// Of databases that were made before; a copy has the present one.
const FORMER: Layout = Layout { page_size: 8192, hmac: "HMAC_SHA512" };

impl Layout {
    fn pragmas(&self, prefix: &str) -> String {
        let Self { page_size, hmac } = self;
        format!("PRAGMA {prefix}_page_size = {page_size}; PRAGMA {prefix}_hmac_algorithm = {hmac};")
    }
}

/// Longer than any transaction of ours; shorter than a caller's patience.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept compiled per connection: more than either side has.
const STATEMENT_CACHE: usize = 128;

/// Creates the file privately before SQLite would create it with the process's umask. The WAL takes over its mode.
fn prepare_file(path: &Path, options: &OpenOptions) -> Result<OpenFlags, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if options.read_only {
        return Ok(flags | OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    let mut creation = fs::OpenOptions::new();
    creation.write(true).create(true).truncate(false);
    match files::open_with_mode(&mut creation, path, 0o600) {
        Ok(_) => Ok(flags | OpenFlags::SQLITE_OPEN_READ_WRITE),
        Err(e) if e.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Err(DbError::ReadOnly),
        Err(e) if e.kind() == std::io::ErrorKind::StorageFull => Err(DbError::Full),
        Err(e) => Err(DbError::Io(format!("{}: {e}", path.display()))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};
    use std::path::PathBuf;

    use super::*;

    const READ_ONLY: OpenOptions = OpenOptions { cache_kib: 1024, read_only: true, pages: Pages::Large };
    const READ_ONLY_FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

    fn filled() -> (tempfile::TempDir, PathBuf, DbKey) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let key = DbKey::generate();
        let db = open(&path, &key, &OpenOptions::default()).unwrap();
        db.execute_batch("CREATE TABLE t (x BLOB NOT NULL)").unwrap();
        for _ in 0..50 {
            db.execute("INSERT INTO t VALUES (randomblob(4000))", []).unwrap();
        }
        drop(db);
        (dir, path, key)
    }

    fn rows(db: &Connection) -> Result<i64, DbError> {
        Ok(db.query_row("SELECT count(*) FROM t WHERE length(hex(x)) = 8000", [], |r| r.get(0))?)
    }

    #[test]
    fn reopens_with_its_key_and_settings() {
        let (_dir, path, key) = filled();
        let db = open(&path, &key, &OpenOptions::default()).unwrap();
        assert_eq!(rows(&db).unwrap(), 50);
        let text = |pragma: &str| -> String {
            db.query_row(&format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"), [], |r| r.get(0)).unwrap()
        };
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!(text("synchronous"), "2");
        assert_eq!(text("foreign_keys"), "1");
        assert_eq!(text("secure_delete"), "1");
        assert_eq!(text("page_size"), "8192");
        assert_eq!(text("cache_size"), "-16384");
        let temp_store: i64 = db.query_row("PRAGMA temp_store", [], |r| r.get(0)).unwrap();
        assert_eq!(temp_store, 2);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private_and_encrypted() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, path, key) = filled();
        let db = open(&path, &key, &OpenOptions::default()).unwrap();
        db.execute("INSERT INTO t VALUES (zeroblob(1))", []).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        assert!(!fs::read(&path).unwrap().starts_with(b"SQLite format 3"));
    }

    #[test]
    fn a_wrong_key_is_told() {
        let (_dir, path, _key) = filled();
        let outcome = open(&path, &DbKey::generate(), &OpenOptions::default());
        assert!(matches!(outcome, Err(DbError::WrongKey)), "{outcome:?}");
    }

    #[test]
    fn damaged_pages_are_told() {
        let (_dir, path, key) = filled();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(5 * u64::from(LARGE.page_size) + 100)).unwrap();
        file.write_all(&[0xaa; 64]).unwrap();
        let outcome = open(&path, &key, &OpenOptions::default()).and_then(|db| rows(&db));
        assert!(matches!(outcome, Err(DbError::Corrupt(_))), "{outcome:?}");
    }

    #[test]
    fn small_pages_are_for_whoever_asks_for_them_first() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("small.db"), DbKey::generate());
        let small = OpenOptions { pages: Pages::Small, ..OpenOptions::default() };
        open(&path, &key, &small).unwrap().execute_batch("CREATE TABLE t (x BLOB NOT NULL)").unwrap();
        let db = open(&path, &key, &OpenOptions::default()).unwrap();
        let size: i64 =
            db.query_row("SELECT CAST(page_size AS INTEGER) FROM pragma_page_size", [], |row| row.get(0)).unwrap();
        assert_eq!((size, rows(&db).unwrap()), (4096, 0));
    }

    #[test]
    fn the_former_layout_is_opened_and_copied_into_the_present_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copied, key) = (dir.path().join("former.db"), dir.path().join("copy.db"), DbKey::generate());
        let flags = prepare_file(&path, &OpenOptions::default()).unwrap();
        let db = open_as(&FORMER, &path, &key, &OpenOptions::default(), flags).unwrap();
        db.execute_batch("CREATE TABLE t (x BLOB NOT NULL); INSERT INTO t VALUES (zeroblob(4000))").unwrap();
        drop(db);
        let db = open(&path, &key, &OpenOptions::default()).unwrap();
        assert_eq!(rows(&db).unwrap(), 1);
        copy(&db, &copied).unwrap();
        drop(db);
        let rows_as = |layout, path| open_as(layout, path, &key, &READ_ONLY, READ_ONLY_FLAGS).and_then(|db| rows(&db));
        assert_eq!(rows_as(&FORMER, &path).unwrap(), 1);
        assert_eq!(rows_as(&LARGE, &copied).unwrap(), 1);
        assert!(matches!(rows_as(&FORMER, &copied), Err(DbError::WrongKey)));
    }

    #[test]
    fn something_else_is_not_a_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "something else entirely".repeat(1000)).unwrap();
        let outcome = open(&path, &DbKey::generate(), &OpenOptions::default());
        assert!(matches!(outcome, Err(DbError::WrongKey)), "{outcome:?}");
    }

    #[test]
    fn read_only_neither_creates_nor_writes() {
        let (dir, path, key) = filled();
        let missing = open(&dir.path().join("missing"), &key, &READ_ONLY);
        assert!(matches!(missing, Err(DbError::Io(_))), "{missing:?}");

        let db = open(&path, &key, &READ_ONLY).unwrap();
        assert_eq!(rows(&db).unwrap(), 50);
        let outcome = db.execute("DELETE FROM t", []).map_err(DbError::from);
        assert!(matches!(outcome, Err(DbError::ReadOnly)), "{outcome:?}");
    }
}

//! Backup and restore. A backup is one file: a copy of the encrypted database with the server's own certificate inside.
//! It holds no key, so it is worth nothing without the key file, and whoever finds it learns nothing but its size.
//!
//! ```text
//! magic, 32 bytes ‖ SHA-256 over a domain string and the database key, 32 bytes ‖ database ‖ SHA-256 of all before
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qpq_io::db::{DbError, DbKey};
use qpq_io::files;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::Error;
use crate::rewrite;
use crate::service::Clock;
use crate::setup;
use crate::store::sqlcipher::snapshot::{self, Enclosed, EnclosedFile};

/// What a backup consists of.
pub struct Written {
    pub bytes: u64,
    /// The key that opens it, which is not in it.
    pub key_file: PathBuf,
    /// The settings whose files are in it.
    pub enclosed: Vec<String>,
}

/// What came of a restore.
pub struct Restored {
    pub database: PathBuf,
    /// How old the backup was.
    pub age: Duration,
    /// Files that were there already and were left as they are.
    pub kept: Vec<PathBuf>,
}

/// Writes a backup to the new file `target`, whether or not a server is running.
///
/// # Errors
/// When `target` exists, the database or its key is missing, or the disk is full. Nothing is left of `target` then.
pub fn backup(config: &Config, target: &Path) -> Result<Written, Error> {
    let database = config.path(&config.store.path);
    if !database.exists() {
        return Err(refused(format!(
            "there is no database at {}: name the server's data directory with --data-dir, or its --config",
            database.display()
        )));
    }
    if target.exists() {
        return Err(refused(format!("{} exists already: choose another name, or remove it", target.display())));
    }
    rewrite::settle_beside(config)?;
    let key = setup::existing_key(config)?;
    let enclosed = Enclosed { taken: Clock::system().now(), files: own_files(config)? };
    let copy = Scratch::create(beside(target, "copy"))?;
    let failed = |reason| Error::Database { path: database.clone(), reason };
    snapshot::copy(&database, &copy.0, &key, &enclosed).map_err(failed)?;
    let written = files::write_new_with(target, 0o600, |file| {
        pack(&copy.0, &key, file).map_err(Error::system(format!("cannot write {}", target.display())))
    })?;
    if !written {
        return Err(refused(format!("{} was made by somebody else in the meantime", target.display())));
    }
    let metadata = fs::metadata(target).map_err(Error::system(format!("cannot inspect {}", target.display())))?;
    Ok(Written {
        bytes: metadata.len(),
        key_file: config.path(&config.store.key_file),
        enclosed: enclosed.files.into_iter().map(|file| file.name).collect(),
    })
}

/// Restores the backup `source` into the data directory, which holds nothing but the key file (and a certificate, if the
/// operator has put one there). The database gets its name last, so that an interrupted restore can be repeated.
///
/// # Errors
/// When the directory is in use or not empty, the key is missing or another one, or the file is damaged or something else.
pub fn restore(config: &Config, source: &Path) -> Result<Restored, Error> {
    let mut packed = File::open(source).map_err(Error::system(format!("cannot open {}", source.display())))?;
    let key_id = read_header(source, &mut packed)?;
    setup::data_dir(config)?;
    let _lock = setup::lock(config)?;
    demand_empty(config)?;
    let key = setup::existing_key(config)?;
    if key_id != identify(&key) {
        return Err(refused(format!(
            "{} was made with another database key than the one in {}: put the key file that belongs to it there",
            source.display(),
            config.path(&config.store.key_file).display()
        )));
    }
    let database = config.path(&config.store.path);
    let scratch = Scratch::create(unfinished(&database))?;
    unpack(source, packed, &key, &scratch.0)?;
    let enclosed = snapshot::reopen(&scratch.0, &key).map_err(|reason| match reason {
        // The checksum is right, so the disk is not to blame: it was written like this.
        DbError::WrongKey | DbError::Corrupt(_) => damaged(source),
        reason => Error::Database { path: database.clone(), reason },
    })?;
    let kept = write_own_files(config, &enclosed)?;
    files::rename_durably(&scratch.0, &database)?;
    Ok(Restored { database, age: Clock::system().now().since(enclosed.taken), kept })
}

/// The certificate and its key, if they are the server's own: what lies elsewhere is looked after by others.
fn own_files(config: &Config) -> Result<Vec<EnclosedFile>, Error> {
    let mut found = Vec::new();
    for (name, path, _) in enclosable(config) {
        match fs::read(&path) {
            Ok(bytes) => found.push(EnclosedFile { name: name.to_owned(), bytes: Zeroizing::new(bytes) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::System(format!("cannot read {}", path.display()), error)),
        }
    }
    Ok(found)
}

/// Answers which of them were there already.
fn write_own_files(config: &Config, enclosed: &Enclosed) -> Result<Vec<PathBuf>, Error> {
    let mut kept = Vec::new();
    for (name, path, mode) in enclosable(config) {
        let Some(file) = enclosed.files.iter().find(|file| file.name == name) else { continue };
        if !files::write_new_atomically(&path, &file.bytes, mode)? {
            kept.push(path);
        }
    }
    Ok(kept)
}

fn enclosable(config: &Config) -> impl Iterator<Item = (&'static str, PathBuf, u32)> {
    let all = [("tls.key", config.path(&config.tls.key), 0o600), ("tls.cert", config.path(&config.tls.cert), 0o644)];
    let own = config.data_dir.clone();
    all.into_iter().filter(move |(_, path, _)| path.starts_with(&own))
}

fn demand_empty(config: &Config) -> Result<(), Error> {
    let database = config.path(&config.store.path);
    for path in [&database, &suffixed(&database, "-wal"), &suffixed(&database, "-shm")] {
        if path.exists() {
            return Err(not_empty(path));
        }
    }
    let unfinished = unfinished(&database);
    let mut expected = vec![
        config.path(&config.store.key_file),
        config.path(&config.tls.cert),
        config.path(&config.tls.key),
        config.data_dir.join("lock"),
        // Every ext file system begins with it.
        config.data_dir.join("lost+found"),
    ];
    expected.extend(["-wal", "-shm", "-journal"].map(|suffix| suffixed(&unfinished, suffix)));
    expected.push(unfinished);
    let unreadable = || format!("cannot list {}", config.data_dir.display());
    for entry in fs::read_dir(&config.data_dir).map_err(Error::system(unreadable()))? {
        let path = entry.map_err(Error::system(unreadable()))?.path();
        if !expected.contains(&path) {
            return Err(not_empty(&path));
        }
    }
    Ok(())
}

fn not_empty(path: &Path) -> Error {
    refused(format!(
        "the data directory is not empty, there is {}: restore into a new directory that holds nothing but the key \
         file, or move the old files away",
        path.display()
    ))
}

fn pack(copy: &Path, key: &DbKey, target: &mut File) -> io::Result<()> {
    let mut hashing = Hashing { inner: io::BufWriter::with_capacity(BUFFER, target), hash: Sha256::new() };
    hashing.write_all(MAGIC)?;
    hashing.write_all(&identify(key))?;
    io::copy(&mut File::open(copy)?, &mut hashing)?;
    let Hashing { mut inner, hash } = hashing;
    inner.write_all(&hash.finalize())?;
    inner.flush()
}

/// Reads up to the database; answers which key that has.
fn read_header(source: &Path, packed: &mut File) -> Result<[u8; 32], Error> {
    let (mut magic, mut key_id) = ([0; 32], [0; 32]);
    match packed.read_exact(&mut magic).and_then(|()| packed.read_exact(&mut key_id)) {
        Ok(()) if magic == *MAGIC => Ok(key_id),
        Ok(()) => Err(refused(format!(
            "{} is not a backup of this version's `qpq-server backup`: check that it is the right file",
            source.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(refused(format!(
            "{} is too short for a backup: check that it is the right file and that it was copied whole",
            source.display()
        ))),
        Err(error) => Err(Error::System(format!("cannot read {}", source.display()), error)),
    }
}

/// Copies the database out of the backup, and compares the checksum.
fn unpack(source: &Path, mut packed: File, key: &DbKey, target: &Path) -> Result<(), Error> {
    let unreadable = || format!("cannot read {}", source.display());
    let whole = packed.metadata().map_err(Error::system(unreadable()))?.len();
    let length = whole.checked_sub(FRAME).ok_or_else(|| damaged(source))?;
    let unwritable = || format!("cannot write {}", target.display());
    let file = fs::OpenOptions::new().write(true).open(target).map_err(Error::system(unwritable()))?;
    let mut hashing = Hashing { inner: io::BufWriter::with_capacity(BUFFER, file), hash: Sha256::new() };
    hashing.hash.update(MAGIC);
    hashing.hash.update(identify(key));
    let copied = io::copy(&mut (&mut packed).take(length), &mut hashing).map_err(Error::system(unwritable()))?;
    hashing.flush().map_err(Error::system(unwritable()))?;
    let mut expected = [0; 32];
    packed.read_exact(&mut expected).map_err(Error::system(unreadable()))?;
    if copied != length || hashing.hash.finalize()[..] != expected {
        return Err(damaged(source));
    }
    Ok(())
}

/// Tells which key a backup needs, and nothing about the key, which is random.
fn identify(key: &DbKey) -> [u8; 32] {
    Sha256::new().chain_update(b"qpq-server backup key\0").chain_update(key.expose()).finalize().into()
}

/// Hashes what passes through it.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// An empty private file, removed on drop together with what SQLite puts beside it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        let scratch = Self(path);
        scratch.remove();
        let mut creation = fs::OpenOptions::new();
        creation.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut creation, 0o600);
        creation.open(&scratch.0).map_err(Error::system(format!("cannot write {}", scratch.0.display())))?;
        Ok(scratch)
    }

    /// One that somebody else has left.
    pub(crate) fn adopt(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(suffixed(&self.0, suffix));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn unfinished(database: &Path) -> PathBuf {
    suffixed(database, ".restoring")
}

fn beside(path: &Path, purpose: &str) -> PathBuf {
    suffixed(path, &format!(".{}.{purpose}", std::process::id()))
}

pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn refused(text: String) -> Error {
    Error::Backup(text)
}

fn damaged(source: &Path) -> Error {
    refused(format!("{} is damaged or was not copied whole: copy it again, or take another backup", source.display()))
}

const MAGIC: &[u8; 32] = b"qpq-server backup, format 1\n\0\0\0\0";

/// Everything but the database.
const FRAME: u64 = 32 * 3;

const BUFFER: usize = 256 * 1024;

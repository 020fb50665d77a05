//! Writing the database anew beside the old one and putting it in its place: `vacuum` and `rotate-key`.
//!
//! A new key is on disk, as `db.key.next`, before a database exists that needs it, and the database gets its name before the
//! key does. So after a crash one of the two keys opens the database that is there, and [`settle`] finds out which.

use std::path::{Path, PathBuf};

use qpq_io::db::{DbError, DbKey};
use qpq_io::files::{self, FileLock};

use crate::backup::{Scratch, suffixed};
use crate::config::Config;
use crate::error::Error;
use crate::setup;
use crate::store::sqlcipher::rewrite::{Exclusive, opens};

/// Bytes of the database before and after.
pub struct Rewritten {
    pub before: u64,
    pub after: u64,
}

/// Gives space that is free inside of the database back to the disk.
///
/// # Errors
/// When a server or another command uses it, or the disk is full. The database is as it was then.
pub fn vacuum(config: &Config) -> Result<Rewritten, Error> {
    let (_lock, key) = alone(config)?;
    rewrite(config, &key, None)
}

/// Gives the database another key.
///
/// # Errors
/// As [`vacuum`]; and when the key file cannot be replaced. Database and key are as they were then.
pub fn rotate_key(config: &Config) -> Result<Rewritten, Error> {
    let (_lock, key) = alone(config)?;
    let next = DbKey::generate();
    let files = Files::of(config);
    if !files::write_new_atomically(&files.next, next.to_hex().as_bytes(), 0o600)? {
        return Err(Error::Backup(format!("{} was made by somebody else in the meantime", files.next.display())));
    }
    match rewrite(config, &key, Some(&next)) {
        Ok(rewritten) => {
            files::rename_durably(&files.next, &files.key)?;
            Ok(rewritten)
        }
        Err(error) => {
            // Whatever has happened, the right key is left.
            settle(config)?;
            Err(error)
        }
    }
}

/// Finishes or takes back what an interrupted rotation has left. For whoever has the data directory's lock.
///
/// # Errors
/// When neither key opens the database: nothing is touched then.
pub fn settle(config: &Config) -> Result<(), Error> {
    let files = Files::of(config);
    drop(Scratch::adopt(files.scratch.clone()));
    files.forget_unfinished_keys();
    let failed = |reason| Error::Database { path: files.database.clone(), reason };
    let opens_with = |path: &Path| match path.exists() {
        true => opens(&files.database, &DbKey::load_or_create(path, false)?).map_err(failed),
        false => Ok(false),
    };
    if !files.is_interrupted() {
        return Ok(());
    }
    // The old key first: what a database has to recover from, it has from before it was replaced.
    if opens_with(&files.key)? {
        if files.next.exists() {
            std::fs::remove_file(&files.next)
                .map_err(Error::system(format!("cannot remove {}", files.next.display())))?;
            tracing::warn!("an interrupted change of the database key was taken back");
        }
    } else if opens_with(&files.next)? {
        files::rename_durably(&files.next, &files.key)?;
        tracing::warn!("an interrupted change of the database key was finished");
    } else {
        return Err(failed(DbError::WrongKey));
    }
    Ok(())
}

/// The same for commands that run beside a server.
///
/// # Errors
/// As [`settle`]; [`Error::AlreadyRunning`] while a rotation is under way.
pub fn settle_beside(config: &Config) -> Result<(), Error> {
    if !Files::of(config).is_interrupted() {
        return Ok(());
    }
    let _lock = setup::lock(config)?;
    settle(config)
}

/// The lock that keeps servers away, and the key.
fn alone(config: &Config) -> Result<(FileLock, DbKey), Error> {
    let files = Files::of(config);
    if !files.database.exists() {
        return Err(Error::Backup(format!(
            "there is no database at {}: name the server's data directory with --data-dir, or its --config",
            files.database.display()
        )));
    }
    let lock = setup::lock(config)?;
    settle(config)?;
    Ok((lock, setup::existing_key(config)?))
}

fn rewrite(config: &Config, key: &DbKey, new: Option<&DbKey>) -> Result<Rewritten, Error> {
    let Files { database, scratch, .. } = Files::of(config);
    let failed = |reason| Error::Database { path: database.clone(), reason };
    let exclusive = Exclusive::open(&database, key).map_err(failed)?;
    let before = size(&database)?;
    let copy = Scratch::create(scratch)?;
    exclusive.copy(copy.path(), key, new).map_err(failed)?;
    let after = size(copy.path())?;
    files::rename_durably(copy.path(), &database)?;
    exclusive.retire().map_err(failed)?;
    Ok(Rewritten { before, after })
}

fn size(path: &Path) -> Result<u64, Error> {
    let metadata = std::fs::metadata(path).map_err(Error::system(format!("cannot inspect {}", path.display())))?;
    Ok(metadata.len())
}

/// Where everything is.
struct Files {
    database: PathBuf,
    /// The new database before it has its name.
    scratch: PathBuf,
    key: PathBuf,
    /// The new key before it has its name.
    next: PathBuf,
}

impl Files {
    fn of(config: &Config) -> Self {
        let (database, key) = (config.path(&config.store.path), config.path(&config.store.key_file));
        Self { scratch: suffixed(&database, ".rewriting"), next: suffixed(&key, ".next"), database, key }
    }

    /// Only a rewrite uses a journal, and only a rotation a next key.
    fn is_interrupted(&self) -> bool {
        self.database.exists() && (self.next.exists() || suffixed(&self.database, "-journal").exists())
    }

    /// Keys that did not come as far as to their name: nothing was ever encrypted with them.
    fn forget_unfinished_keys(&self) {
        let Some((folder, name)) = self.next.parent().zip(self.next.file_name()) else { return };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let rest = entry.file_name().to_string_lossy().strip_prefix(&*name.to_string_lossy()).map(str::to_owned);
            if rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".tmp")) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::operator::Operator;

    fn world() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::development(dir.path().join("data"));
        let operator = Operator::open(&config).unwrap();
        operator.invite(50, std::time::Duration::from_secs(60)).unwrap();
        (dir, config)
    }

    fn key(config: &Config) -> String {
        std::fs::read_to_string(Files::of(config).key).unwrap()
    }

    fn check(config: &Config) {
        assert_eq!(Operator::open(config).unwrap().users().unwrap(), []);
        let left: Vec<_> =
            std::fs::read_dir(&config.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            left.iter()
                .all(|name| ["qpq.db", "qpq.db-wal", "qpq.db-shm", "db.key", "lock"].iter().any(|known| name == known)),
            "{left:?}"
        );
    }

    #[test]
    fn the_key_changes_and_everything_stays() {
        let (_dir, config) = world();
        let old = key(&config);
        let rewritten = rotate_key(&config).unwrap();
        assert!(rewritten.after > 0 && key(&config) != old);
        check(&config);
        assert!(!opens(&Files::of(&config).database, &DbKey::from_bytes(unhex(&old))).unwrap());
        vacuum(&config).unwrap();
        check(&config);
    }

    /// A crash at each of the moments at which the disk looks different.
    #[test]
    fn an_interrupted_change_is_finished_or_taken_back() {
        for moment in 0..4 {
            let (_dir, config) = world();
            let (files, old) = (Files::of(&config), key(&config));
            let next = DbKey::from_bytes([9; 32]);
            if moment >= 1 {
                std::fs::write(&files.next, &*next.to_hex()).unwrap();
                std::fs::write(&files.scratch, "half of it").unwrap();
            }
            let current = DbKey::load_or_create(&files.key, false).unwrap();
            if moment >= 2 {
                let exclusive = Exclusive::open(&files.database, &current).unwrap();
                let copy = Scratch::create(files.scratch.clone()).unwrap();
                exclusive.copy(copy.path(), &current, Some(&next)).unwrap();
                if moment == 2 {
                    // The name is not there yet, and nobody tidies up.
                    std::fs::copy(copy.path(), suffixed(&files.scratch, "-kept")).unwrap();
                    drop(copy);
                    std::fs::rename(suffixed(&files.scratch, "-kept"), &files.scratch).unwrap();
                } else {
                    files::rename_durably(copy.path(), &files.database).unwrap();
                }
            }
            check(&config);
            assert_eq!(key(&config) == old, moment < 3, "moment {moment}");
        }
    }

    #[test]
    fn whoever_is_there_keeps_it_from_happening() {
        let (_dir, config) = world();
        let before = key(&config);
        let lock = setup::lock(&config).unwrap();
        assert!(matches!(rotate_key(&config), Err(Error::AlreadyRunning(_))));
        drop(lock);
        let files = Files::of(&config);
        std::fs::write(&files.next, "0f".repeat(32)).unwrap();
        std::fs::write(&files.key, "0e".repeat(32)).unwrap();
        assert!(matches!(settle(&config), Err(Error::Database { reason: DbError::WrongKey, .. })));
        assert!(files.next.exists(), "nobody knows which key is right, so none is thrown away");
        std::fs::write(&files.key, before).unwrap();
        check(&config);
    }

    fn unhex(text: &str) -> [u8; 32] {
        let digits: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect();
        digits.try_into().unwrap()
    }
}

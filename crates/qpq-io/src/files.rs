//! Files that survive a power cut whole or not at all, and locks between processes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// Replaces the file at `path` by `bytes`: after a crash at any moment it holds either all of the old or all of the new
/// contents. On return the new ones are on disk. `mode` is the Unix permission (such as `0o600`), ignored elsewhere.
///
/// # Errors
/// [`Error::Io`]; the old file is untouched then.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let temporary = Temporary::write(path, bytes, mode)?;
    fs::rename(&temporary.0, path).map_err(|e| Error::file("write", path, e))?;
    sync_directory(path)
}

/// As [`write_atomically`], but leaves an existing file alone. Returns whether it wrote: of several processes that
/// create the same file at once exactly one does.
///
/// # Errors
/// [`Error::Io`].
pub fn write_new_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    write_new_with(path, mode, |file| file.write_all(bytes).map_err(|e| Error::file("write", path, e)))
}

/// As [`write_new_atomically`], for contents that do not belong in memory: `fill` writes them. Nothing is left behind when
/// it fails.
///
/// # Errors
/// [`Error::Io`], and what `fill` says.
pub fn write_new_with<E: From<Error>>(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<bool, E> {
    let temporary = Temporary::named_after(path);
    temporary.fill(mode, fill, |e| Error::file("write", path, e).into())?;
    Ok(temporary.become_new(path)?)
}

/// Gives a finished file its name, replacing what has that name. On return both its contents and its name are on disk.
///
/// # Errors
/// [`Error::Io`].
pub fn rename_durably(from: &Path, to: &Path) -> Result<(), Error> {
    File::open(from).and_then(|file| file.sync_all()).map_err(|e| Error::file("sync", from, e))?;
    fs::rename(from, to).map_err(|e| Error::file("write", to, e))?;
    sync_directory(to)
}

/// As [`rename_durably`], but leaves an existing file alone. Returns whether there was none; `from` is gone either way.
///
/// # Errors
/// [`Error::Io`].
pub fn rename_durably_new(from: &Path, to: &Path) -> Result<bool, Error> {
    let temporary = Temporary(from.to_owned());
    File::open(from).and_then(|file| file.sync_all()).map_err(|e| Error::file("sync", from, e))?;
    temporary.become_new(to)
}

/// A lock that other processes respect; released on drop, and by the system when the process dies.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// Locks `path` (created when missing, never deleted) or fails at once.
///
/// # Errors
/// [`Error::InUse`] when another process, or another lock in this one, holds it; [`Error::Io`].
pub fn lock_exclusive(path: &Path) -> Result<FileLock, Error> {
    let file = open_with_mode(OpenOptions::new().write(true).create(true).truncate(false), path, 0o600)
        .map_err(|e| Error::file("open", path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(FileLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.into() }),
        Err(TryLockError::Error(e)) => Err(Error::file("lock", path, e)),
    }
}

/// As [`lock_exclusive`], but blocks the thread for up to `patience` while another process holds the lock.
///
/// # Errors
/// As [`lock_exclusive`], after `patience`.
pub fn lock_exclusive_within(path: &Path, patience: Duration) -> Result<FileLock, Error> {
    const POLL: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + patience;
    loop {
        match lock_exclusive(path) {
            Err(Error::InUse { .. }) if Instant::now() < deadline => thread::sleep(POLL.min(patience)),
            outcome => return outcome,
        }
    }
}

/// Opens `path` so that a file created by it has the permission `mode` from the first moment.
pub(crate) fn open_with_mode(options: &mut OpenOptions, path: &Path, mode: u32) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// The file under its temporary name; removed on drop, which does nothing once it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, Error> {
        let temporary = Self::named_after(path);
        let failed = |e| Error::file("write", path, e);
        temporary.fill(mode, |file| file.write_all(bytes).map_err(failed), failed)?;
        Ok(temporary)
    }

    fn named_after(path: &Path) -> Self {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).expect("the operating system provides randomness");
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.tmp", hex::encode(nonce)));
        Self(path.with_file_name(name))
    }

    fn fill<E>(
        &self,
        mode: u32,
        fill: impl FnOnce(&mut File) -> Result<(), E>,
        failed: impl Fn(io::Error) -> E,
    ) -> Result<(), E> {
        let mut file =
            open_with_mode(OpenOptions::new().write(true).create_new(true), &self.0, mode).map_err(&failed)?;
        fill(&mut file)?;
        file.sync_all().map_err(failed)
    }

    /// Whether there was nothing of that name.
    fn become_new(&self, path: &Path) -> Result<bool, Error> {
        match fs::hard_link(&self.0, path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            // File systems without hard links: the window between the look and the rename is the best there is.
            Err(_) if !path.exists() => {
                fs::rename(&self.0, path).map_err(|e| Error::file("write", path, e))?;
            }
            Err(_) => return Ok(false),
        }
        sync_directory(path)?;
        Ok(true)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the new name itself durable.
fn sync_directory(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::file("sync", directory, e))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn new_does_not_replace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(write_new_atomically(&path, b"one", 0o600).unwrap());
        assert!(!write_new_atomically(&path, b"two", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_finished_file_gets_a_name_that_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        for (content, is_new) in [("one", true), ("two", false)] {
            fs::write(&from, content).unwrap();
            assert_eq!(rename_durably_new(&from, &to).unwrap(), is_new);
            assert_eq!(fs::read(&to).unwrap(), b"one");
            assert!(!from.exists());
        }
        fs::write(&from, "three").unwrap();
        rename_durably(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"three");
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = write_atomically(&dir.path().join("no/such"), b"", 0o600);
        assert!(matches!(outcome, Err(Error::Io { .. })));
    }

    #[test]
    fn second_lock_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock_exclusive(&path).unwrap();
        assert!(matches!(lock_exclusive(&path), Err(Error::InUse { .. })));
        assert!(matches!(lock_exclusive_within(&path, Duration::from_millis(1)), Err(Error::InUse { .. })));
        drop(first);
        lock_exclusive_within(&path, Duration::ZERO).unwrap();
    }
}

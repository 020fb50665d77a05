//! The key of a database.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::Error;
use crate::files;
use crate::secret::Secret;

/// The raw 32-byte key of a database. Wiped on drop; cannot be printed. Losing it loses the database.
pub struct DbKey(Secret<32>);

impl DbKey {
    /// A fresh random key.
    pub fn generate() -> Self {
        Self(Secret::random())
    }

    /// A key that was kept elsewhere, such as in a key file under a password.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The key in the file at `path` (64 hexadecimal digits), which is created with a fresh key and permission 0600
    /// when it is missing. An existing file is never replaced. With `strict`, a file that others may read is refused.
    ///
    /// # Errors
    /// [`Error::Config`] when the file holds something else or is not private; [`Error::Io`].
    pub fn load_or_create(path: &Path, strict: bool) -> Result<Self, Error> {
        match Self::load(path, strict)? {
            Some(key) => Ok(key),
            None => Self::create(path, strict),
        }
    }

    /// The key bytes, to wrap them under a password. Whoever copies them wipes the copy.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What a key file holds.
    pub fn to_hex(&self) -> Zeroizing<String> {
        self.0.to_hex()
    }

    /// The statement that sets it: `key` for the one that a database has, `rekey` for the one that it gets.
    pub(super) fn pragma(&self, name: &str) -> Zeroizing<String> {
        let hex = self.0.to_hex();
        Zeroizing::new(format!("PRAGMA {name} = \"x'{}'\";", hex.as_str()))
    }

    fn create(path: &Path, strict: bool) -> Result<Self, Error> {
        let key = Self::generate();
        if files::write_new_atomically(path, key.0.to_hex().as_bytes(), 0o600)? {
            return Ok(key);
        }
        // Another process was faster; its key is the one in use.
        Self::load(path, strict)?.ok_or_else(|| Error::file("read", path, io::ErrorKind::NotFound.into()))
    }

    fn load(path: &Path, strict: bool) -> Result<Option<Self>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::file("open", path, e)),
        };
        if strict {
            refuse_shared(path, &file)?;
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE));
        file.take(MAX_KEY_FILE as u64).read_to_string(&mut text).map_err(|e| Error::file("read", path, e))?;
        let key = Secret::from_hex(text.trim()).ok_or_else(|| {
            Error::Config(format!("{} is not a database key: it should hold 64 hexadecimal digits", path.display()))
        })?;
        Ok(Some(Self(key)))
    }
}

/// A key and some white space; more cannot be a key file.
const MAX_KEY_FILE: usize = 128;

fn refuse_shared(path: &Path, file: &File) -> Result<(), Error> {
    let metadata: fs::Metadata = file.metadata().map_err(|e| Error::file("inspect", path, e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Config(format!(
                "{} can be read by others (mode {mode:o}): chmod 600 it",
                path.display()
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = metadata;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn created_once_then_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.key");
        let first = DbKey::load_or_create(&path, true).unwrap();
        let second = DbKey::load_or_create(&path, true).unwrap();
        assert_eq!(first.expose(), second.expose());
    }

    #[test]
    fn garbage_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.key");
        for text in ["", "abc", &"0".repeat(63), &"0".repeat(200)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(DbKey::load_or_create(&path, false), Err(Error::Config(_))));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, format!("{}\n", "0f".repeat(32))).unwrap();
        assert_eq!(DbKey::load_or_create(&path, false).unwrap().expose(), &[15; 32]);
    }

    #[cfg(unix)]
    #[test]
    fn strict_refuses_a_shared_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.key");
        DbKey::load_or_create(&path, true).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(DbKey::load_or_create(&path, true), Err(Error::Config(_))));
        assert!(DbKey::load_or_create(&path, false).is_ok());
    }
}

//! A download on disk. What has come lies sealed in a temporary file beside the target, so that after an interruption every
//! part of it is checked like one that has just come, and nothing that is not complete and right is ever readable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use qpq_io::files::{rename_durably, rename_durably_new};
use sha2::{Digest as _, Sha256};

use super::cipher::Cipher;
use super::fetch::{Plain, Sink};
use super::source::Stored;
use super::watch::{Step, Watch};
use crate::Error;

/// The sealed file as far as it has come.
pub struct Partial {
    file: File,
    path: PathBuf,
    received: u64,
}

impl Partial {
    /// Opens or makes the temporary file in `directory`, and drops what does not belong to this download.
    ///
    /// # Errors
    /// The directory cannot be written, or the same file is being downloaded to it.
    pub fn open(directory: &Path, stored: &Stored, watch: &mut Watch<'_>) -> Result<Self, Error> {
        let path = directory.join(temporary_name(stored));
        let failed = |error| failed(error, &path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = private(&mut options).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::BadInput("this file is being downloaded already".into()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut partial = Self { file, path, received: 0 };
        partial.check(stored, watch)?;
        Ok(partial)
    }

    fn check(&mut self, stored: &Stored, watch: &mut Watch<'_>) -> Result<(), Error> {
        let cipher = Cipher::new(&stored.key);
        watch.begin(Step::Receiving, stored.sealed());
        while let Some(sealed) = self.next_part(stored, self.received)? {
            let Some((place, _)) =
                stored.part_at(self.received).filter(|(place, _)| cipher.open(*place, &sealed).is_some())
            else {
                break;
            };
            self.received += sealed.len() as u64;
            watch.done(self.received)?;
            if place.is_last {
                break;
            }
        }
        self.file.set_len(self.received).map_err(|error| failed(error, &self.path))?;
        self.file.seek(SeekFrom::Start(self.received)).map_err(|error| failed(error, &self.path))?;
        Ok(())
    }

    /// The part at this offset, if all of it is here.
    fn next_part(&mut self, stored: &Stored, offset: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some((_, length)) = stored.part_at(offset) else { return Ok(None) };
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| failed(error, &self.path))?;
        let mut sealed = Vec::with_capacity(length);
        (&self.file).take(length as u64).read_to_end(&mut sealed).map_err(|error| failed(error, &self.path))?;
        Ok(Some(sealed).filter(|sealed| sealed.len() == length))
    }

    /// Opens everything into a file called `target`, which is either all of it or not there.
    ///
    /// # Errors
    /// The content is not what the message says; the target is there and may not be replaced.
    pub fn finish(mut self, stored: &Stored, target: &Path, replace: bool, watch: &mut Watch<'_>) -> Result<(), Error> {
        let opened = Opened(self.path.with_extension("plain"));
        let outcome = self.write_opened(stored, &opened.0, watch).and_then(|()| {
            if replace {
                return Ok(rename_durably(&opened.0, target)?);
            }
            if rename_durably_new(&opened.0, target)? { Ok(()) } else { Err(exists(target)) }
        });
        // What is right is kept for another attempt, with another name perhaps; what is wrong would only be so again.
        if outcome.is_ok() || matches!(outcome, Err(Error::Refused(_))) {
            self.discard();
        }
        outcome
    }

    /// Removes what has come.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    fn write_opened(&mut self, stored: &Stored, path: &Path, watch: &mut Watch<'_>) -> Result<(), Error> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = private(&mut options).open(path).map_err(|error| failed(error, path))?;
        let (cipher, mut plain, mut offset) = (Cipher::new(&stored.key), Plain::new(stored), 0);
        watch.begin(Step::Writing, stored.size);
        while let Some((place, length)) = stored.part_at(offset) {
            let sealed = self.next_part(stored, offset)?;
            let opened = sealed.and_then(|sealed| cipher.open(place, &sealed)).ok_or_else(|| {
                Error::Store(format!("{} changed while it was read; download it again", self.path.display()))
            })?;
            file.write_all(plain.take(&opened)).map_err(|error| failed(error, path))?;
            offset += length as u64;
            watch.done(offset.min(stored.size))?;
        }
        plain.finish()
    }
}

impl Sink for Partial {
    fn received(&self) -> u64 {
        self.received
    }

    fn take(&mut self, sealed: &[u8], _plain: &[u8]) -> Result<(), Error> {
        self.file.write_all(sealed).map_err(|error| failed(error, &self.path))?;
        self.received += sealed.len() as u64;
        Ok(())
    }
}

/// The opened file before it has its name; removed on drop, which does nothing once it has been renamed.
struct Opened(PathBuf);

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The same for the same file, and for nobody to guess.
fn temporary_name(stored: &Stored) -> String {
    let hash = Sha256::digest([b"quicproquo download 1\0", &stored.blob.0[..]].concat());
    let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!(".qpq-{digits}.part")
}

/// For the owner's eyes, as everything else of a profile.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Something of that name is there.
pub fn exists(target: &Path) -> Error {
    Error::Exists(target.to_owned())
}

fn failed(error: io::Error, path: &Path) -> Error {
    if error.kind() == io::ErrorKind::StorageFull {
        return Error::DiskFull;
    }
    Error::BadInput(format!("cannot write {}: {error}", path.display()))
}

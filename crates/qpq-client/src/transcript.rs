//! Transcripts of conversations as files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use qpq_core::crypto::transcript::{Reader, Record, Writer};
use qpq_io::files::{rename_durably, rename_durably_new};
use qpq_io::secret::SecretString;
use qpq_proto::ids::IdentityId;
use qpq_trust::identity::IdentityKeys;

use crate::client::Client;
use crate::error::Error;

/// A file that is there in full when [`Self::finish`] has returned, and not at all before.
pub struct TranscriptFile {
    path: PathBuf,
    replace: bool,
    unfinished: PathBuf,
    file: io::BufWriter<File>,
    sealed: Option<Writer>,
}

impl TranscriptFile {
    /// An encrypted file.
    ///
    /// # Errors
    /// The file is there already (unless `replace`), or cannot be written.
    pub fn sealed(path: &Path, replace: bool, passphrase: &SecretString) -> Result<Self, Error> {
        let mut made = Self::plain(path, replace)?;
        let (writer, start) = Writer::begin(passphrase.expose().as_bytes()).map_err(random)?;
        made.file.write_all(&start).map_err(|error| made.failed(&error))?;
        made.sealed = Some(writer);
        Ok(made)
    }

    /// A file that anybody can read.
    ///
    /// # Errors
    /// As [`Self::sealed`].
    pub fn plain(path: &Path, replace: bool) -> Result<Self, Error> {
        if path.exists() && !replace {
            return Err(is_there(path));
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(self::random)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{:016x}.part", u64::from_be_bytes(random)));
        let unfinished = PathBuf::from(unfinished);
        // A new file, and nobody else's: it may hold what only this user may read.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), replace, unfinished, file: io::BufWriter::new(file), sealed: None })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn line(&mut self, line: &str) -> Result<(), Error> {
        let bytes = match &mut self.sealed {
            Some(writer) => writer.line(line).map_err(random)?,
            None => format!("{line}\n").into_bytes(),
        };
        self.file.write_all(&bytes).map_err(|error| self.failed(&error))
    }

    /// Signs a sealed one, and gives the file its name.
    ///
    /// # Errors
    /// As [`Self::line`]; the client was closed.
    pub fn finish(mut self, client: &Client) -> Result<(), Error> {
        if let Some(writer) = self.sealed.take() {
            let account = client.look(|query| Ok(query.account()?.cloned()))?.ok_or(Error::Closed)?;
            let keys = account.identity_keys[..].try_into().map_err(|_| Error::Corrupt("identity keys".into()))?;
            let end = writer.end(&IdentityKeys::from_bytes(keys)).map_err(random)?;
            self.file.write_all(&end).map_err(|error| self.failed(&error))?;
        }
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|error| self.failed(&error))?;
        let named = match self.replace {
            true => rename_durably(&self.unfinished, &self.path).map(|()| true),
            false => rename_durably_new(&self.unfinished, &self.path),
        };
        match named {
            Ok(true) => Ok(()),
            Ok(false) => Err(is_there(&self.path)),
            Err(error) => Err(Error::BadInput(format!("cannot write {}: {error}", self.path.display()))),
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        cannot_write(&self.path, error)
    }
}

impl Drop for TranscriptFile {
    fn drop(&mut self) {
        // It is gone already when it has got its name.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

fn is_there(path: &Path) -> Error {
    Error::BadInput(format!("{} is there already; choose another name, or say --force", path.display()))
}

/// Reads a sealed transcript to its end; answers its lines and whose it is. Needs no profile.
///
/// # Errors
/// No transcript, the wrong passphrase, or changed.
pub fn verify_transcript(path: &Path, passphrase: &SecretString) -> Result<(Vec<String>, IdentityId), Error> {
    let bytes = std::fs::read(path).map_err(|error| Error::BadInput(format!("{}: {error}", path.display())))?;
    let refused = |error: qpq_core::crypto::transcript::TranscriptError| Error::Refused(error.to_string());
    let mut reader = Reader::open(&bytes, passphrase.expose().as_bytes()).map_err(refused)?;
    let mut lines = Vec::new();
    loop {
        match reader.record().map_err(refused)? {
            Record::Line(line) => lines.push(line),
            Record::End(identity) => return Ok((lines, identity)),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::BadInput(format!("cannot write {}: {error}", path.display()))
}

fn random(error: getrandom::Error) -> Error {
    Error::Internal(error.to_string())
}

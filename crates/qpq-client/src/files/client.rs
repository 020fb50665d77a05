//! The public methods.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qpq_core::engine::{Answer, Command};
use qpq_core::store::rows::TransferRow;
use qpq_core::view::ConversationId;
use qpq_proto::content::{Attachment, Body};
use qpq_proto::ids::{BlobId, MessageId};
use qpq_proto::limits;
use qpq_proto::time::Timestamp;

use super::calls::BlobAnswered;
use super::cipher::fresh_key;
use super::fetch::{Streamed, fetch};
use super::media_type;
use super::name::safe_name;
use super::partial::{Partial, exists};
use super::source::{Source, Stored};
use super::upload::upload;
use super::watch::{OnProgress, Remote, Watch};
use crate::Error;
use crate::actor::Turn;
use crate::client::Client;
use crate::waiter::{Awaited, waiter};
use crate::wire::BlobCall;

/// Where a download goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// It is there already.
    pub directory: PathBuf,
    /// Another name than the sender's.
    pub name: Option<String>,
    /// What has that name there.
    pub replace: bool,
}

/// What a download has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Absolute.
    pub path: PathBuf,
    pub size: u64,
    pub sha256: [u8; 32],
}

impl Client {
    /// Uploads a file and then stores a message about it to be sent, as [`Self::send_text`] does. Blocks for as long as
    /// something moves, over lost connections, and for at most `patience` while nothing does. After an interruption of any
    /// kind the same call goes on where it stopped, as long as the file has the same content.
    ///
    /// With a `key`, only once for each key, as [`Self::store_text`]: when its message is stored already, the file is not even
    /// looked at.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a file that cannot be read or is too large, [`Error::Refused`] when the server does not take
    /// it, [`Error::Offline`] and [`Error::TimedOut`] after `patience`, [`Error::Stopped`] when `progress` says so.
    pub fn send_file(
        &self,
        conversation: ConversationId,
        path: &Path,
        key: Option<&str>,
        patience: Duration,
        progress: OnProgress<'_>,
    ) -> Result<MessageId, Error> {
        if let Some(key) = key.map(str::to_owned)
            && let Some(stored) = self.look(move |query| query.message_of_key(conversation, &key))?
        {
            return Ok(stored);
        }
        let mut watch = Watch::new(self, patience, progress);
        let mut source = Source::read(regular(path)?, limits::FILE as u64, &mut watch)?;
        let row = self.transfer(conversation, path, &source)?;
        let stored = Stored { blob: row.blob, key: row.key, sha256: row.sha256, size: row.size };
        upload(&mut source, &stored, &mut watch)?;
        let name = sent_name(path);
        let file = Attachment {
            blob: stored.blob,
            key: stored.key,
            sha256: stored.sha256,
            size: stored.size,
            media_type: media_type::of(&name, source.beginning()).to_owned(),
            name,
        };
        self.send_attachment(conversation, file, key)
    }

    /// Stores a message about a file that is on the server already, such as one that somebody else has sent. With a `key`,
    /// once, as [`Self::store_text`].
    ///
    /// # Errors
    /// As [`Self::send_text`]. The server refuses the message when it does not have the file (any more).
    pub fn send_attachment(
        &self,
        conversation: ConversationId,
        file: Attachment,
        key: Option<&str>,
    ) -> Result<MessageId, Error> {
        let fallback = format!("[file {}, {} bytes]", file.name, file.size);
        match self.command(Command::Send {
            conversation,
            body: Body::Attachment(file),
            fallback,
            in_reply_to: None,
            key: key.map(str::to_owned),
        })? {
            Answer::Message { id, .. } => Ok(id),
            other => Err(Error::Internal(format!("an answer of another kind: {other:?}"))),
        }
    }

    /// The file that a message is about.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such message, or it is about no file.
    pub fn attachment(&self, conversation: ConversationId, number: u64) -> Result<Attachment, Error> {
        match self.message(conversation, number)?.content.body {
            Body::Attachment(file) => Ok(file),
            Body::Text(_)
            | Body::Reaction { .. }
            | Body::Edit { .. }
            | Body::Delete { .. }
            | Body::Receipt { .. }
            | Body::AskName
            | Body::NameKey(_)
            | Body::Unknown => Err(Error::BadInput(format!("message {number} has no file"))),
        }
    }

    /// Fetches the file of a message into a directory, and nowhere else. Blocks and goes on as [`Self::send_file`].
    ///
    /// # Errors
    /// Those of [`Self::attachment`]; [`Error::Exists`]; [`Error::Refused`] when the server has it no more, or when it is
    /// not what the message says.
    pub fn download(
        &self,
        conversation: ConversationId,
        number: u64,
        into: &Destination,
        patience: Duration,
        progress: OnProgress<'_>,
    ) -> Result<Downloaded, Error> {
        let file = self.attachment(conversation, number)?;
        let target = into.directory.join(safe_name(into.name.as_ref().unwrap_or(&file.name)));
        if !into.directory.is_dir() {
            let shown = into.directory.display();
            return Err(Error::BadInput(format!("there is no directory {shown}; make it first, or name another one")));
        }
        // Also what leads nowhere: whoever put it there meant something by it.
        if target.symlink_metadata().is_ok_and(|found| found.is_dir() || !into.replace) {
            return Err(exists(&target));
        }
        let stored = Stored::from(&file);
        let mut watch = Watch::new(self, patience, progress);
        super::fetch::check_size(&stored)?;
        let mut partial = Partial::open(&into.directory, &stored, &mut watch)?;
        if let Err(error) = fetch(&stored, &mut partial, &mut watch) {
            // There will never be more of it.
            if matches!(error, Error::Refused(_)) {
                partial.discard();
            }
            return Err(error);
        }
        partial.finish(&stored, &target, into.replace, &mut watch)?;
        let path = std::path::absolute(&target).unwrap_or(target);
        Ok(Downloaded { path, size: stored.size, sha256: stored.sha256 })
    }

    /// Uploads something under a key of its own. Nothing refers to it: the server forgets it after a day unless a message
    /// does. `begun` is what an earlier call was given or made, to go on with it; it counts only for the same content.
    ///
    /// # Errors
    /// As [`Self::send_file`].
    pub fn upload(
        &self,
        reader: impl Read + Seek,
        begun: Option<&Stored>,
        patience: Duration,
        progress: OnProgress<'_>,
    ) -> Result<Stored, Error> {
        let mut watch = Watch::new(self, patience, progress);
        let mut source = Source::read(reader, limits::FILE as u64, &mut watch)?;
        let same = begun.filter(|begun| begun.sha256 == source.sha256() && begun.size == source.size());
        let stored = same.map_or_else(|| fresh(&source), |begun| Ok(begun.clone()))?;
        upload(&mut source, &stored, &mut watch)?;
        Ok(stored)
    }

    /// Fetches what was uploaded, and writes it out as it comes. Only when this has returned it is known to be right.
    ///
    /// # Errors
    /// As [`Self::download`], and what `out` says.
    pub fn fetch(
        &self,
        stored: &Stored,
        out: &mut dyn Write,
        patience: Duration,
        progress: OnProgress<'_>,
    ) -> Result<(), Error> {
        let mut sink = Streamed::new(stored, out);
        fetch(stored, &mut sink, &mut Watch::new(self, patience, progress))?;
        sink.finish()
    }

    /// The upload that was begun for this conversation with the same content, or a new one, remembered.
    fn transfer<R: Read + Seek>(
        &self,
        conversation: ConversationId,
        path: &Path,
        source: &Source<R>,
    ) -> Result<TransferRow, Error> {
        let (sha256, size) = (source.sha256(), source.size());
        if let Some(begun) = self.look(move |query| query.transfer(conversation, sha256, size))? {
            return Ok(begun);
        }
        let stored = fresh(source)?;
        let row = TransferRow {
            blob: stored.blob,
            key: stored.key,
            conversation,
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned(),
            size,
            sha256,
            // The engine has the clock.
            begun: Timestamp(0),
        };
        self.command(Command::Transfer(row.clone()))?;
        Ok(row)
    }
}

impl Remote for Client {
    fn call(&self, call: BlobCall) -> Awaited<BlobAnswered> {
        let (answer, awaited) = waiter();
        // A client that was closed has no connection.
        let _ = self.turn(Turn::Blob(call, answer));
        awaited
    }

    fn is_online(&self) -> Result<bool, Error> {
        Self::is_online(self)
    }

    fn trouble(&self, waited: Duration) -> Error {
        Self::trouble(self, waited)
    }
}

fn fresh<R: Read + Seek>(source: &Source<R>) -> Result<Stored, Error> {
    let mut blob = [0; 32];
    getrandom::fill(&mut blob).map_err(|error| Error::Internal(error.to_string()))?;
    let key = *fresh_key().expose();
    Ok(Stored { blob: BlobId(blob), key, sha256: source.sha256(), size: source.size() })
}

/// A pipe or a device has no end, and no second reading.
fn regular(path: &Path) -> Result<File, Error> {
    let unreadable = |error| Error::BadInput(format!("cannot read {}: {error}", path.display()));
    // Before it is opened: opening a pipe waits for somebody to write into it.
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(Error::BadInput(format!("{} is not a file", path.display())));
    }
    File::open(path).map_err(unreadable)
}

/// What others get to see of the path.
fn sent_name(path: &Path) -> String {
    safe_name(&path.file_name().unwrap_or_default().to_string_lossy())
}

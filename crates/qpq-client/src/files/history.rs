//! Earlier messages for a new device. The archive lies in the profile's database, in parts, on both sides: encrypted like
//! everything else there, and so that a transfer goes on after any interruption.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use qpq_core::engine::Command;
use qpq_core::store::archive::{BEGINNING, HistoryRow, HistoryStage, HistoryStep, Reader, Record};
use qpq_proto::blobs::{PART, PLAIN_PART};
use qpq_proto::ids::BlobId;
use qpq_proto::limits;
use qpq_proto::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::cipher::fresh_key;
use super::fetch::{Sink, check_size, fetch};
use super::source::{Source, Stored};
use super::upload::upload;
use super::watch::{OnProgress, Outcome, PAUSE, Step, Watch};
use crate::Error;
use crate::client::Client;
use crate::wire::{BlobAnswer, BlobCall};

/// What has become of the histories that were on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Archives that are on the server now, for other devices.
    pub sent: u64,
    /// Archives that have come from another device.
    pub received: u64,
    /// Messages in them.
    pub messages: u64,
    /// Messages that cannot be read by this version, and archives that will never come.
    pub failed: u64,
}

impl Client {
    /// Whether a history is on its way, from or to this device.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn has_history_under_way(&self) -> Result<bool, Error> {
        Ok(!self.look(|query| query.histories())?.is_empty())
    }

    /// Carries the histories that are on their way, and goes on where an earlier call was interrupted. Blocks as
    /// [`Self::send_file`]; `awaits`: also until the other device has sent what is to come.
    ///
    /// # Errors
    /// Those of [`Self::send_file`]; what was not carried stays under way. One that the server will never have, or that is not
    /// what the other device has said, is given up, and counted as failed.
    pub fn carry_histories(
        &self,
        awaits: bool,
        patience: Duration,
        progress: OnProgress<'_>,
    ) -> Result<Carried, Error> {
        let (mut carried, mut trouble) = (Carried::default(), None);
        for row in self.look(|query| query.histories())? {
            let mut watch = Watch::new(self, patience, &mut *progress);
            let outcome = match row.stage {
                HistoryStage::Writing => Ok(()),
                HistoryStage::Sending => self.send_history(&row, &mut watch).map(|()| carried.sent += 1),
                HistoryStage::Receiving => self.receive_history(&row, awaits, &mut watch, &mut carried),
            };
            match outcome {
                Ok(()) => {}
                Err(Error::Refused(reason)) => {
                    tracing::warn!(%reason, "a history is given up");
                    carried.failed += 1;
                }
                // The others need not wait for this one.
                Err(error) => {
                    trouble = trouble.or(Some(error));
                    continue;
                }
            }
            self.history_step(HistoryStep::Forget(row.blob))?;
        }
        trouble.map_or(Ok(carried), Err)
    }

    /// Writes the archive of everything that is here.
    pub(crate) fn write_history(&self) -> Result<HistoryRow, Error> {
        let mut blob = [0; 32];
        getrandom::fill(&mut blob).map_err(|error| Error::Internal(error.to_string()))?;
        let row = HistoryRow {
            blob: BlobId(blob),
            key: *fresh_key().expose(),
            sha256: [0; 32],
            size: 0,
            stage: HistoryStage::Writing,
            parts: 0,
            begun: Timestamp(0),
        };
        self.history_step(HistoryStep::Save(row.clone()))?;
        let mut writer = Writer { client: self, row, hash: Sha256::new(), waiting: BEGINNING.to_vec() };
        for (id, record) in self.look(|query| query.archived_conversations())? {
            writer.record(&record)?;
            let mut before = None;
            loop {
                let now = now();
                let (records, next) = self.look(move |query| query.archive_page(id, before, PAGE, now))?;
                records.iter().try_for_each(|record| writer.record(record))?;
                if next.is_none() {
                    break;
                }
                before = next;
            }
        }
        writer.finish()
    }

    pub(crate) fn history_step(&self, step: HistoryStep) -> Result<(), Error> {
        self.command(Command::History(step)).map(|_| ())
    }

    fn send_history(&self, row: &HistoryRow, watch: &mut Watch<'_>) -> Result<(), Error> {
        let mut source = Source::read(Parts::new(self, row), limits::FILE as u64, watch)?;
        if source.sha256() != row.sha256 {
            return Err(Error::Refused("the archive of the history is damaged".into()));
        }
        upload(&mut source, &stored(row), watch)
    }

    fn receive_history(
        &self,
        row: &HistoryRow,
        awaits: bool,
        watch: &mut Watch<'_>,
        carried: &mut Carried,
    ) -> Result<(), Error> {
        let stored = stored(row);
        check_size(&stored)?;
        if stored.sealed() > received(&stored, row.parts) {
            if row.begun == Timestamp(0) {
                self.history_step(HistoryStep::Save(row.clone()))?;
            } else if now().since(row.begun) > GIVEN_UP {
                return Err(Error::Refused("the other device has not sent the history for a week".into()));
            }
            self.await_upload(&stored, awaits, watch)?;
            fetch(&stored, &mut Kept { client: self, stored: &stored, parts: row.parts }, watch)?;
        }
        // Nothing is believed before all of it is known to be right.
        let mut source = Parts::new(self, row);
        let (mut hash, mut piece) = (Sha256::new(), vec![0; PLAIN_PART]);
        let mut next = |source: &mut Parts<'_>| -> Result<Vec<u8>, Error> {
            let length = source.read(&mut piece).map_err(|error| Error::Store(error.to_string()))?;
            Ok(piece[..length].to_vec())
        };
        loop {
            let piece = next(&mut source)?;
            if piece.is_empty() {
                break;
            }
            hash.update(&piece);
        }
        if hash.finalize()[..] != row.sha256[..] {
            return Err(Error::Refused("the history is not what the other device has sent".into()));
        }
        let mut source = Parts::new(self, row);
        watch.begin(Step::Writing, row.size);
        let (mut reader, mut messages) = (Reader::default(), 0);
        loop {
            let piece = next(&mut source)?;
            if piece.is_empty() {
                break;
            }
            // It will not become another one by trying again.
            let records = reader.take(&piece).map_err(|error| Error::Refused(error.to_string()))?;
            messages += records.iter().filter(|record| matches!(record, Record::Message(_))).count() as u64;
            self.history_step(HistoryStep::Import(records))?;
            watch.done(source.at)?;
        }
        carried.received += 1;
        carried.messages += messages;
        carried.failed += reader.failed + u64::from(!reader.is_complete());
        Ok(())
    }

    /// The other device may not be ready: beginning an upload that has begun tells how far it is.
    fn await_upload(&self, stored: &Stored, awaits: bool, watch: &mut Watch<'_>) -> Result<(), Error> {
        let (size, mut before) = (stored.sealed(), None);
        watch.begin(Step::Receiving, size);
        loop {
            let begun = watch.call(BlobCall::Begin { blob: stored.blob, size });
            match watch.answer(&begun)? {
                Outcome::Answer(BlobAnswer::Received(there)) if there == size => return Ok(()),
                Outcome::Answer(BlobAnswer::Received(_)) if !awaits => return Err(Error::TimedOut(Duration::ZERO)),
                Outcome::Answer(BlobAnswer::Received(there)) if before != Some(there) => {
                    before = Some(there);
                    watch.begin(Step::Receiving, size);
                }
                Outcome::Answer(BlobAnswer::Received(_) | BlobAnswer::Bytes(_)) | Outcome::Again => {}
            }
            watch.pause(PAUSE * 5)?;
        }
    }
}

/// Fills parts with records.
struct Writer<'a> {
    client: &'a Client,
    row: HistoryRow,
    hash: Sha256,
    waiting: Vec<u8>,
}

impl Writer<'_> {
    fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.waiting.extend(record.frame()?);
        while self.waiting.len() >= PLAIN_PART {
            let rest = self.waiting.split_off(PLAIN_PART);
            self.part(rest)?;
        }
        Ok(())
    }

    fn part(&mut self, rest: Vec<u8>) -> Result<(), Error> {
        let bytes = std::mem::replace(&mut self.waiting, rest);
        self.hash.update(&bytes);
        self.row.size += bytes.len() as u64;
        self.row.parts += 1;
        self.client.history_step(HistoryStep::Keep { blob: self.row.blob, bytes })
    }

    fn finish(mut self) -> Result<HistoryRow, Error> {
        self.part(Vec::new())?;
        let Self { client, mut row, hash, .. } = self;
        (row.sha256, row.stage) = (hash.finalize().into(), HistoryStage::Sending);
        client.history_step(HistoryStep::Save(row.clone()))?;
        Ok(row)
    }
}

/// The plain archive out of its parts.
struct Parts<'a> {
    client: &'a Client,
    blob: BlobId,
    size: u64,
    at: u64,
    part: Option<(u64, Vec<u8>)>,
}

impl<'a> Parts<'a> {
    fn new(client: &'a Client, row: &HistoryRow) -> Self {
        Self { client, blob: row.blob, size: row.size, at: 0, part: None }
    }
}

impl Read for Parts<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size {
            return Ok(0);
        }
        let (blob, index) = (self.blob, self.at / PLAIN_PART as u64);
        let part = match self.part.take().filter(|(of, _)| *of == index) {
            Some((_, part)) => part,
            None => {
                let number = u32::try_from(index).map_err(io::Error::other)?;
                let part = self.client.look(move |query| query.history_part(blob, number)).map_err(io::Error::other)?;
                part.ok_or_else(|| io::Error::other("a part of the history is missing"))?
            }
        };
        let rest = usize::try_from(self.at % PLAIN_PART as u64).ok().and_then(|from| part.get(from..));
        let rest = rest.filter(|rest| !rest.is_empty());
        let rest = rest.ok_or_else(|| io::Error::other("a part of the history is too short"))?;
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.at += length as u64;
        self.part = Some((index, part));
        Ok(length)
    }
}

impl Seek for Parts<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("before the beginning"))?;
        Ok(self.at)
    }
}

/// Keeps what comes.
struct Kept<'a> {
    client: &'a Client,
    stored: &'a Stored,
    parts: u32,
}

impl Sink for Kept<'_> {
    fn received(&self) -> u64 {
        received(self.stored, self.parts)
    }

    fn take(&mut self, _sealed: &[u8], plain: &[u8]) -> Result<(), Error> {
        let left = self.stored.size.saturating_sub(u64::from(self.parts) * PLAIN_PART as u64);
        let length = usize::try_from(left).unwrap_or(PLAIN_PART).min(plain.len());
        let (blob, bytes) = (self.stored.blob, plain[..length].to_vec());
        self.client.history_step(HistoryStep::Keep { blob, bytes })?;
        self.parts += 1;
        Ok(())
    }
}

fn stored(row: &HistoryRow) -> Stored {
    Stored { blob: row.blob, key: row.key, sha256: row.sha256, size: row.size }
}

/// How much of the sealed archive so many parts are.
fn received(stored: &Stored, parts: u32) -> u64 {
    (u64::from(parts) * PART as u64).min(stored.sealed())
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Messages that are read into memory together.
const PAGE: usize = 200;
/// The server forgets what nobody goes on with much sooner.
const GIVEN_UP: Duration = Duration::from_secs(7 * 24 * 3600);

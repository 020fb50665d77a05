//! What is uploaded: read once to know it, and a second time, part by part, to send it.

use std::io::{self, Read, Seek, SeekFrom};

use qpq_proto::blobs::{self, PLAIN_PART};
use qpq_proto::content::Attachment;
use qpq_proto::ids::BlobId;
use sha2::{Digest as _, Sha256};

use super::cipher::{Cipher, Place};
use super::watch::{Step, Watch};
use crate::Error;

/// Where a file lies on the server, and what opens it. No `Debug`: whoever has it has the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub blob: BlobId,
    pub key: [u8; 32],
    /// Of the plain file.
    pub sha256: [u8; 32],
    pub size: u64,
}

impl From<&Attachment> for Stored {
    fn from(file: &Attachment) -> Self {
        Self { blob: file.blob, key: file.key, sha256: file.sha256, size: file.size }
    }
}

impl Stored {
    /// What lies on the server, in bytes.
    pub fn sealed(&self) -> u64 {
        blobs::sealed(self.size)
    }

    /// The part that begins at `offset` of what lies on the server, and its length there.
    pub fn part_at(&self, offset: u64) -> Option<(Place, usize)> {
        part_at(self.size, offset)
    }
}

fn part_at(size: u64, offset: u64) -> Option<(Place, usize)> {
    let sealed = blobs::sealed(size);
    let length = blobs::part_at(sealed, offset)?;
    let index = u32::try_from(offset / blobs::PART as u64).ok()?;
    Some((Place { index, is_last: offset + length as u64 == sealed }, length))
}

/// A file that has been read once. Each of its parts is compared when it is read again: one key never encrypts two
/// different contents in the same place, also when the file changes in between.
pub struct Source<R> {
    reader: R,
    /// The hash of the file as far as each part's beginning, and of all of it. Together with what came before a part, it tells
    /// whether that part is the same.
    hashes: Vec<Sha256>,
    sha256: [u8; 32],
    size: u64,
    beginning: Vec<u8>,
}

impl<R: Read + Seek> Source<R> {
    /// Reads all of it.
    pub fn read(mut reader: R, most: u64, watch: &mut Watch<'_>) -> Result<Self, Error> {
        let total = reader.seek(SeekFrom::End(0)).map_err(unreadable)?;
        check_size(total, most)?;
        reader.rewind().map_err(unreadable)?;
        watch.begin(Step::Reading, total);
        let (mut whole, mut hashes, mut size, mut beginning) = (Sha256::new(), Vec::new(), 0, Vec::new());
        loop {
            let part = next_part(&mut reader)?;
            if hashes.is_empty() {
                beginning = part[..part.len().min(super::media_type::BEGINNING)].to_vec();
            }
            hashes.push(whole.clone());
            if part.is_empty() {
                break;
            }
            size += part.len() as u64;
            // It may grow while it is read.
            check_size(size, most)?;
            whole.update(&part);
            watch.done(size)?;
        }
        Ok(Self { reader, hashes, sha256: whole.finalize().into(), size, beginning })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The first bytes, which tell what it is.
    pub fn beginning(&self) -> &[u8] {
        &self.beginning
    }

    /// The sealed part that begins at `offset` of the sealed file. None: nothing begins there.
    pub fn sealed_part(&mut self, cipher: &Cipher, offset: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some((place, length)) = part_at(self.size, offset) else { return Ok(None) };
        let begin = u64::from(place.index) * PLAIN_PART as u64;
        let mut plain = Vec::new();
        if let Some([before, after]) = self.hashes.get(place.index as usize..place.index as usize + 2) {
            self.reader.seek(SeekFrom::Start(begin)).map_err(unreadable)?;
            plain = next_part(&mut self.reader)?;
            if before.clone().chain_update(&plain).finalize() != after.clone().finalize() {
                return Err(Error::BadInput("the file changed while it was being sent; send it again".into()));
            }
        }
        plain.resize(length - blobs::TAG, 0);
        Ok(Some(cipher.seal(place, &plain)))
    }
}

/// Up to one whole part; less only at the end.
fn next_part(reader: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut part = Vec::with_capacity(PLAIN_PART);
    reader.take(PLAIN_PART as u64).read_to_end(&mut part).map_err(unreadable)?;
    Ok(part)
}

fn check_size(size: u64, most: u64) -> Result<(), Error> {
    if size > most {
        return Err(Error::BadInput(format!("the file is too large: {size} bytes, at most {most} can be sent")));
    }
    Ok(())
}

fn unreadable(error: io::Error) -> Error {
    Error::BadInput(format!("the file cannot be read: {error}"))
}

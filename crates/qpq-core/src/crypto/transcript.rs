//! Transcripts: what a device has of a conversation, sealed under a passphrase, each record chained to all before it, and the end
//! signed by the exporter's identity.
//!
//! What that proves: the file is what this identity exported, complete and in order. What it does not prove: that the senders
//! wrote what it says. MLS signs messages within the encryption, and nobody keeps those signatures; an exporter can write
//! down anything.
//!
//! `MAGIC`, the wrapped key (`u32` length before it), and records (`u32` length, then nonce and ciphertext of
//! ChaCha20-Poly1305 with the chain so far as associated data). The chain begins with SHA-256 of everything before the first
//! record; with each record it becomes SHA-256 of itself and the record's plaintext. The first byte of a record tells what it
//! is: a line of text, or the end.

use qpq_proto::ids::IdentityId;
use qpq_trust::identity::{IdentityKeys, PublicIdentity};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::key_file::{self, KeyFileError};

/// A transcript that is being made.
pub struct Writer {
    key: Zeroizing<[u8; 32]>,
    chain: [u8; 32],
}

/// A transcript that is being read, from its bytes.
pub struct Reader<'a> {
    key: Zeroizing<[u8; 32]>,
    chain: [u8; 32],
    rest: &'a [u8],
}

/// What stands in one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Line(String),
    /// Nothing follows, and this identity says so.
    End(IdentityId),
}

/// Why a transcript is not to be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    #[error("this is no transcript")]
    Foreign,
    #[error("wrong passphrase")]
    WrongPassphrase,
    #[error("the transcript was changed, or a part of it is missing")]
    Changed,
    #[error("the transcript is not signed by the identity that it names")]
    NotSigned,
}

impl Writer {
    /// Begins one; answers its first bytes.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn begin(passphrase: &[u8]) -> Result<(Self, Vec<u8>), getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut key[..])?;
        let wrapped = key_file::wrap(passphrase, &key)?;
        let start = [MAGIC, &length(&wrapped), &wrapped].concat();
        let chain = Sha256::digest(&start).into();
        Ok((Self { key, chain }, start))
    }

    /// The bytes of the next line.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn line(&mut self, line: &str) -> Result<Vec<u8>, getrandom::Error> {
        self.record(&[&[LINE], line.as_bytes()].concat())
    }

    /// The bytes of the end.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn end(mut self, keys: &IdentityKeys) -> Result<Vec<u8>, getrandom::Error> {
        let PublicIdentity { ed25519, ml_dsa_65 } = keys.public();
        let (classic, hybrid) = keys.sign_transcript(&self.chain);
        let fields: [&[u8]; 4] = [&ed25519, &ml_dsa_65, &classic, &hybrid];
        let fields: Vec<u8> = fields.into_iter().flat_map(|field| [&length(field), field].concat()).collect();
        self.record(&[&[END], &fields[..]].concat())
    }

    fn record(&mut self, plain: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let sealed = super::seal(&self.key, &self.chain, plain)?;
        self.chain = next(&self.chain, plain);
        Ok([&length(&sealed)[..], &sealed].concat())
    }
}

impl<'a> Reader<'a> {
    /// Opens one.
    ///
    /// # Errors
    /// Foreign, or the wrong passphrase.
    pub fn open(bytes: &'a [u8], passphrase: &[u8]) -> Result<Self, TranscriptError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(TranscriptError::Foreign)?;
        let (wrapped, rest) = field(rest).ok_or(TranscriptError::Foreign)?;
        let key = key_file::unwrap(passphrase, wrapped).map_err(|error| match error {
            KeyFileError::WrongPassword => TranscriptError::WrongPassphrase,
            KeyFileError::Damaged => TranscriptError::Changed,
        })?;
        let chain = Sha256::digest(&bytes[..bytes.len() - rest.len()]).into();
        Ok(Self { key, chain, rest })
    }

    /// The next record. Nothing may be relied upon before [`Record::End`] has come.
    ///
    /// # Errors
    /// Changed, cut off, or not signed by the identity that it names.
    pub fn record(&mut self) -> Result<Record, TranscriptError> {
        let (sealed, rest) = field(self.rest).ok_or(TranscriptError::Changed)?;
        let plain = super::open(&self.key, &self.chain, sealed).map_err(|_| TranscriptError::Changed)?;
        let (kind, body) = plain.split_first().ok_or(TranscriptError::Changed)?;
        match *kind {
            LINE => {
                let line = String::from_utf8(body.to_vec()).map_err(|_| TranscriptError::Changed)?;
                (self.chain, self.rest) = (next(&self.chain, &plain), rest);
                Ok(Record::Line(line))
            }
            END if rest.is_empty() => self.signed_by(body).map(Record::End),
            _ => Err(TranscriptError::Changed),
        }
    }

    fn signed_by(&self, body: &[u8]) -> Result<IdentityId, TranscriptError> {
        let mut fields = [&[][..]; 4];
        let mut rest = body;
        for one in &mut fields {
            (*one, rest) = field(rest).ok_or(TranscriptError::NotSigned)?;
        }
        let [ed25519, ml_dsa_65, classic, hybrid] = fields;
        let ed25519 = ed25519.try_into().map_err(|_| TranscriptError::NotSigned)?;
        let classic = classic.try_into().map_err(|_| TranscriptError::NotSigned)?;
        let identity = PublicIdentity { ed25519, ml_dsa_65: ml_dsa_65.to_vec() };
        identity.verify_transcript(&self.chain, classic, hybrid).map_err(|_| TranscriptError::NotSigned)?;
        Ok(identity.id())
    }
}

fn next(chain: &[u8; 32], plain: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(chain).chain_update(plain).finalize().into()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    // A record is one message with its reactions: far below four GiB.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// A length, and so many bytes.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

const MAGIC: &[u8] = b"qpq transcript 1\n";
const LINE: u8 = 1;
const END: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn made(lines: &[&str]) -> (Vec<u8>, Vec<usize>, IdentityId) {
        let keys = IdentityKeys::generate().expect("random numbers");
        let (mut writer, mut bytes) = Writer::begin(b"passphrase").expect("random numbers");
        let mut records = vec![bytes.len()];
        for line in lines {
            bytes.extend(writer.line(line).expect("random numbers"));
            records.push(bytes.len());
        }
        bytes.extend(writer.end(&keys).expect("random numbers"));
        (bytes, records, keys.public().id())
    }

    fn read(bytes: &[u8], passphrase: &[u8]) -> Result<(Vec<String>, IdentityId), TranscriptError> {
        read_all(Reader::open(bytes, passphrase)?)
    }

    fn read_all(mut reader: Reader<'_>) -> Result<(Vec<String>, IdentityId), TranscriptError> {
        let mut lines = vec![];
        loop {
            match reader.record()? {
                Record::Line(line) => lines.push(line),
                Record::End(identity) => return Ok((lines, identity)),
            }
        }
    }

    #[test]
    fn a_transcript_shows_every_change() {
        let (bytes, records, identity) = made(&["one", "two", "three"]);
        let lines = ["one", "two", "three"].map(str::to_owned).to_vec();
        assert_eq!(read(&bytes, b"passphrase"), Ok((lines, identity)));
        assert_eq!(read(&bytes, b"another"), Err(TranscriptError::WrongPassphrase));
        assert_eq!(read(b"something else", b"passphrase"), Err(TranscriptError::Foreign));
        // A byte changed anywhere after the key, a record left out, two swapped, the end missing, something behind it.
        let [start, one, two, _] = records[..] else { panic!("three records") };
        // To stretch the passphrase each time would take minutes.
        let opened = Reader::open(&bytes, b"passphrase").expect("the passphrase");
        let read_rest = |rest: &[u8]| read_all(Reader { key: opened.key.clone(), chain: opened.chain, rest });
        assert!(read_rest(&bytes[start..]).is_ok());
        for at in (start..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read_rest(&changed[start..]).is_err(), "{at}");
        }
        let without = [&bytes[start..one], &bytes[two..]].concat();
        assert_eq!(read_rest(&without), Err(TranscriptError::Changed));
        let swapped = [&bytes[one..two], &bytes[start..one], &bytes[two..]].concat();
        assert_eq!(read_rest(&swapped), Err(TranscriptError::Changed));
        assert_eq!(read_rest(&bytes[start..two]), Err(TranscriptError::Changed));
        assert_eq!(read_rest(&[&bytes[start..], b"x"].concat()), Err(TranscriptError::Changed));
    }

    /// As the first version wrote it.
    #[test]
    fn transcripts_stay_readable() {
        let bytes = include_bytes!("transcript-1.qpq");
        let (lines, identity) = read(bytes, b"pw").expect("readable");
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("hello from bob"), "{}", lines[0]);
        assert_eq!(identity.short(), "a97c1480");
    }
}

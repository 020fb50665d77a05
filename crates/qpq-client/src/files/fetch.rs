//! Fetching a file from the server: in order, a few parts ahead, each checked as it comes.

use std::collections::VecDeque;
use std::io::Write;

use qpq_proto::blobs::PLAIN_PART;
use qpq_proto::limits;
use sha2::{Digest as _, Sha256};

use super::cipher::{Cipher, Place};
use super::source::Stored;
use super::upload::AHEAD;
use super::watch::{Outcome, Step, Watch};
use crate::Error;
use crate::wire::{BlobAnswer, BlobCall};

/// Where the parts go.
pub trait Sink {
    /// How much of the sealed file it has.
    fn received(&self) -> u64;
    /// The next part, sealed and opened.
    fn take(&mut self, sealed: &[u8], plain: &[u8]) -> Result<(), Error>;
}

/// Fetches what the sink does not have yet.
pub fn fetch(stored: &Stored, sink: &mut dyn Sink, watch: &mut Watch<'_>) -> Result<(), Error> {
    check_size(stored)?;
    let cipher = Cipher::new(&stored.key);
    watch.begin(Step::Receiving, stored.sealed());
    loop {
        watch.done(sink.received())?;
        if run(stored, &cipher, sink, watch)? {
            return Ok(());
        }
    }
}

fn run(stored: &Stored, cipher: &Cipher, sink: &mut dyn Sink, watch: &mut Watch<'_>) -> Result<bool, Error> {
    let mut next = sink.received();
    let mut on_the_way = VecDeque::<(Place, usize, _)>::new();
    loop {
        while on_the_way.len() < AHEAD
            && let Some((place, length)) = stored.part_at(next)
        {
            let call = BlobCall::Get { blob: stored.blob, offset: next, length: length as u32 };
            on_the_way.push_back((place, length, watch.call(call)));
            next += length as u64;
        }
        let Some((place, length, answer)) = on_the_way.pop_front() else { return Ok(true) };
        match watch.answer(&answer)? {
            Outcome::Answer(BlobAnswer::Bytes(sealed)) => {
                // Shorter than the sender says is caught here as well.
                let plain = Some(&sealed).filter(|sealed| sealed.len() == length);
                let plain = plain.and_then(|sealed| cipher.open(place, sealed)).ok_or_else(damaged)?;
                sink.take(&sealed, &plain)?;
                watch.done(sink.received())?;
            }
            Outcome::Answer(BlobAnswer::Received(_)) => return Err(damaged()),
            Outcome::Again => return Ok(false),
        }
    }
}

/// What a message claims is bounded before anything is done for it.
pub fn check_size(stored: &Stored) -> Result<(), Error> {
    if stored.size > limits::FILE as u64 {
        let (size, most) = (stored.size, limits::FILE);
        return Err(Error::Refused(format!("the message speaks of {size} bytes; no file has more than {most}")));
    }
    Ok(())
}

fn damaged() -> Error {
    let text =
        "what the server has is not what the message says: it was damaged or exchanged, or the message lies about it";
    Error::Refused(format!("{text}; nothing was written, ask for it to be sent again"))
}

/// What a message says about the plain file, checked when all of it is there.
pub struct Plain {
    hash: Sha256,
    left: u64,
    expected: [u8; 32],
}

impl Plain {
    pub fn new(stored: &Stored) -> Self {
        Self { hash: Sha256::new(), left: stored.size, expected: stored.sha256 }
    }

    /// The next opened part without what it was padded with.
    pub fn take<'p>(&mut self, part: &'p [u8]) -> &'p [u8] {
        let length = usize::try_from(self.left).unwrap_or(PLAIN_PART).min(part.len());
        let part = &part[..length];
        self.left -= length as u64;
        self.hash.update(part);
        part
    }

    pub fn finish(self) -> Result<(), Error> {
        if self.left == 0 && self.hash.finalize()[..] == self.expected[..] { Ok(()) } else { Err(damaged()) }
    }
}

/// A sink that only hands the plain bytes on: for what is not a file for people.
pub struct Streamed<'a> {
    out: &'a mut dyn Write,
    plain: Plain,
    received: u64,
}

impl<'a> Streamed<'a> {
    pub fn new(stored: &Stored, out: &'a mut dyn Write) -> Self {
        Self { out, plain: Plain::new(stored), received: 0 }
    }

    /// Only now it is known that what was handed on is right.
    pub fn finish(self) -> Result<(), Error> {
        self.plain.finish()
    }
}

impl Sink for Streamed<'_> {
    fn received(&self) -> u64 {
        self.received
    }

    fn take(&mut self, sealed: &[u8], plain: &[u8]) -> Result<(), Error> {
        self.received += sealed.len() as u64;
        let bytes = self.plain.take(plain);
        self.out.write_all(bytes).map_err(|error| Error::Store(format!("cannot write: {error}")))
    }
}

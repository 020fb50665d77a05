//! Sending a file to the server: in order, a few parts ahead of what it has confirmed.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use super::cipher::Cipher;
use super::source::{Source, Stored};
use super::watch::{Outcome, Step, Watch};
use crate::Error;
use crate::wire::{BlobAnswer, BlobCall};

/// Uploads what the server does not have yet. On return it has everything on disk.
pub fn upload<R: Read + Seek>(source: &mut Source<R>, stored: &Stored, watch: &mut Watch<'_>) -> Result<(), Error> {
    let (cipher, size) = (Cipher::new(&stored.key), stored.sealed());
    watch.begin(Step::Sending, size);
    loop {
        let begun = watch.call(BlobCall::Begin { blob: stored.blob, size });
        let received = match watch.answer(&begun)? {
            Outcome::Answer(BlobAnswer::Received(received)) => received,
            Outcome::Answer(BlobAnswer::Bytes(_)) => return Err(senseless()),
            Outcome::Again => continue,
        };
        if received != size && stored.part_at(received).is_none() {
            return Err(senseless());
        }
        watch.done(received)?;
        if run(source, stored, &cipher, received, watch)? {
            return Ok(());
        }
    }
}

/// One connection's worth of it. Whether it came to the end.
fn run<R: Read + Seek>(
    source: &mut Source<R>,
    stored: &Stored,
    cipher: &Cipher,
    received: u64,
    watch: &mut Watch<'_>,
) -> Result<bool, Error> {
    let mut next = received;
    let mut on_the_way = VecDeque::new();
    loop {
        while on_the_way.len() < AHEAD
            && let Some(bytes) = source.sealed_part(cipher, next)?
        {
            let end = next + bytes.len() as u64;
            on_the_way.push_back((end, watch.call(BlobCall::Put { blob: stored.blob, offset: next, bytes })));
            next = end;
        }
        let Some((end, answer)) = on_the_way.pop_front() else { return Ok(true) };
        match watch.answer(&answer)? {
            Outcome::Answer(BlobAnswer::Received(received)) if received >= end => watch.done(end)?,
            // The part before did not arrive, or the server was set back.
            Outcome::Answer(BlobAnswer::Received(_)) | Outcome::Again => return Ok(false),
            Outcome::Answer(BlobAnswer::Bytes(_)) => return Err(senseless()),
        }
    }
}

fn senseless() -> Error {
    Error::Refused("the server's answer about the file makes no sense; its operator should look at it".into())
}

/// Parts that have not been confirmed: as much as a fast connection takes, and little enough to hold in memory.
pub const AHEAD: usize = 6;

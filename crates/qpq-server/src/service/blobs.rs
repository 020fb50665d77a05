//! Files: encrypted before they come here, and kept for as long as a message refers to them.

use std::time::Duration;

use qpq_proto::blobs;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::{BlobId, ContentHash};
use qpq_proto::time::Timestamp;

use super::{Caller, Service, refuse};
use crate::store::blob::{Begun, BlobName, NewBlob, NewPart, Put};

/// How long files are kept.
#[derive(Clone, Copy, Debug)]
pub struct BlobLife {
    /// Those that a message refers to, after the last such message.
    pub referred: Duration,
    /// Those that none refers to, after their last beginning.
    pub unreferred: Duration,
}

impl Service {
    /// Makes room for a blob, or answers how much of it is here.
    pub async fn begin_blob(&self, caller: &Caller, id: BlobId, size: u64) -> Result<u64, Refusal> {
        let most = self.options.limits.max_file;
        if size > blobs::sealed(most.0 as u64) {
            let detail = format!("this server takes files of at most {most} (limits.max_file)");
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        if size < blobs::sealed(0) {
            return Err(Refusal::new(Code::Invalid, "a blob without padding"));
        }
        self.limits.file_parts.check(&caller.identity, &self.metrics)?;
        let now = self.clock.now();
        let keep_until = now.after(self.options.blobs.unreferred);
        let blob = NewBlob { name: name(id), owner: caller.identity, size, keep_until };
        match self.store.begin_blob(blob, now).await? {
            Begun::Received(received) => Ok(received),
            Begun::Taken => Err(Refusal::new(Code::Forbidden, "this blob id is in use; begin again with another one")),
            Begun::Quota(limit) => Err(refuse::quota(limit)),
        }
    }

    /// Takes the next part of a blob of the caller's account; answers how much of it is here then.
    pub async fn put_part(&self, caller: &Caller, id: BlobId, offset: u64, bytes: Vec<u8>) -> Result<u64, Refusal> {
        self.limits.file_parts.check(&caller.identity, &self.metrics)?;
        let length = bytes.len() as u64;
        let part = NewPart { name: name(id), owner: caller.identity, offset, bytes };
        match self.store.put_part(part, self.clock.now()).await? {
            Put::Received(received) => {
                self.metrics.file_bytes_received.inc_by(length);
                Ok(received)
            }
            Put::Unknown => Err(no_such_blob()),
            Put::Misplaced => Err(Refusal::new(Code::Invalid, "no part of this length has its place there")),
        }
    }

    /// Some bytes of a complete blob, for whoever knows its id.
    pub async fn read_blob(&self, caller: &Caller, id: BlobId, offset: u64, length: usize) -> Result<Vec<u8>, Refusal> {
        self.limits.file_parts.check(&caller.identity, &self.metrics)?;
        let bytes = self.store.read_blob(name(id), offset, length.min(blobs::PART), self.clock.now()).await?;
        let bytes = bytes.ok_or_else(no_such_blob)?;
        self.metrics.file_bytes_sent.inc_by(bytes.len() as u64);
        Ok(bytes)
    }

    /// How long what a message refers to is kept for it.
    pub(super) fn blobs_until(&self, now: Timestamp, expires: Option<Timestamp>) -> Timestamp {
        let retained = now.after(self.options.blobs.referred);
        expires.map_or(retained, |expires| expires.min(retained))
    }

    /// Forgets the blobs whose time is up.
    pub(super) async fn sweep_blobs(&self) -> Result<(), Refusal> {
        loop {
            let swept = self.store.sweep_blobs(self.clock.now()).await?;
            self.metrics.swept_parts.inc_by(swept.erased);
            if !swept.more {
                return Ok(());
            }
        }
    }
}

/// What the store knows a blob by.
pub(super) fn name(id: BlobId) -> BlobName {
    BlobName(ContentHash::of(&[b"quicproquo blob 1\0", &id.0[..]].concat()))
}

/// Unknown, somebody else's, unfinished: never told apart.
fn no_such_blob() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such file on the server, or not any more")
}

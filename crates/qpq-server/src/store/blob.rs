//! Encrypted files, as rows.

use qpq_proto::ids::{ContentHash, IdentityId};
use qpq_proto::time::Timestamp;

/// What the store knows a blob by: the hash of its id. Whoever knows the id may fetch it, so looking it up must not help to
/// find one, not even by the time that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobName(pub ContentHash);

/// A blob as its uploader announces it.
#[derive(Clone, Copy, Debug)]
pub struct NewBlob {
    pub name: BlobName,
    pub owner: IdentityId,
    /// Of all parts together.
    pub size: u64,
    /// How long it is kept if nothing refers to it.
    pub keep_until: Timestamp,
}

/// What came of announcing a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There is room for it, and so many bytes of it are here.
    Received(u64),
    /// The id is in use: by somebody else, or for a blob of another size.
    Taken,
    /// Nothing was stored; the limit's name.
    Quota(&'static str),
}

/// One part of a blob.
#[derive(Clone, Debug)]
pub struct NewPart {
    pub name: BlobName,
    pub owner: IdentityId,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// What came of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// So many bytes are here now. A part that comes too early is not taken, one that is here already not again.
    Received(u64),
    /// No such blob of this account.
    Unknown,
    /// No part of this length has its place there.
    Misplaced,
}

/// What a sweep of blobs did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweptBlobs {
    /// Parts that were erased.
    pub erased: u64,
    /// There is more to erase.
    pub more: bool,
}

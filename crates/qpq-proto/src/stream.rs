//! Logs, entries and positions.

use serde::{Deserialize, Serialize};

use crate::generated::stream_capnp;
use crate::ids::{ContentHash, Epoch, GroupId, Seq};
use crate::limits;
use crate::read::{self, Malformed};
use crate::time::Timestamp;

/// One append-only log that a device reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LogId {
    /// What is addressed to this device alone.
    Inbox,
    /// What all devices of the group read.
    Group(GroupId),
}

impl LogId {
    /// Reads it from the wire.
    pub fn read(reader: stream_capnp::log_id::Reader<'_>) -> Result<Self, Malformed> {
        Ok(match reader.which()? {
            stream_capnp::log_id::Inbox(()) => Self::Inbox,
            stream_capnp::log_id::Group(group) => Self::Group(GroupId(read::array("log.group", group)?)),
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: stream_capnp::log_id::Builder<'_>) {
        match self {
            Self::Inbox => builder.set_inbox(()),
            Self::Group(group) => builder.set_group(&group.0),
        }
    }
}

/// What an entry's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// MLSMessage(PrivateMessage) with application content.
    Message,
    /// MLSMessage(PublicMessage) with a commit: the group's epoch grows by one.
    Commit,
    /// MLSMessage(PublicMessage) with a proposal: somebody leaves.
    Proposal,
    /// A sealed `WelcomeBundle`; only in inboxes.
    Welcome,
}

impl From<EntryKind> for stream_capnp::entry::Kind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Message => Self::Message,
            EntryKind::Commit => Self::Commit,
            EntryKind::Proposal => Self::Proposal,
            EntryKind::Welcome => Self::Welcome,
        }
    }
}

impl From<stream_capnp::entry::Kind> for EntryKind {
    fn from(kind: stream_capnp::entry::Kind) -> Self {
        match kind {
            stream_capnp::entry::Kind::Message => Self::Message,
            stream_capnp::entry::Kind::Commit => Self::Commit,
            stream_capnp::entry::Kind::Proposal => Self::Proposal,
            stream_capnp::entry::Kind::Welcome => Self::Welcome,
        }
    }
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub log: LogId,
    pub seq: Seq,
    /// When the server accepted it, by the server's clock.
    pub at: Timestamp,
    pub kind: EntryKind,
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

impl Entry {
    /// Reads it from the wire. An echo has no payload.
    pub fn read(reader: stream_capnp::entry::Reader<'_>) -> Result<Self, Malformed> {
        Self::read_or_echo(reader, |_| None)
    }

    /// The same; `sent` gives the payload of an echo, which this end has sent over the connection.
    pub fn read_or_echo(
        reader: stream_capnp::entry::Reader<'_>,
        sent: impl FnOnce(ContentHash) -> Option<Vec<u8>>,
    ) -> Result<Self, Malformed> {
        let payload = if reader.has_echo() {
            let hash = ContentHash(read::array("entry.echo", reader.get_echo())?);
            sent(hash).ok_or_else(|| Malformed::new("entry.echo", "is of something that was not sent"))?
        } else {
            read::some_bytes("entry.payload", reader.get_payload(), limits::HANDSHAKE)?
        };
        Ok(Self {
            log: LogId::read(reader.get_log()?)?,
            seq: Seq(reader.get_seq()),
            at: Timestamp(reader.get_at_ms()),
            kind: reader.get_kind()?.into(),
            payload,
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: stream_capnp::entry::Builder<'_>) {
        self.write_head(builder.reborrow());
        builder.set_payload(&self.payload);
    }

    /// Writes it to the wire with the hash of its payload alone, for the device that has sent it.
    pub fn write_echo(&self, mut builder: stream_capnp::entry::Builder<'_>, hash: ContentHash) {
        self.write_head(builder.reborrow());
        builder.set_echo(&hash.0);
    }

    fn write_head(&self, mut builder: stream_capnp::entry::Builder<'_>) {
        self.log.write(builder.reborrow().init_log());
        builder.set_seq(self.seq.0);
        builder.set_at_ms(self.at.0);
        builder.set_kind(self.kind.into());
    }
}

/// An entry that a device has taken, told apart from any other that may have stood in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    pub seq: Seq,
    /// See [`digest`].
    pub digest: u64,
}

impl Mark {
    /// Reads a list of them from the wire.
    pub fn read_list(list: capnp::struct_list::Reader<'_, stream_capnp::mark::Owned>) -> Result<Vec<Self>, Malformed> {
        read::count("marks", list.len(), limits::MARKS)?;
        Ok(list.iter().map(|reader| Self { seq: Seq(reader.get_seq()), digest: reader.get_digest() }).collect())
    }

    /// Writes a list of them to the wire; `builder` has the list's length.
    pub fn write_list(marks: &[Self], mut builder: capnp::struct_list::Builder<'_, stream_capnp::mark::Owned>) {
        for (index, mark) in marks.iter().enumerate() {
            let mut builder = builder.reborrow().get(index as u32);
            builder.set_seq(mark.seq.0);
            builder.set_digest(mark.digest);
        }
    }
}

/// The first 8 bytes of a hash: enough to tell entries of one log, or epochs of one group, apart.
pub fn digest(hash: ContentHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What a device learns when it begins to follow a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Where the log ends now, as far as this device may see it.
    pub head: Seq,
    /// Entries come from after here on: before the device's own position when the server was set back.
    pub from: Seq,
    /// What the server knows the device to have stored in its present stay; beyond the device's own position when the
    /// device was set back.
    pub acknowledged: Seq,
    /// The present stay in a group begins after here: of what comes later, only what was forgotten is left out.
    pub joined: Seq,
    /// Where a group stands; none for an inbox.
    pub lineage: Option<Lineage>,
}

/// One epoch of one of the ways that a group may have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    pub epoch: Epoch,
    /// [`digest`] of the encoded GroupContext (RFC 9420, section 8.1).
    pub context: u64,
}

/// How far something has come in one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    pub log: LogId,
    pub seq: Seq,
}

impl Position {
    /// Reads a list of them from the wire.
    pub fn read_list(
        list: capnp::struct_list::Reader<'_, stream_capnp::position::Owned>,
    ) -> Result<Vec<Self>, Malformed> {
        read::count("positions", list.len(), limits::POSITIONS)?;
        list.iter()
            .map(|reader| Ok(Self { log: LogId::read(reader.get_log()?)?, seq: Seq(reader.get_seq()) }))
            .collect()
    }

    /// Writes a list of them to the wire; `builder` has the list's length.
    pub fn write_list(positions: &[Self], mut builder: capnp::struct_list::Builder<'_, stream_capnp::position::Owned>) {
        for (index, position) in positions.iter().enumerate() {
            let mut builder = builder.reborrow().get(index as u32);
            position.log.write(builder.reborrow().init_log());
            builder.set_seq(position.seq.0);
        }
    }
}

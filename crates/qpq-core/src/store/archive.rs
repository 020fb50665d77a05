//! The archive of earlier messages that a new device gets from another one of the same person. It is a stream: a beginning
//! that names the format, and then records, each after its length. What it was told here is checked like what strangers say.

use qpq_proto::content::Content;
use qpq_proto::ids::{BlobId, DeviceId, IdentityId, MessageId, Seq};
use qpq_proto::limits;
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::notes::{NoteKind, NoteRow};
use super::rows::{ConversationRow, MessageRow, Row, row};
use super::{StoreError, Table, decode, encode};
use crate::view::{ConversationId, MessageStatus};

/// What an archive begins with; the last byte is the format.
pub const BEGINNING: &[u8; 12] = b"qpq history\x01";

/// One record. A kind that this version does not know is counted as failed, and the others are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Comes before its messages.
    Conversation {
        id: ConversationId,
        last_activity: Timestamp,
    },
    Message(Box<ArchivedMessage>),
}

/// A message that the server has, and what is noted about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedMessage {
    pub conversation: ConversationId,
    pub number: u64,
    pub id: MessageId,
    pub seq: Option<Seq>,
    pub sender: IdentityId,
    pub device: DeviceId,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    /// Said by this identity on the device that wrote the archive.
    pub is_sent: bool,
    pub expires_at: Option<Timestamp>,
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
    pub notes: Vec<NoteRow>,
}

impl Record {
    pub fn of_conversation(row: &ConversationRow) -> Self {
        Self::Conversation { id: row.id, last_activity: row.last_activity }
    }

    /// None for what does not travel: what is held, is not at the server, or is due.
    pub fn of_message(row: MessageRow, mut notes: Vec<NoteRow>, now: Timestamp) -> Option<Self> {
        let is_sent = match row.status {
            MessageStatus::Sent => true,
            MessageStatus::Received => false,
            MessageStatus::Waiting | MessageStatus::Failed(_) => return None,
        };
        if row.held || row.expires_at.is_some_and(|at| at <= now) {
            return None;
        }
        // What is to be said again is the affair of the device that said it.
        notes.retain(|note| note.kind != NoteKind::SaidBefore);
        notes.truncate(NOTES);
        Some(Self::Message(Box::new(ArchivedMessage {
            conversation: row.conversation,
            number: row.number,
            id: row.id,
            seq: row.seq,
            sender: row.sender,
            device: row.device,
            sent_at: row.sent_at,
            received_at: row.received_at,
            is_sent,
            expires_at: row.expires_at,
            content: row.content,
            notes,
        })))
    }

    /// The bytes in the archive: the length, and the record.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn frame(&self) -> Result<Vec<u8>, StoreError> {
        let record = encode(self)?;
        let length = u32::try_from(record.len()).map_err(|_| StoreError::Failed("a record is too large".into()))?;
        Ok([&length.to_be_bytes()[..], &record].concat())
    }

    fn check(self) -> Option<Self> {
        let Self::Message(message) = &self else { return Some(self) };
        let content = Content::decode(&message.content).ok()?;
        let fits = content.id == message.id
            && message.notes.len() <= NOTES
            && message.notes.iter().all(|note| note.conversation == message.conversation && note.message == message.id)
            && i64::try_from(message.number).is_ok_and(|number| number > 0)
            && message.seq.is_none_or(|seq| i64::try_from(seq.0).is_ok())
            && content.text().len() <= limits::TEXT;
        fits.then_some(self)
    }
}

impl ArchivedMessage {
    /// As it is stored. None when its content cannot be read.
    pub fn row(&self) -> Option<MessageRow> {
        let text = Content::decode(&self.content).ok()?.text().to_owned();
        Some(MessageRow {
            conversation: self.conversation,
            number: self.number,
            id: self.id,
            seq: self.seq,
            sender: self.sender,
            device: self.device,
            sent_at: self.sent_at,
            received_at: self.received_at,
            status: if self.is_sent { MessageStatus::Sent } else { MessageStatus::Received },
            held: false,
            expires_at: self.expires_at,
            text,
            content: self.content.clone(),
        })
    }
}

/// Reads an archive that comes in pieces of any length.
#[derive(Default)]
pub struct Reader {
    waiting: Vec<u8>,
    has_begun: bool,
    /// Records that this version cannot make anything of.
    pub failed: u64,
}

impl Reader {
    /// The records that are complete with this piece.
    ///
    /// # Errors
    /// It is no archive, one of a newer format, or damaged.
    pub fn take(&mut self, piece: &[u8]) -> Result<Vec<Record>, StoreError> {
        self.waiting.extend_from_slice(piece);
        let (mut records, mut at) = (Vec::new(), 0);
        if !self.has_begun {
            let Some(beginning) = self.waiting.first_chunk::<12>() else { return Ok(records) };
            if beginning != BEGINNING {
                return Err(StoreError::Corrupt("the history has a format that this version does not know".into()));
            }
            (self.has_begun, at) = (true, BEGINNING.len());
        }
        while let Some(length) = self.waiting.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            let length = u32::from_be_bytes(*length) as usize;
            if length > RECORD {
                return Err(StoreError::Corrupt("a record of the history is too long".into()));
            }
            let Some(bytes) = self.waiting.get(at + 4..at + 4 + length) else { break };
            match decode::<Record>(bytes).ok().and_then(Record::check) {
                Some(record) => records.push(record),
                None => self.failed += 1,
            }
            at += 4 + length;
        }
        self.waiting.drain(..at);
        Ok(records)
    }

    /// Nothing is missing at the end.
    pub fn is_complete(&self) -> bool {
        self.has_begun && self.waiting.is_empty()
    }
}

/// An archive on its way, kept in parts in this profile. No `Debug`: it holds the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    pub blob: BlobId,
    pub key: [u8; 32],
    pub sha256: [u8; 32],
    pub size: u64,
    pub stage: HistoryStage,
    /// Parts that are here.
    pub parts: u32,
    pub begun: Timestamp,
}

/// What is being done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryStage {
    /// It is written; of no use after an interruption.
    Writing,
    Sending,
    Receiving,
}

/// A step with an archive, in one transaction.
pub enum HistoryStep {
    Save(HistoryRow),
    /// The next part has come.
    Keep {
        blob: BlobId,
        bytes: Vec<u8>,
    },
    Import(Vec<Record>),
    Forget(BlobId),
}

/// Where a part is kept.
pub fn part_key(blob: BlobId, index: u32) -> Vec<u8> {
    [&blob.0[..], &index.to_be_bytes()].concat()
}

row!(HistoryRow, Histories, BlobId, |key| key.0.to_vec(), |row| row.blob);

/// More is no message that anybody could have sent, with everything that a large group can have noted about it.
const RECORD: usize = 4 * 1024 * 1024;
/// Notes about one message that travel: so many fit into a record.
const NOTES: usize = 8192;

#[cfg(test)]
mod tests {
    use qpq_proto::content::Body;

    use super::*;

    fn message() -> Record {
        let (conversation, id, by) =
            (ConversationId::Direct(IdentityId([1; 32])), MessageId([2; 16]), IdentityId([3; 32]));
        let body = Body::Text("hi".into());
        let content =
            Content { id, sent_at: Timestamp(4), in_reply_to: None, expires_after: None, fallback: "hi".into(), body };
        let kind = NoteKind::Reaction { emoji: "x".into() };
        Record::Message(Box::new(ArchivedMessage {
            conversation,
            number: 5,
            id,
            seq: Some(Seq(6)),
            sender: by,
            device: DeviceId([7; 16]),
            sent_at: Timestamp(8),
            received_at: Timestamp(9),
            is_sent: true,
            expires_at: None,
            content: content.encode(),
            notes: vec![NoteRow { conversation, message: id, by, kind, at: Timestamp(10) }],
        }))
    }

    #[test]
    fn it_is_read_in_pieces_of_any_length() {
        let id = ConversationId::Direct(IdentityId([1; 32]));
        let records = [Record::Conversation { id, last_activity: Timestamp(1) }, message()];
        let frames = records.iter().map(|record| record.frame().expect("encoded"));
        let bytes = [BEGINNING.to_vec()].into_iter().chain(frames).collect::<Vec<_>>().concat();
        for length in [1, 7, 64, bytes.len()] {
            let mut reader = Reader::default();
            let read = bytes.chunks(length).flat_map(|piece| reader.take(piece).expect("an archive"));
            assert_eq!(read.collect::<Vec<_>>(), records);
            assert!(reader.is_complete() && reader.failed == 0);
        }
        assert!(
            !{
                let mut cut = Reader::default();
                cut.take(&bytes[..bytes.len() - 1]).expect("the rest");
                cut
            }
            .is_complete()
        );
    }

    #[test]
    fn what_is_strange_is_counted_and_what_is_no_archive_refused() {
        let Record::Message(mut forged) = message() else { panic!("a message") };
        forged.notes[0].message = MessageId([9; 16]);
        let unknown = encode(&std::collections::BTreeMap::from([("Later", 1)])).expect("encoded");
        let unknown = [&(unknown.len() as u32).to_be_bytes()[..], &unknown].concat();
        let mut reader = Reader::default();
        let forged = Record::Message(forged).frame().expect("encoded");
        let bytes = [&BEGINNING[..], &forged, &unknown, &message().frame().expect("encoded")].concat();
        assert_eq!((reader.take(&bytes).expect("an archive"), reader.failed), (vec![message()], 2));
        assert!(Reader::default().take(b"qpq history\x02").is_err(), "a newer format");
        assert!(Reader::default().take(&[&BEGINNING[..], &[255; 4]].concat()).is_err(), "a length without bounds");
    }

    /// Archives of this version must stay readable.
    #[test]
    fn the_bytes_do_not_change() {
        let frame = message().frame().expect("encoded");
        assert_eq!(hex::encode(&frame), EXPECTED);
        let bytes = [&BEGINNING[..], &hex::decode(EXPECTED).expect("hexadecimal")].concat();
        assert_eq!(Reader::default().take(&bytes).expect("version 1"), [message()]);
    }

    const EXPECTED: &str = "000001dc81a74d6573736167658cac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a66e756d62657205a26964c41002020202020202020202020202020202a373657106a673656e646572c4200303030303030303030303030303030303030303030303030303030303030303a6646576696365c41007070707070707070707070707070707a773656e745f617408ab72656365697665645f617409a769735f73656e74c3aa657870697265735f6174c0a7636f6e74656e74c468000000000c00000000000000030004000100000000000000040000000000000000000000000000000d0000008200000011000000020000000d0000001a0000000d0000001a0000000202020202020202020202020202020268690000000000006869000000000000a56e6f7465739185ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a76d657373616765c41002020202020202020202020202020202a26279c4200303030303030303030303030303030303030303030303030303030303030303a46b696e6481a85265616374696f6e81a5656d6f6a69a178a261740a";
}

//! What is noted about messages: who has one, who has read it, how people reacted, whether it was edited. One small row for
//! each, so that a receipt of one device in a large group does not rewrite those of all others.

use qpq_proto::ids::{DeviceId, IdentityId, MessageId};
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::rows::{Row, conversation_key};
use super::{Store, StoreError, Table, decode};
use crate::view::ConversationId;

/// One note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteRow {
    pub conversation: ConversationId,
    pub message: MessageId,
    pub by: IdentityId,
    pub kind: NoteKind,
    pub at: Timestamp,
}

/// What is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoteKind {
    /// This device has stored it.
    Delivered {
        device: DeviceId,
    },
    /// The user has seen it.
    Read,
    Reaction {
        emoji: String,
    },
    /// Counts only when `by` is the author.
    Edited,
    /// An own message that had left before the server or this device was set back: others may have it.
    SaidBefore,
}

impl NoteRow {
    /// Everything about a message.
    pub fn of(store: &dyn Store, conversation: ConversationId, message: MessageId) -> Result<Vec<Self>, StoreError> {
        store.scan(Table::Notes, &prefix(conversation, message))?.iter().map(|(_, value)| decode(value)).collect()
    }

    /// Forgets everything about a message.
    pub fn forget(store: &mut dyn Store, conversation: ConversationId, message: MessageId) -> Result<(), StoreError> {
        for (key, _) in store.scan(Table::Notes, &prefix(conversation, message))? {
            store.remove(Table::Notes, &key)?;
        }
        Ok(())
    }
}

impl Row for NoteRow {
    const TABLE: Table = Table::Notes;
    type Key = Vec<u8>;

    fn key_bytes(key: &Vec<u8>) -> Vec<u8> {
        key.clone()
    }

    fn key(&self) -> Vec<u8> {
        let mut key = prefix(self.conversation, self.message);
        match &self.kind {
            NoteKind::Delivered { device } => key.extend([&[1], &device.0[..]].concat()),
            NoteKind::Read => key.extend([&[2], &self.by.0[..]].concat()),
            NoteKind::Reaction { emoji } => key.extend([&[3], &self.by.0[..], emoji.as_bytes()].concat()),
            NoteKind::Edited => key.extend([&[4], &self.by.0[..]].concat()),
            NoteKind::SaidBefore => key.extend([&[5], &self.by.0[..]].concat()),
        }
        key
    }
}

fn prefix(conversation: ConversationId, message: MessageId) -> Vec<u8> {
    [&conversation_key(conversation)[..], &message.0].concat()
}

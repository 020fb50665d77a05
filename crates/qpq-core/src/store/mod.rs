//! What the engine asks of its storage, and what it keeps there.

#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod notes;
pub mod rows;

pub mod archive;
#[cfg(test)]
mod snapshot_tests;
#[cfg(any(test, feature = "testing"))]
pub mod suite;

use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::view::ConversationId;
use rows::MessageRow;

/// One open transaction. Everything in it commits or rolls back together.
pub trait Store {
    /// The value under `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Inserts or replaces.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes; nothing happens when it is not there.
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;
    /// All rows whose key begins with `prefix`, in the order of their keys.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError>;

    /// The first `limit` rows of [`Self::scan`].
    fn scan_first(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<KeyValue>, StoreError>;

    /// Stores a new message; false when this sender's message id is already in the conversation.
    fn insert_message(&mut self, message: &MessageRow) -> Result<bool, StoreError>;
    /// One message.
    fn message(
        &self,
        conversation: ConversationId,
        sender: IdentityId,
        id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError>;
    /// The message that people refer to by this number.
    fn message_numbered(&self, conversation: ConversationId, number: u64) -> Result<Option<MessageRow>, StoreError>;
    /// All messages with this id: one, unless somebody took the id of another's message.
    fn messages_called(&self, conversation: ConversationId, id: MessageId) -> Result<Vec<MessageRow>, StoreError>;
    /// Messages whose time was up by `now`, at most `limit`.
    fn expired_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<MessageRow>, StoreError>;
    /// Removes a message.
    fn delete_message(&mut self, message: &MessageRow) -> Result<(), StoreError>;
    /// Replaces a message that is there.
    fn update_message(&mut self, message: &MessageRow) -> Result<(), StoreError>;
    /// The newest `limit` shown messages, oldest first: in the order of the log, waiting ones last. With `before`
    /// (a message number) those that stand before that one, with `search` those that contain all of its words.
    fn messages(
        &self,
        conversation: ConversationId,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<MessageRow>, StoreError>;
    /// Messages that are held because a device of `sender` was not in its manifest.
    fn held_messages(&self, sender: IdentityId) -> Result<Vec<MessageRow>, StoreError>;
    /// Shown messages of others with a number above `after`.
    fn count_received(&self, conversation: ConversationId, after: u64) -> Result<u64, StoreError>;

    /// Appends to the event queue; answers the position, which grows by one with every event.
    fn append_event(&mut self, event: &[u8]) -> Result<u64, StoreError>;
    /// Events after a position, in order.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;
    /// The position of the newest event; 0 when there is none.
    fn newest_event(&self) -> Result<u64, StoreError>;
}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// The key-value tables. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// OpenMLS state.
    Mls = 1,
    /// The account: one row.
    Account = 2,
    /// Identity → [`rows::ContactRow`].
    Contacts = 3,
    /// User name → identity that it is pinned to.
    Names = 4,
    /// Group → [`rows::GroupRow`].
    Groups = 5,
    /// Conversation → [`rows::ConversationRow`].
    Conversations = 6,
    /// Request id → [`rows::OutboxRow`].
    Outbox = 7,
    /// Wish id → [`rows::WishRow`].
    Wishes = 8,
    /// Wish id → why it was refused.
    Refusals = 9,
    /// Hash of an own ciphertext that is on its way → message.
    Own = 10,
    /// (group, seq) → entry that waits until new members are checked.
    Backlog = 11,
    /// Group → Welcome that waits for its tree.
    Joins = 12,
    /// (log, seq) → entry that could not be processed.
    Quarantine = 13,
    /// Device that its identity's manifest does not list.
    Unlisted = 14,
    /// Name → number.
    Counters = 15,
    /// Group → [`rows::TrackRow`].
    Tracks = 16,
    /// Group → [`rows::RepairRow`], while something is to be mended.
    Repairs = 17,
    /// (conversation, message, what, who) → [`notes::NoteRow`].
    Notes = 18,
    /// Blob → [`rows::TransferRow`], while a file is sent.
    Transfers = 20,
    /// Wish id → [`rows::DeviceChangeRow`].
    DeviceChanges = 21,
    /// Group → [`rows::ToldRow`], until this device is in the group.
    Told = 22,
    /// Blob → [`archive::HistoryRow`], while a history is on its way.
    Histories = 23,
    /// (blob, index) → part of a history.
    HistoryParts = 24,
    /// (wish id, identity) → [`rows::ClaimRow`].
    Claims = 25,
}

/// The storage failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left; nothing was changed.
    #[error("the disk is full")]
    Full,
    /// The stored data cannot be read back.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// Anything else.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// How everything but messages is encoded: MessagePack with named fields and byte strings, so that fields can be
/// added and older rows still read.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let mut serializer =
        rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_bytes(rmp_serde::config::BytesMode::ForceAll);
    value.serialize(&mut serializer).map_err(|error| StoreError::Failed(error.to_string()))?;
    Ok(bytes)
}

/// The opposite of [`encode`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

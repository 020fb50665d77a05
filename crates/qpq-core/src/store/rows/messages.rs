//! Conversations, their messages and events.

use qpq_proto::account::UserName;
use qpq_proto::ids::{BlobId, ContentHash, DeviceId, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Annotation, WishRef};

use crate::view::{ConversationId, MessageStatus};

/// A file that is being uploaded, to be sent then. No `Debug`: it holds the file's key.
#[derive(Clone, Serialize, Deserialize)]
pub struct TransferRow {
    pub blob: BlobId,
    pub key: [u8; 32],
    pub conversation: ConversationId,
    /// Where the file was. It is recognised by its content.
    pub path: String,
    pub size: u64,
    pub sha256: [u8; 32],
    pub begun: Timestamp,
}

/// One conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConversationRow {
    pub id: ConversationId,
    /// The group it runs in; none while a direct conversation is being made.
    pub group: Option<GroupId>,
    /// Requests under way for the wish at the head of the queue.
    pub in_flight: Vec<u64>,
    pub last_activity: Timestamp,
    pub last_number: u64,
    pub read_number: u64,
    /// The group that the other one made first; its Welcome is on the way.
    #[serde(default)]
    pub expects: Option<GroupId>,
    /// Begun by this stranger, and not accepted: it can be read, and nothing leaves this device for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<IdentityId>,
    /// No signals, and no part in what is counted as unread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_muted: bool,
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub conversation: ConversationId,
    pub number: u64,
    pub id: MessageId,
    pub seq: Option<Seq>,
    pub sender: IdentityId,
    pub device: DeviceId,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    pub status: MessageStatus,
    /// Not shown, because the sending device is not in its identity's manifest.
    pub held: bool,
    /// When it disappears, by this device's clock.
    pub expires_at: Option<Timestamp>,
    /// The text that can be searched.
    pub text: String,
    /// Encoded [`qpq_proto::content::Content`].
    pub content: Vec<u8>,
}

impl std::fmt::Debug for MessageRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageRow").field("id", &self.id).field("number", &self.number).finish_non_exhaustive()
    }
}

/// An own message that is on its way, found by its ciphertext.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnRow {
    pub hash: ContentHash,
    pub message: MessageId,
    pub wish: WishRef,
    pub request: u64,
    /// Where the server said that it stands; the log has not said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Seq>,
    /// What it says about another message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<(MessageId, Annotation)>,
}

/// An event with ids instead of names; names are looked up when it is pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    pub at: Timestamp,
    pub conversation: Option<ConversationId>,
    pub kind: EventRowKind,
}

/// What happened, in ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventRowKind {
    Message { sender: IdentityId, id: MessageId },
    Sent { message: MessageId },
    NotSent { message: MessageId, reason: String },
    Joined { by: IdentityId },
    MemberAdded { who: IdentityId, by: IdentityId },
    MemberRemoved { who: IdentityId, by: IdentityId },
    Removed { by: IdentityId },
    Left,
    Renamed { by: IdentityId, name: String },
    RoleChanged { who: IdentityId, by: IdentityId, is_admin: bool },
    KeyChanged { name: UserName, old: IdentityId, new: IdentityId },
    UntrustedDevice { who: IdentityId, device: DeviceId },
    Gap { count: u64, reason: String },
    Refused { what: String, reason: String },
    Edited { sender: IdentityId, id: MessageId },
    Deleted { sender: IdentityId, id: MessageId },
    Reaction { by: IdentityId, sender: IdentityId, id: MessageId, emoji: String, removed: bool },
    Receipt { by: IdentityId, device: DeviceId, is_read: bool, messages: Vec<MessageId> },
    Request { by: IdentityId },
    ExpiryChanged { by: IdentityId, after: Option<u64> },
    DeviceAdded { who: IdentityId, device: DeviceId, name: String },
    DeviceRemoved { who: IdentityId, device: DeviceId, name: String },
}

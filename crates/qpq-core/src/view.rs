//! What the outside sees of the engine's state: plain values, made for showing.

use std::time::Duration;

use qpq_proto::account::UserName;
use qpq_proto::content::{Body, Content};
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{DeviceId, Epoch, GroupId, IdentityId, MessageId};
use qpq_proto::time::Timestamp;
use qpq_trust::suite::Suite;
use serde::{Deserialize, Serialize};

/// A conversation as users think of it. A direct conversation is named by the other identity (one's own for the
/// notepad), whichever MLS group it currently runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConversationId {
    Group(GroupId),
    Direct(IdentityId),
}

/// How far an identity is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// Pinned on first contact, never compared.
    Unverified,
    /// The user compared safety numbers.
    Verified,
    /// The user refused this identity.
    Rejected,
}

/// Somebody this device knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub identity: IdentityId,
    /// None until the directory has been asked.
    pub name: Option<UserName>,
    pub trust: Trust,
    /// The name now belongs to this other identity: sending to the name stops until the user decides.
    pub replaced_by: Option<IdentityId>,
    /// The user does not want to hear of them.
    pub is_blocked: bool,
    pub is_self: bool,
}

/// A device of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnDevice {
    pub id: DeviceId,
    pub name: String,
    /// The one that is asked.
    pub is_this: bool,
    /// When this device learned of it; none for the devices that were there before it.
    pub added: Option<Timestamp>,
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConversationState {
    /// Not yet on the server: what is sent waits.
    Starting,
    Active,
    /// The user left.
    Left,
    /// Somebody removed this identity.
    Removed,
    /// A commit could not be processed; what follows is kept in quarantine.
    Broken,
}

/// One line of the conversation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub id: ConversationId,
    pub kind: GroupKind,
    /// The group's name, or the other person's user name without `@`. Comes from others: sanitize before showing.
    pub title: String,
    pub state: ConversationState,
    /// Messages of others that were not read. Not counted for the conversation of an event: 0.
    pub unread: u64,
    /// The newest message. Not looked up for the conversation of an event.
    pub last: Option<Message>,
    /// A stranger began it, and the user has not accepted: nothing leaves this device for it.
    pub is_request: bool,
    /// No signals, and no part in what is counted as unread elsewhere.
    pub is_muted: bool,
    /// How long messages stay; none for ever.
    pub expires_after: Option<Duration>,
}

/// Something that is not as it should be in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub conversation: Conversation,
    /// Why this device has to come back into the group, while it has to.
    pub mending: Option<String>,
    /// Why the last attempt failed.
    pub obstacle: Option<String>,
    /// Messages that could not be read; they are kept.
    pub unreadable: usize,
}

/// What `/group-info` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    pub conversation: Conversation,
    /// None while the group is not yet on the server.
    pub group: Option<GroupId>,
    pub epoch: Epoch,
    pub suite: Suite,
    pub members: Vec<Member>,
    /// Changes that this device still wants to make.
    pub waiting: usize,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub contact: Contact,
    pub devices: usize,
    pub is_admin: bool,
    /// A device of this member is not in the member's own manifest, or was not checked yet: its messages are held.
    pub unchecked: bool,
}

/// Where a message stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageStatus {
    /// Own, durable on this device, not yet accepted by the server.
    Waiting,
    /// Own, accepted and on the server's disk.
    Sent,
    /// Own, refused for good.
    Failed(String),
    /// Somebody else's.
    Received,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Small and unique in its conversation: how a person refers to it.
    pub number: u64,
    pub conversation: ConversationId,
    pub id: MessageId,
    pub sender: Contact,
    pub device: DeviceId,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    pub status: MessageStatus,
    pub content: Content,
    /// What it answers.
    pub quote: Option<Quote>,
    /// When it disappears, by this device's clock.
    pub expires_at: Option<Timestamp>,
    pub notes: Notes,
}

impl Message {
    /// Its author has taken it back.
    pub fn is_deleted(&self) -> bool {
        matches!(self.content.body, Body::Delete { .. })
    }
}

/// The message that another one answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// None when it is not here: from before this device came in, or disappeared.
    pub number: Option<u64>,
    pub sender: Option<Contact>,
    /// Comes from others: sanitize before showing.
    pub text: String,
}

/// What became of a message after it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Its author has changed it.
    pub edited: Option<Timestamp>,
    /// Emoji, and who reacted with it; in the order of the emoji.
    pub reactions: Vec<(String, Vec<Contact>)>,
    /// Devices of others that have stored it, as they say.
    pub delivered: usize,
    /// Who has read it, as they say.
    pub read_by: Vec<Contact>,
}

/// Something that happened, in the order in which it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Grows with every event; never reused.
    pub position: u64,
    pub at: Timestamp,
    pub conversation: Option<Conversation>,
    pub kind: EventKind,
}

/// What happened. Nearly all events are messages, so there is nothing to gain from a box around them.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A message of somebody else, or of another device of one's own.
    Message(Message),
    /// An own message is on the server's disk.
    Sent {
        message: MessageId,
    },
    /// An own message was refused for good.
    NotSent {
        message: MessageId,
        reason: String,
    },
    /// This device became a member.
    Joined {
        by: Contact,
    },
    MemberAdded {
        who: Contact,
        by: Contact,
    },
    /// `by` equals `who` when the member left.
    MemberRemoved {
        who: Contact,
        by: Contact,
    },
    /// This identity was removed.
    Removed {
        by: Contact,
    },
    /// This identity left.
    Left,
    Renamed {
        by: Contact,
        name: String,
    },
    RoleChanged {
        who: Contact,
        by: Contact,
        is_admin: bool,
    },
    /// A name that was pinned now resolves to another identity.
    KeyChanged {
        name: UserName,
        old: IdentityId,
        new: IdentityId,
    },
    /// A device that its identity does not list: its messages stay hidden.
    UntrustedDevice {
        who: Contact,
        device: DeviceId,
    },
    /// This many entries could not be read; they are in quarantine.
    Gap {
        count: u64,
        reason: String,
    },
    /// A wish of the user that was refused for good.
    Refused {
        what: String,
        reason: String,
    },
    /// The author has changed a message.
    Edited(Message),
    /// The author has taken a message back.
    Deleted(Message),
    Reaction {
        message: Message,
        by: Contact,
        emoji: String,
        removed: bool,
    },
    /// Own messages have come to a device, or were read.
    Receipt {
        by: Contact,
        device: DeviceId,
        is_read: bool,
        messages: Vec<MessageId>,
    },
    /// A stranger wants to talk: the conversation is a request until it is accepted.
    Request {
        by: Contact,
    },
    ExpiryChanged {
        by: Contact,
        after: Option<Duration>,
    },
    /// Somebody's new device came into the conversation; of one's own devices: into the account.
    DeviceAdded {
        who: Contact,
        device: DeviceId,
        name: String,
    },
    /// And one that is gone. The name is empty when it was never known.
    DeviceRemoved {
        who: Contact,
        device: DeviceId,
        name: String,
    },
}

//! What is to be done: wishes, requests, changes of the own devices.

use qpq_proto::ids::{DeviceId, IdentityId, MessageId};
use qpq_proto::keys::DeviceRecord;
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{Purpose, Request};
use crate::view::ConversationId;

/// A request that the server has not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutboxRow {
    pub id: u64,
    pub request: Request,
    pub purpose: Purpose,
    /// Not to be sent again before.
    pub not_before: Timestamp,
    pub attempts: u32,
}

/// Names a wish: the wishes of one conversation are carried out in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRef {
    pub conversation: ConversationId,
    pub id: u64,
}

/// Something the user wants (or the engine itself), until it is done or refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WishRow {
    pub id: u64,
    pub conversation: ConversationId,
    pub kind: WishKind,
    pub not_before: Timestamp,
}

/// Key packages of one identity that were claimed for a wish. A row each: a thousand may be claimed for one wish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClaimRow {
    /// The wish's id.
    pub wish: u64,
    pub identity: IdentityId,
    pub packages: Vec<serde_bytes::ByteBuf>,
    /// The directory was asked again, because a package was of a device that was not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_refreshed: bool,
}

/// What is wished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WishKind {
    /// Make the group on the server, with these first members.
    Start {
        suite: u16,
        name: String,
        members: Vec<IdentityId>,
    },
    Send {
        message: MessageId,
    },
    Add {
        who: Vec<IdentityId>,
    },
    Remove {
        who: IdentityId,
    },
    Leave,
    Rename {
        name: String,
    },
    SetAdmin {
        who: IdentityId,
        is_admin: bool,
    },
    UpdateKey,
    /// Carry out the leave of those who asked for it.
    RemoveLeavers,
    /// Come back by an external commit. Goes before all others.
    Rejoin,
    /// Say something that is not for people: an encoded content.
    Tell {
        content: serde_bytes::ByteBuf,
    },
    /// Say something about a message. What it says is looked up when it is encrypted: nothing of a text that has been taken back
    /// or has disappeared is left in a wish.
    Annotate {
        message: MessageId,
        what: Annotation,
    },
    /// Tell the authors that their messages are here, or were read.
    Receipt {
        is_read: bool,
        messages: Vec<MessageId>,
    },
    /// How many milliseconds messages stay; none for ever.
    SetExpiry {
        after: Option<u64>,
    },
    /// Take other devices of this identity out of the group.
    RemoveOwn {
        devices: Vec<DeviceId>,
    },
}

/// A change of the own devices, until the server has taken it or refused it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceChangeRow {
    pub id: u64,
    pub change: DeviceChange,
    /// How often another device was faster.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is to become of the own devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceChange {
    /// Nothing: only to know them.
    Look,
    Add(DeviceRecord),
    Remove(DeviceId),
    Rename(DeviceId, String),
}

/// The counter that holds when an own device was added.
pub fn device_added_at(device: DeviceId) -> String {
    format!("device {device}")
}

/// What is said about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Annotation {
    /// Its text, which is one's own, is what it is now.
    Edited,
    /// It is taken back.
    Deleted,
    Reaction {
        emoji: String,
        removed: bool,
    },
}

impl Annotation {
    /// Whether the later one of the two is the one that counts. A message that was taken back stays so.
    pub fn is_alternative_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Edited, Self::Edited) => true,
            (Self::Reaction { emoji: one, .. }, Self::Reaction { emoji: other, .. }) => one == other,
            (Self::Edited | Self::Deleted | Self::Reaction { .. }, _) => false,
        }
    }
}

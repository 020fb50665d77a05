//! The stable objects that programs get, from `--json` and through the C library alike: `type` first, raw text (JSON's
//! escapes protect a terminal).
//!
//! Fields are only ever added. Ids are hexadecimal, times are RFC 3339 in UTC with milliseconds, a conversation is
//! named as one would type it: `@bob` or `#` and the group's id.

mod account;
mod device;
mod event;
mod message;
mod objects;
pub mod time;

pub use account::{
    AccountDeletedLine, DeviceLinkedLine, DoneLine, LinkCodeLine, LinkCompareLine, LinkedLine, RecoveryLine,
};
pub use device::{DeviceLine, device};
pub use event::event;
pub use message::{MessageLine, message, message_line};
pub use objects::{
    ChangeLine, ContactLine, DoctorLine, DownloadLine, ExportLine, InfoLine, LinkLine, ProfileLine, SendLine,
    SettingLine, StatusLine, SyncLine, TroubleLine, VerifiedLine, VerifyLine, conversation, group_info, member,
};

use crate::{Conversation, ConversationId, GroupKind, Trust};
use serde::Serialize;

/// One object on one line.
pub fn line(object: &impl Serialize) -> String {
    // These are plain structs with text keys: serializing them cannot fail.
    serde_json::to_string(object).unwrap_or_default()
}

/// A hash as people compare it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a conversation for programs.
pub fn address(conversation: &Conversation) -> String {
    match conversation.id {
        ConversationId::Group(id) => format!("#{id}"),
        ConversationId::Direct(_) => format!("@{}", conversation.title),
    }
}

/// What `trust` fields contain.
pub fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Unverified => "unverified",
        Trust::Verified => "verified",
        Trust::Rejected => "rejected",
    }
}

fn kind(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Direct => "direct",
        GroupKind::Group => "group",
    }
}

/// The group's name; none for a direct conversation.
fn group_name(conversation: &Conversation) -> Option<&str> {
    match conversation.kind {
        GroupKind::Group => Some(&conversation.title),
        GroupKind::Direct => None,
    }
}

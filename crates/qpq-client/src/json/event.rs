//! Everything that happens besides messages.

use crate::{Contact, Event, EventKind, Message, UserName};
use serde::Serialize;

use super::time::rfc3339;

/// The line of any event.
pub fn event(event: &Event) -> String {
    if let (EventKind::Message(message), Some(conversation)) = (&event.kind, &event.conversation) {
        let mut line = super::message_line(message, conversation);
        line.position = Some(event.position);
        return super::line(&line);
    }
    let conversation = event.conversation.as_ref();
    super::line(&EventLine {
        what: what(&event.kind),
        conversation: conversation.map(super::address),
        kind: conversation.map(|conversation| super::kind(conversation.kind)),
        group: conversation.and_then(super::group_name),
        at: rfc3339(event.at),
        position: event.position,
    })
}

#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    what: What<'a>,
    conversation: Option<String>,
    kind: Option<&'static str>,
    group: Option<&'a str>,
    at: String,
    /// For `recv --after`.
    position: u64,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum What<'a> {
    /// Only for a message without a conversation, which the client does not make.
    Message {
        id: String,
    },
    Sent {
        id: String,
    },
    NotSent {
        id: String,
        reason: &'a str,
    },
    Joined {
        by: Option<&'a str>,
        by_id: String,
    },
    MemberAdded {
        who: Option<&'a str>,
        who_id: String,
        by: Option<&'a str>,
        by_id: String,
    },
    MemberRemoved {
        who: Option<&'a str>,
        who_id: String,
        by: Option<&'a str>,
        by_id: String,
    },
    Removed {
        by: Option<&'a str>,
        by_id: String,
    },
    Left,
    Renamed {
        name: &'a str,
        by: Option<&'a str>,
        by_id: String,
    },
    RoleChanged {
        who: Option<&'a str>,
        who_id: String,
        role: &'static str,
        by: Option<&'a str>,
        by_id: String,
    },
    KeyChanged {
        name: &'a str,
        old_id: String,
        new_id: String,
    },
    UntrustedDevice {
        who: Option<&'a str>,
        who_id: String,
        device: String,
    },
    Gap {
        count: u64,
        reason: &'a str,
    },
    Refused {
        what: &'a str,
        reason: &'a str,
    },
    Edited {
        #[serde(flatten)]
        of: Of<'a>,
        text: &'a str,
    },
    Deleted {
        #[serde(flatten)]
        of: Of<'a>,
    },
    /// `by` reacts to the message `id`, which is the sender's.
    Reaction {
        #[serde(flatten)]
        of: Of<'a>,
        by: Option<&'a str>,
        by_id: String,
        emoji: &'a str,
        removed: bool,
    },
    /// Own messages have come to a device (`delivered`), or were read.
    Receipt {
        status: &'static str,
        by: Option<&'a str>,
        by_id: String,
        device: String,
        ids: Vec<String>,
    },
    Request {
        by: Option<&'a str>,
        by_id: String,
    },
    /// How many seconds messages stay; none for ever.
    Disappear {
        after: Option<u64>,
        by: Option<&'a str>,
        by_id: String,
    },
    DeviceAdded {
        who: Option<&'a str>,
        who_id: String,
        device: String,
        name: &'a str,
    },
    DeviceRemoved {
        who: Option<&'a str>,
        who_id: String,
        device: String,
        name: &'a str,
    },
}

/// The message that an event is about.
#[derive(Serialize)]
struct Of<'a> {
    id: String,
    number: u64,
    sender: Option<&'a str>,
    sender_id: String,
}

impl<'a> Of<'a> {
    fn new(message: &'a Message) -> Self {
        let sender = &message.sender;
        Self { id: message.id.to_string(), number: message.number, sender: name(sender), sender_id: id(sender) }
    }
}

fn what(kind: &EventKind) -> What<'_> {
    match kind {
        EventKind::Message(message) => What::Message { id: message.id.to_string() },
        EventKind::Sent { message } => What::Sent { id: message.to_string() },
        EventKind::NotSent { message, reason } => What::NotSent { id: message.to_string(), reason },
        EventKind::Joined { by } => What::Joined { by: name(by), by_id: id(by) },
        EventKind::MemberAdded { who, by } => {
            What::MemberAdded { who: name(who), who_id: id(who), by: name(by), by_id: id(by) }
        }
        EventKind::MemberRemoved { who, by } => {
            What::MemberRemoved { who: name(who), who_id: id(who), by: name(by), by_id: id(by) }
        }
        EventKind::Removed { by } => What::Removed { by: name(by), by_id: id(by) },
        EventKind::Left => What::Left,
        EventKind::Renamed { by, name: new } => What::Renamed { name: new, by: name(by), by_id: id(by) },
        EventKind::RoleChanged { who, by, is_admin } => What::RoleChanged {
            who: name(who),
            who_id: id(who),
            role: if *is_admin { "admin" } else { "member" },
            by: name(by),
            by_id: id(by),
        },
        EventKind::KeyChanged { name, old, new } => {
            What::KeyChanged { name: name.as_str(), old_id: old.to_string(), new_id: new.to_string() }
        }
        EventKind::UntrustedDevice { who, device } => {
            What::UntrustedDevice { who: name(who), who_id: id(who), device: device.to_string() }
        }
        EventKind::Gap { count, reason } => What::Gap { count: *count, reason },
        EventKind::Refused { what, reason } => What::Refused { what, reason },
        EventKind::Edited(message) => What::Edited { of: Of::new(message), text: message.content.text() },
        EventKind::Deleted(message) => What::Deleted { of: Of::new(message) },
        EventKind::Reaction { message, by, emoji, removed } => {
            What::Reaction { of: Of::new(message), by: name(by), by_id: id(by), emoji, removed: *removed }
        }
        EventKind::Receipt { by, device, is_read, messages } => What::Receipt {
            status: if *is_read { "read" } else { "delivered" },
            by: name(by),
            by_id: id(by),
            device: device.to_string(),
            ids: messages.iter().map(ToString::to_string).collect(),
        },
        EventKind::Request { by } => What::Request { by: name(by), by_id: id(by) },
        EventKind::ExpiryChanged { by, after } => {
            What::Disappear { after: after.map(|after| after.as_secs()), by: name(by), by_id: id(by) }
        }
        EventKind::DeviceAdded { who, device, name: called } => {
            What::DeviceAdded { who: name(who), who_id: id(who), device: device.to_string(), name: called }
        }
        EventKind::DeviceRemoved { who, device, name: called } => {
            What::DeviceRemoved { who: name(who), who_id: id(who), device: device.to_string(), name: called }
        }
    }
}

fn name(contact: &Contact) -> Option<&str> {
    contact.name.as_ref().map(UserName::as_str)
}

fn id(contact: &Contact) -> String {
    contact.identity.to_string()
}

#[cfg(test)]
mod tests {
    use crate::{MessageId, Timestamp};

    use super::*;
    use crate::samples::{contact, group};

    #[test]
    fn events_have_stable_shapes() {
        let two = "02".repeat(32);
        let place = concat!(
            r##""conversation":"#abababababababababababababababab","kind":"group","group":"team","##,
            r#""at":"1970-01-01T00:00:00.000Z","position":1}"#
        );
        let bob = || contact("bob", 2);
        let cases = [
            (EventKind::Joined { by: bob() }, format!(r#"{{"type":"joined","by":"bob","by_id":"{two}","#)),
            (EventKind::Left, r#"{"type":"left","#.into()),
            (
                EventKind::Renamed { by: bob(), name: "new".into() },
                format!(r#"{{"type":"renamed","name":"new","by":"bob","by_id":"{two}","#),
            ),
            (
                EventKind::RoleChanged { who: bob(), by: bob(), is_admin: true },
                format!(
                    r#"{{"type":"role_changed","who":"bob","who_id":"{two}","role":"admin","by":"bob","by_id":"{two}","#
                ),
            ),
            (
                EventKind::Sent { message: MessageId([1; 16]) },
                r#"{"type":"sent","id":"01010101010101010101010101010101","#.into(),
            ),
            (
                EventKind::DeviceAdded { who: bob(), device: crate::DeviceId([1; 16]), name: "phone".into() },
                format!(
                    r#"{{"type":"device_added","who":"bob","who_id":"{two}","device":"{}","name":"phone","#,
                    "01".repeat(16)
                ),
            ),
            (EventKind::Gap { count: 3, reason: "r".into() }, r#"{"type":"gap","count":3,"reason":"r","#.into()),
        ];
        for (kind, expected) in cases {
            let conversation = Some(group("team", [0xab; 16]));
            let line = event(&Event { position: 1, at: Timestamp(0), conversation, kind });
            assert_eq!(line, format!("{expected}{place}"));
        }
    }
}

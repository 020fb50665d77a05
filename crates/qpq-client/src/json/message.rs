//! A message, as `recv`, `history` and the REPL print it.

use crate::{Body, Contact, Content, Conversation, Message, MessageStatus, ReceiptKind, Trust, UserName};
use serde::Serialize;

use super::time::rfc3339;

/// The line of a message in `conversation`.
pub fn message(message: &Message, conversation: &Conversation) -> String {
    super::line(&message_line(message, conversation))
}

/// The object of that line.
pub fn message_line<'a>(message: &'a Message, conversation: &'a Conversation) -> MessageLine<'a> {
    let sender = &message.sender;
    MessageLine {
        kind_of_line: "message",
        id: message.id.to_string(),
        conversation: super::address(conversation),
        kind: super::kind(conversation.kind),
        group: super::group_name(conversation),
        sender: sender.name.as_ref().map(UserName::as_str),
        sender_id: sender.identity.to_string(),
        device: message.device.to_string(),
        own: sender.is_self,
        verified: sender.trust == Trust::Verified,
        sent_at: rfc3339(message.sent_at),
        received_at: rfc3339(message.received_at),
        number: message.number,
        status: status(&message.status),
        request: conversation.is_request,
        in_reply_to: message.content.in_reply_to.map(|id| id.to_string()),
        edited_at: message.notes.edited.map(rfc3339),
        expires_at: message.expires_at.map(rfc3339),
        reactions: message.notes.reactions.iter().map(|(emoji, who)| Reaction { emoji, by: names(who) }).collect(),
        read_by: names(&message.notes.read_by),
        delivered: message.notes.delivered,
        content: if message.is_deleted() { BodyValue::Deleted } else { body(&message.content) },
        position: None,
    }
}

fn names(who: &[Contact]) -> Vec<String> {
    who.iter().map(|one| one.name.as_ref().map_or_else(|| one.identity.to_string(), ToString::to_string)).collect()
}

/// Who reacted how.
#[derive(Serialize)]
struct Reaction<'a> {
    emoji: &'a str,
    by: Vec<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A message as an object.
#[derive(Serialize)]
pub struct MessageLine<'a> {
    #[serde(rename = "type")]
    kind_of_line: &'static str,
    id: String,
    conversation: String,
    kind: &'static str,
    group: Option<&'a str>,
    sender: Option<&'a str>,
    sender_id: String,
    device: String,
    own: bool,
    verified: bool,
    sent_at: String,
    received_at: String,
    number: u64,
    status: &'static str,
    request: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<Reaction<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    read_by: Vec<String>,
    /// Devices of others that have it.
    #[serde(skip_serializing_if = "is_zero")]
    delivered: usize,
    content: BodyValue<'a>,
    /// Of the event, for `recv --after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BodyValue<'a> {
    Text {
        text: &'a str,
    },
    Reaction {
        target: String,
        emoji: &'a str,
        removed: bool,
        fallback: &'a str,
    },
    Edit {
        target: String,
        text: &'a str,
        fallback: &'a str,
    },
    Delete {
        target: String,
        fallback: &'a str,
    },
    Receipt {
        kind: &'static str,
        targets: Vec<String>,
        fallback: &'a str,
    },
    Attachment {
        name: &'a str,
        media_type: &'a str,
        size: u64,
        sha256: String,
        fallback: &'a str,
    },
    /// Taken back by its author.
    Deleted,
    Unknown {
        fallback: &'a str,
    },
}

fn status(status: &MessageStatus) -> &'static str {
    match status {
        MessageStatus::Waiting => "waiting",
        MessageStatus::Sent => "sent",
        MessageStatus::Failed(_) => "failed",
        MessageStatus::Received => "received",
    }
}

fn body(content: &Content) -> BodyValue<'_> {
    let fallback = content.fallback.as_str();
    match &content.body {
        Body::Text(text) => BodyValue::Text { text },
        Body::Reaction { target, emoji, removed } => {
            BodyValue::Reaction { target: target.to_string(), emoji, removed: *removed, fallback }
        }
        Body::Edit { target, text } => BodyValue::Edit { target: target.to_string(), text, fallback },
        Body::Delete { target } => BodyValue::Delete { target: target.to_string(), fallback },
        Body::Receipt { kind, targets } => BodyValue::Receipt {
            kind: match kind {
                ReceiptKind::Delivered => "delivered",
                ReceiptKind::Read => "read",
            },
            targets: targets.iter().map(ToString::to_string).collect(),
            fallback,
        },
        Body::Attachment(file) => BodyValue::Attachment {
            name: &file.name,
            media_type: &file.media_type,
            size: file.size,
            sha256: super::hex(&file.sha256),
            fallback,
        },
        Body::AskName | Body::NameKey(_) | Body::Unknown => BodyValue::Unknown { fallback },
    }
}

#[cfg(test)]
mod tests {
    use crate::MessageId;

    use super::*;
    use crate::samples;

    #[test]
    fn a_direct_message() {
        let line = message(&samples::message("hi \u{1b}[31m\n\"you\""), &samples::direct("bob", 2));
        let expected = concat!(
            r#"{"type":"message","id":"01010101010101010101010101010101","conversation":"@bob","kind":"direct","#,
            r#""group":null,"sender":"bob","#,
            r#""sender_id":"0202020202020202020202020202020202020202020202020202020202020202","#,
            r#""device":"03030303030303030303030303030303","own":false,"verified":false,"#,
            r#""sent_at":"2023-11-14T22:13:20.000Z","received_at":"2023-11-14T22:13:20.123Z","number":7,"#,
            r#""status":"received","request":false,"content":{"type":"text","text":"hi \u001b[31m\n\"you\""}}"#,
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn a_group_is_addressed_by_its_id_and_named_beside_it() {
        let line = message(&samples::message("hi"), &samples::group("team", [0xab; 16]));
        let address = r##""conversation":"#abababababababababababababababab","kind":"group","group":"team""##;
        assert!(line.contains(address), "{line}");
    }

    #[test]
    fn every_kind_of_content_has_a_shape() {
        let target = MessageId([9; 16]);
        let hex = "09".repeat(16);
        let cases = [
            (
                Body::Reaction { target, emoji: "👍".into(), removed: false },
                format!(r#"{{"type":"reaction","target":"{hex}","emoji":"👍","removed":false,"fallback":"f"}}"#),
            ),
            (
                Body::Edit { target, text: "t".into() },
                format!(r#"{{"type":"edit","target":"{hex}","text":"t","fallback":"f"}}"#),
            ),
            (Body::Delete { target }, format!(r#"{{"type":"delete","target":"{hex}","fallback":"f"}}"#)),
            (
                Body::Receipt { kind: ReceiptKind::Read, targets: vec![target] },
                format!(r#"{{"type":"receipt","kind":"read","targets":["{hex}"],"fallback":"f"}}"#),
            ),
            (
                Body::Attachment(samples::file("a.pdf")),
                format!(
                    r#"{{"type":"attachment","name":"a.pdf","media_type":"application/pdf","size":1234,"sha256":"{}","fallback":"f"}}"#,
                    "03".repeat(32)
                ),
            ),
            (Body::Unknown, r#"{"type":"unknown","fallback":"f"}"#.into()),
        ];
        for (kind, expected) in cases {
            let mut content = samples::message("").content;
            content.fallback = "f".into();
            content.body = kind;
            assert_eq!(super::super::line(&body(&content)), expected);
        }
    }
}

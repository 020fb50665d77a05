//! End-to-end content: what members say to each other (semantics of draft-ietf-mimi-content).

use std::time::Duration;

use capnp::message::TypedBuilder;

use crate::generated::content_capnp;
use crate::ids::{BlobId, DeviceId, Epoch, GroupId, MessageId};
use crate::limits;
use crate::read::{self, Malformed};
use crate::time::Timestamp;

/// The newest format of [`Content`].
pub const CONTENT_FORMAT: u16 = 1;
/// The newest format of [`WelcomeBundle`].
pub const WELCOME_FORMAT: u16 = 1;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub id: MessageId,
    /// By the sender's clock; the order of messages is the log's.
    pub sent_at: Timestamp,
    pub in_reply_to: Option<MessageId>,
    pub expires_after: Option<Duration>,
    /// What a client shows that does not know the kind of `body`.
    pub fallback: String,
    pub body: Body,
}

/// What kind of message it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Text(String),
    Reaction {
        target: MessageId,
        emoji: String,
        removed: bool,
    },
    Edit {
        target: MessageId,
        text: String,
    },
    Delete {
        target: MessageId,
    },
    Receipt {
        kind: ReceiptKind,
        targets: Vec<MessageId>,
    },
    Attachment(Attachment),
    /// Not for people: whoever came back without the key of the group's name asks for it.
    AskName,
    /// Not for people: the answer.
    NameKey([u8; 32]),
    /// A kind from a newer client: kept as it came, shown by its fallback text.
    Unknown,
}

/// What a receipt reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    Delivered,
    Read,
}

/// A file that lies encrypted on the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    pub blob: BlobId,
    pub key: [u8; 32],
    pub sha256: [u8; 32],
    pub size: u64,
    pub name: String,
    pub media_type: String,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Content {
    /// The plaintext of the MLS application message.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<content_capnp::content::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(CONTENT_FORMAT);
        builder.set_id(&self.id.0);
        builder.set_sent_at_ms(self.sent_at.0);
        builder.set_in_reply_to(self.in_reply_to.as_ref().map_or(&[][..], |id| &id.0));
        builder.set_expires_after_ms(self.expires_after.map_or(0, |after| after.as_millis() as u64));
        builder.set_fallback(&self.fallback[..]);
        self.body.write(builder.init_body());
        read::to_bytes(&message)
    }

    /// Decodes what a member sent. An unknown kind is not an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<content_capnp::content::Owned>(bytes)?;
        let reader = message.get()?;
        if reader.get_format() == 0 {
            return Err(Malformed::new("content.format", "is missing"));
        }
        let expires = reader.get_expires_after_ms().min(limits::EXPIRY_MS);
        Ok(Self {
            id: MessageId(read::array("content.id", reader.get_id())?),
            sent_at: Timestamp(reader.get_sent_at_ms()),
            in_reply_to: read::optional_array("content.inReplyTo", reader.get_in_reply_to())?.map(MessageId),
            expires_after: (expires > 0).then(|| Duration::from_millis(expires)),
            fallback: read::text("content.fallback", reader.get_fallback(), limits::TEXT)?,
            body: Body::read(reader.get_body())?,
        })
    }

    /// The files on the server that it refers to, which are kept for its sake.
    pub fn blobs(&self) -> Vec<BlobId> {
        match &self.body {
            Body::Attachment(file) => vec![file.blob],
            Body::Text(_)
            | Body::Reaction { .. }
            | Body::Edit { .. }
            | Body::Delete { .. }
            | Body::Receipt { .. }
            | Body::AskName
            | Body::NameKey(_)
            | Body::Unknown => vec![],
        }
    }

    /// What a person sees of it when nothing better is known: the text, or the fallback.
    pub fn text(&self) -> &str {
        match &self.body {
            Body::Text(text) | Body::Edit { text, .. } => text,
            Body::Reaction { .. }
            | Body::Delete { .. }
            | Body::Receipt { .. }
            | Body::Attachment(_)
            | Body::AskName
            | Body::NameKey(_)
            | Body::Unknown => &self.fallback,
        }
    }
}

/// Whether it changes or confirms other messages, and is none of its own.
pub fn is_about_a_message(body: &Body) -> bool {
    match body {
        Body::Reaction { .. } | Body::Edit { .. } | Body::Delete { .. } | Body::Receipt { .. } => true,
        Body::Text(_) | Body::Attachment(_) | Body::AskName | Body::NameKey(_) | Body::Unknown => false,
    }
}

impl Body {
    fn write(&self, mut builder: content_capnp::content::body::Builder<'_>) {
        match self {
            Self::Text(text) => builder.set_text(&text[..]),
            Self::Reaction { target, emoji, removed } => {
                let mut builder = builder.init_reaction();
                builder.set_target(&target.0);
                builder.set_emoji(&emoji[..]);
                builder.set_removed(*removed);
            }
            Self::Edit { target, text } => {
                let mut builder = builder.init_edit();
                builder.set_target(&target.0);
                builder.set_text(&text[..]);
            }
            Self::Delete { target } => builder.set_delete(&target.0),
            Self::Receipt { kind, targets } => {
                let mut builder = builder.init_receipt();
                builder.set_kind(match kind {
                    ReceiptKind::Delivered => content_capnp::receipt::Kind::Delivered,
                    ReceiptKind::Read => content_capnp::receipt::Kind::Read,
                });
                let mut list = builder.init_targets(targets.len() as u32);
                for (index, target) in targets.iter().enumerate() {
                    list.set(index as u32, &target.0);
                }
            }
            Self::Attachment(file) => {
                let mut builder = builder.init_attachment();
                builder.set_blob(&file.blob.0);
                builder.set_key(&file.key);
                builder.set_sha256(&file.sha256);
                builder.set_size(file.size);
                builder.set_name(&file.name[..]);
                builder.set_media_type(&file.media_type[..]);
            }
            Self::AskName => builder.set_ask_name(()),
            Self::NameKey(key) => builder.set_name_key(key),
            // An unknown body is only ever received; written again it is an empty text with the same fallback.
            Self::Unknown => builder.set_text(""),
        }
    }

    fn read(reader: content_capnp::content::body::Reader<'_>) -> Result<Self, Malformed> {
        use content_capnp::content::body;
        Ok(match reader.which() {
            Err(capnp::NotInSchema(_)) => Self::Unknown,
            Ok(body::Text(text)) => Self::Text(read::text("content.text", text, limits::TEXT)?),
            Ok(body::Reaction(reaction)) => {
                let reaction = reaction?;
                Self::Reaction {
                    target: MessageId(read::array("reaction.target", reaction.get_target())?),
                    emoji: read::text("reaction.emoji", reaction.get_emoji(), limits::EMOJI)?,
                    removed: reaction.get_removed(),
                }
            }
            Ok(body::Edit(edit)) => {
                let edit = edit?;
                Self::Edit {
                    target: MessageId(read::array("edit.target", edit.get_target())?),
                    text: read::text("edit.text", edit.get_text(), limits::TEXT)?,
                }
            }
            Ok(body::AskName(())) => Self::AskName,
            Ok(body::NameKey(key)) => Self::NameKey(read::array("content.nameKey", key)?),
            Ok(body::Delete(target)) => Self::Delete { target: MessageId(read::array("delete", target)?) },
            Ok(body::Receipt(receipt)) => {
                let receipt = receipt?;
                let list = receipt.get_targets()?;
                read::count("receipt.targets", list.len(), limits::RECEIPT_TARGETS)?;
                let kind = match receipt.get_kind() {
                    Ok(content_capnp::receipt::Kind::Delivered) => ReceiptKind::Delivered,
                    Ok(content_capnp::receipt::Kind::Read) => ReceiptKind::Read,
                    Err(capnp::NotInSchema(_)) => return Ok(Self::Unknown),
                };
                Self::Receipt {
                    kind,
                    targets: list
                        .iter()
                        .map(|target| read::array("receipt.targets", target).map(MessageId))
                        .collect::<Result<_, _>>()?,
                }
            }
            Ok(body::Attachment(file)) => {
                let file = file?;
                Self::Attachment(Attachment {
                    blob: BlobId(read::array("attachment.blob", file.get_blob())?),
                    key: read::array("attachment.key", file.get_key())?,
                    sha256: read::array("attachment.sha256", file.get_sha256())?,
                    size: file.get_size(),
                    name: read::text("attachment.name", file.get_name(), limits::SHORT_TEXT)?,
                    media_type: read::text("attachment.mediaType", file.get_media_type(), limits::SHORT_TEXT)?,
                })
            }
        })
    }
}

/// What is sealed to one device when it is added to a group.
#[derive(Clone, PartialEq, Eq)]
pub struct WelcomeBundle {
    pub group: GroupId,
    /// The epoch that the Welcome leads into.
    pub epoch: Epoch,
    /// MLSMessage(Welcome) for this recipient alone.
    pub welcome: Vec<u8>,
    /// Opens the group's name.
    pub name_key: [u8; 32],
    pub sender: DeviceId,
    /// By the sender's signature key over [`WelcomeBundle::signed_bytes`].
    pub signature: [u8; 64],
}

impl WelcomeBundle {
    /// What the adder signs: every field but the signature, with a domain string before.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let unsigned = Self { signature: [0; 64], ..self.clone() };
        [b"quicproquo welcome bundle 1\0".as_slice(), &unsigned.encode()].concat()
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<content_capnp::welcome_bundle::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(WELCOME_FORMAT);
        builder.set_group(&self.group.0);
        builder.set_epoch(self.epoch.0);
        builder.set_welcome(&self.welcome);
        builder.set_name_key(&self.name_key);
        builder.set_sender(&self.sender.0);
        builder.set_signature(&self.signature);
        read::to_bytes(&message)
    }

    /// Decodes what was opened.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<content_capnp::welcome_bundle::Owned>(bytes)?;
        let reader = message.get()?;
        read::format("welcome.format", reader.get_format(), WELCOME_FORMAT)?;
        Ok(Self {
            group: GroupId(read::array("welcome.group", reader.get_group())?),
            epoch: Epoch(reader.get_epoch()),
            welcome: read::some_bytes("welcome.welcome", reader.get_welcome(), limits::ENVELOPE)?,
            name_key: read::array("welcome.nameKey", reader.get_name_key())?,
            sender: DeviceId(read::array("welcome.sender", reader.get_sender())?),
            signature: read::array("welcome.signature", reader.get_signature())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(body: Body) -> Content {
        Content {
            id: MessageId([1; 16]),
            sent_at: Timestamp(1_700_000_000_000),
            in_reply_to: Some(MessageId([2; 16])),
            expires_after: Some(Duration::from_secs(60)),
            fallback: "…".into(),
            body,
        }
    }

    #[test]
    fn every_kind_survives_the_wire() {
        let target = MessageId([3; 16]);
        let attachment = Attachment {
            blob: BlobId([1; 32]),
            key: [2; 32],
            sha256: [3; 32],
            size: 5,
            name: "a.txt".into(),
            media_type: "text/plain".into(),
        };
        for body in [
            Body::Text("hello ✓".into()),
            Body::Reaction { target, emoji: "👍".into(), removed: true },
            Body::Edit { target, text: "better".into() },
            Body::Delete { target },
            Body::Receipt { kind: ReceiptKind::Read, targets: vec![target; 3] },
            Body::Attachment(attachment),
        ] {
            let content = content(body);
            assert_eq!(Content::decode(&content.encode()), Ok(content));
        }
    }

    #[test]
    fn an_unknown_kind_shows_its_fallback() {
        let mut bytes = content(Body::Text(String::new())).encode();
        // The body's discriminant is the third 16-bit word of the data section, which begins after one segment
        // table word and one root pointer word; 6 is one more than the last kind that this version knows.
        let before = bytes.clone();
        let mut changed = false;
        for offset in (16..40).step_by(2) {
            bytes.copy_from_slice(&before);
            bytes[offset] = 77;
            if let Ok(Content { body: Body::Unknown, fallback, .. }) = Content::decode(&bytes) {
                assert_eq!(fallback, "…");
                changed = true;
            }
        }
        assert!(changed, "no discriminant found");
    }

    #[test]
    fn limits_hold() {
        let long = content(Body::Text("x".repeat(limits::TEXT + 1)));
        assert!(Content::decode(&long.encode()).is_err());
        let longest = content(Body::Text("x".repeat(limits::TEXT)));
        assert!(Content::decode(&longest.encode()).is_ok());
    }

    #[test]
    fn a_welcome_bundle_survives_the_wire() {
        let bundle = WelcomeBundle {
            group: GroupId([1; 16]),
            epoch: Epoch(4),
            welcome: vec![1, 2, 3],
            name_key: [4; 32],
            sender: DeviceId([5; 16]),
            signature: [6; 64],
        };
        assert!(WelcomeBundle::decode(&bundle.encode()).is_ok_and(|decoded| decoded == bundle));
    }
}

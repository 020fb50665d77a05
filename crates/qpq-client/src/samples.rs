//! Values for the tests of views.

use crate::{
    Attachment, BlobId, Body, Contact, Content, Conversation, ConversationId, ConversationState, DeviceId, GroupId,
    GroupKind, IdentityId, Message, MessageId, MessageStatus, Notes, Timestamp, Trust,
};

pub fn contact(name: &str, byte: u8) -> Contact {
    Contact {
        identity: IdentityId([byte; 32]),
        name: Some(name.parse().expect("a good name")),
        trust: Trust::Unverified,
        replaced_by: None,
        is_blocked: false,
        is_self: false,
    }
}

pub fn message(text: &str) -> Message {
    Message {
        number: 7,
        conversation: ConversationId::Direct(IdentityId([2; 32])),
        id: MessageId([1; 16]),
        sender: contact("bob", 2),
        device: DeviceId([3; 16]),
        sent_at: Timestamp(1_700_000_000_000),
        received_at: Timestamp(1_700_000_000_123),
        status: MessageStatus::Received,
        content: Content {
            id: MessageId([1; 16]),
            sent_at: Timestamp(1_700_000_000_000),
            in_reply_to: None,
            expires_after: None,
            fallback: String::new(),
            body: Body::Text(text.into()),
        },
        quote: None,
        expires_at: None,
        notes: Notes::default(),
    }
}

pub fn file(name: &str) -> Attachment {
    Attachment {
        blob: BlobId([1; 32]),
        key: [2; 32],
        sha256: [3; 32],
        size: 1234,
        name: name.into(),
        media_type: "application/pdf".into(),
    }
}

pub fn direct(title: &str, byte: u8) -> Conversation {
    Conversation {
        id: ConversationId::Direct(IdentityId([byte; 32])),
        kind: GroupKind::Direct,
        title: title.into(),
        state: ConversationState::Active,
        unread: 0,
        last: None,
        is_request: false,
        is_muted: false,
        expires_after: None,
    }
}

pub fn group(title: &str, id: [u8; 16]) -> Conversation {
    Conversation {
        id: ConversationId::Group(GroupId(id)),
        kind: GroupKind::Group,
        title: title.into(),
        state: ConversationState::Active,
        unread: 0,
        last: None,
        is_request: false,
        is_muted: false,
        expires_after: None,
    }
}

//! What conversations are called on the screen.

use qpq_client::{Conversation, ConversationState, GroupKind};

use super::sanitize;

/// `@bob` or `#team`, on one line and short enough for a prompt.
pub fn label(conversation: &Conversation) -> String {
    labelled(conversation.kind, &conversation.title)
}

fn labelled(kind: GroupKind, title: &str) -> String {
    let sign = match kind {
        GroupKind::Direct => '@',
        GroupKind::Group => '#',
    };
    format!("{sign}{}", sanitize::name(title, WIDEST))
}

/// Why it is not an ordinary conversation; empty when it is one.
pub fn state(state: ConversationState) -> &'static str {
    match state {
        ConversationState::Starting => "not yet on the server",
        ConversationState::Active => "",
        ConversationState::Left => "you left",
        ConversationState::Removed => "you were removed",
        ConversationState::Broken => "being repaired",
    }
}

/// A label's title never takes more cells.
const WIDEST: usize = 32;

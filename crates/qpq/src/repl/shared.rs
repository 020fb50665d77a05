//! What the thread that reads lines and the thread that prints events both know.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;
use qpq_client::{Contact, Conversation, ConversationId, GroupKind, Message, MessageId};

use crate::view::message::{self, Layout};
use crate::view::{conversation, people};

/// A few small values behind one lock, which is never held across anything that waits.
pub struct Shared {
    me: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<ConversationId>,
    prompt: PromptState,
    /// Own messages whose row shows that they wait.
    waiting: HashSet<MessageId>,
    joined: VecDeque<String>,
    day: Option<Date>,
    users: Vec<String>,
    groups: Vec<String>,
    /// The text that was last seen in the editor.
    typed: String,
    /// It has changed since the others were told.
    has_typed: bool,
}

/// What the prompt shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptState {
    /// `@bob` or `#team`; empty when nothing is open.
    pub title: String,
    /// In other conversations.
    pub unread: u64,
    pub online: bool,
    /// Who is typing in the open conversation; empty when nobody is.
    pub typing: String,
}

impl Shared {
    pub fn new(me: String) -> Self {
        Self { me, state: Mutex::default() }
    }

    pub fn current(&self) -> Option<ConversationId> {
        self.lock().current
    }

    pub fn open(&self, conversation: ConversationId, title: String) {
        let mut state = self.lock();
        state.current = Some(conversation);
        state.prompt.title = title;
        state.day = None;
    }

    pub fn prompt(&self) -> PromptState {
        self.lock().prompt.clone()
    }

    /// The editor shows this text. Only what becomes a message counts as typing.
    pub fn typed(&self, line: &str) {
        let mut state = self.lock();
        if state.typed != line {
            state.has_typed = !line.trim().is_empty() && !line.starts_with('/');
            state.typed = line.to_owned();
        }
    }

    /// Whether something was typed since the last time.
    pub fn take_typed(&self) -> bool {
        std::mem::take(&mut self.lock().has_typed)
    }

    /// Who is typing. Whether the prompt has to be drawn again.
    pub fn set_typing(&self, who: &[Contact]) -> bool {
        let names: Vec<String> = who.iter().map(people::in_sentence).collect();
        let typing = match &names[..] {
            [] => String::new(),
            [one] => format!("{one} is typing…"),
            many => format!("{} are typing…", many.len()),
        };
        let mut state = self.lock();
        std::mem::replace(&mut state.prompt.typing, typing.clone()) != typing
    }

    /// Whether a text calls this user by name.
    pub fn is_mentioned(&self, text: &str) -> bool {
        people::mentions(text).any(|name| name == self.me)
    }

    /// Takes over what the client knows now. Whether the prompt has to be drawn again.
    pub fn update(&self, conversations: &[Conversation], contacts: &[Contact], online: bool) -> bool {
        let mut state = self.lock();
        let before = state.prompt.clone();
        let current = state.current;
        if let Some(open) = conversations.iter().find(|one| Some(one.id) == current) {
            state.prompt.title = conversation::label(open);
        }
        let counts = |one: &&Conversation| Some(one.id) != current && !one.is_muted;
        state.prompt.unread = conversations.iter().filter(counts).map(|one| one.unread).sum();
        state.prompt.online = online;
        let named = contacts.iter().filter(|contact| contact.name.is_some());
        state.users = named.map(|contact| format!("@{}", people::name(contact))).collect();
        state.users.push(format!("@{}", self.me));
        state.users.sort();
        state.users.dedup();
        let groups = conversations.iter().filter(|one| one.kind == GroupKind::Group);
        state.groups = groups.map(conversation::label).collect();
        state.groups.dedup();
        state.prompt != before
    }

    /// `@names` and `#groups` for completion.
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        let state = self.lock();
        (state.users.clone(), state.groups.clone())
    }

    /// The message's row says that it waits: somebody has to say when it has been sent.
    pub fn remember_waiting(&self, message: MessageId) {
        self.lock().waiting.insert(message);
    }

    /// Whether it was remembered, and whoever asks is the one to say so.
    pub fn take_waiting(&self, message: MessageId) -> bool {
        self.lock().waiting.remove(&message)
    }

    pub fn remember_joined(&self, group: String) {
        let mut state = self.lock();
        state.joined.retain(|known| *known != group);
        state.joined.push_front(group);
        state.joined.truncate(JOINED);
    }

    /// Groups that one was added to lately, newest first.
    pub fn joined(&self) -> Vec<String> {
        self.lock().joined.iter().cloned().collect()
    }

    /// The separator if this message begins another day on the screen.
    pub fn new_day(&self, message: &Message, layout: &Layout) -> Option<String> {
        message::new_day(&mut self.lock().day, message, layout).break_value()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid after every single change, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const JOINED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn the_prompt_counts_what_is_unread_elsewhere() {
        let shared = Shared::new("alice".into());
        let mut conversations = [samples::direct("bob", 2), samples::group("team", [1; 16])];
        conversations[0].unread = 2;
        conversations[1].unread = 5;
        shared.open(conversations[0].id, "@bob".into());
        assert!(shared.update(&conversations, &[samples::contact("bob", 2)], true));
        assert_eq!(
            shared.prompt(),
            PromptState { title: "@bob".into(), unread: 5, online: true, typing: String::new() }
        );
        assert!(!shared.update(&conversations, &[], true));
        assert_eq!(shared.names(), (vec!["@alice".into()], vec!["#team".into()]));
    }

    #[test]
    fn only_one_side_announces_that_a_message_was_sent() {
        let shared = Shared::new("alice".into());
        shared.remember_waiting(MessageId([1; 16]));
        assert!(shared.take_waiting(MessageId([1; 16])));
        assert!(!shared.take_waiting(MessageId([1; 16])));
    }
}

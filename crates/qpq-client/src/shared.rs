//! What the owner of a profile shares with the handles: the state of the connection, that there are events, who is typing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use qpq_core::view::ConversationId;
use qpq_proto::ids::IdentityId;

use crate::error::Error;
use crate::readiness::Bell;

/// The state of the connection, for everybody to see.
#[derive(Clone, Default)]
pub struct Connection {
    pub online: bool,
    /// Why not.
    pub trouble: Option<Arc<Error>>,
    /// Why the server did not do what it was asked last, when it may do so later.
    pub refusal: Option<String>,
}

impl Connection {
    pub fn lost(error: Error) -> Self {
        Self { online: false, trouble: Some(Arc::new(error)), refusal: None }
    }
}

/// What the owner shares with the handles.
#[derive(Default)]
pub struct Shared {
    pub connection: Mutex<Connection>,
    /// Grows when the event queue has grown.
    events: Mutex<u64>,
    /// Also tells of interrupts.
    events_grew: Condvar,
    interrupts: AtomicU64,
    /// Of event loops that wait.
    bells: Mutex<Vec<Weak<Bell>>>,
    /// Who was typing where, and when that was heard.
    typing: Mutex<HashMap<(ConversationId, IdentityId), Instant>>,
}

impl Shared {
    /// How often the queue has grown.
    pub fn generation(&self) -> u64 {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has grown again, or somebody interrupts.
    pub fn wait_for_events(&self, generation: u64, interrupts: u64, timeout: Duration) -> Result<(), Error> {
        let guard = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |now: &mut u64| *now == generation && self.interrupts() == interrupts;
        drop(self.events_grew.wait_timeout_while(guard, timeout, is_quiet));
        self.check_interrupts(interrupts)
    }

    /// How often somebody has interrupted.
    pub fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::SeqCst)
    }

    /// Whether somebody has interrupted since then.
    pub fn check_interrupts(&self, since: u64) -> Result<(), Error> {
        if self.interrupts() == since { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Ends all waiting.
    pub fn interrupt(&self) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        self.interrupts.fetch_add(1, Ordering::SeqCst);
        drop(events);
        self.events_grew.notify_all();
        self.ring();
    }

    /// Rings this bell whenever the queue has grown, for as long as somebody holds it.
    pub fn add_bell(&self, bell: &Arc<Bell>) {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(bell));
    }

    fn ring(&self) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| {
            bell.upgrade().is_some_and(|bell| {
                bell.ring();
                true
            })
        });
    }

    pub fn is_typing(&self, conversation: ConversationId, who: IdentityId) {
        let mut typing = self.typing.lock().unwrap_or_else(PoisonError::into_inner);
        typing.retain(|_, heard| heard.elapsed() < TYPING_LASTS);
        typing.insert((conversation, who), Instant::now());
    }

    /// Whoever has said something is not typing it any more.
    pub fn has_spoken(&self, conversation: ConversationId, who: IdentityId) {
        self.typing.lock().unwrap_or_else(PoisonError::into_inner).remove(&(conversation, who));
    }

    /// Who is typing in a conversation.
    pub fn typing(&self, conversation: ConversationId) -> Vec<IdentityId> {
        let typing = self.typing.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            typing.iter().filter(|((place, _), heard)| *place == conversation && heard.elapsed() < TYPING_LASTS);
        fresh.map(|((_, who), _)| *who).collect()
    }

    pub fn grew(&self) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.events_grew.notify_all();
        self.ring();
    }

    /// The state of the connection.
    pub fn connection(&self) -> Connection {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whoever goes on typing says so every few seconds.
const TYPING_LASTS: Duration = Duration::from_secs(6);

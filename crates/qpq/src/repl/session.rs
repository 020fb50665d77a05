//! What the REPL remembers from one line to the next.

use std::sync::Arc;

use qpq_client::{ConversationId, GroupKind, PendingLink};

use super::shared::Shared;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::{conversation, json, message, time};

pub struct Session {
    pub shared: Arc<Shared>,
    /// Whether a person is at the keyboard.
    pub interactive: bool,
    /// What the numbers of the last `/list` mean.
    pub listed: Vec<ConversationId>,
    /// A message that could not be sent, to be typed again.
    pub draft: Option<String>,
    /// Rows of the screen that the typed line takes, when that is known.
    pub typed_rows: Option<usize>,
    /// A device that was offered with `/link CODE`, and waits for the user to compare.
    pub pending_link: Option<PendingLink>,
    pub quit: bool,
}

impl Session {
    pub fn new(shared: Arc<Shared>, interactive: bool) -> Self {
        Self { shared, interactive, listed: Vec::new(), draft: None, typed_rows: None, pending_link: None, quit: false }
    }

    /// The conversation that plain text goes to.
    pub fn current(&self) -> Option<ConversationId> {
        self.shared.current()
    }
}

/// Makes a conversation the current one, and shows where it stands.
pub fn open(ctx: &mut Ctx, id: ConversationId) -> Result<(), Failure> {
    let client = ctx.client()?;
    let opened = ctx.conversation(id)?;
    let label = conversation::label(&opened);
    let Some(session) = &ctx.session else { return Ok(()) };
    session.shared.open(id, label.clone());
    client.mark_read(id)?;
    if !session.interactive {
        return ctx.output.show(&json::conversation(&opened), &format!("now in {label}"));
    }
    let state = conversation::state(opened.state);
    let what = match opened.kind {
        GroupKind::Group => "group",
        GroupKind::Direct if id == ConversationId::Direct(client.whoami()?.identity) => "notepad, nobody else reads it",
        GroupKind::Direct => "direct, end-to-end encrypted",
    };
    let state = match (opened.is_request, opened.expires_after) {
        (true, _) => format!("{state}{}a request: nothing is sent until you /accept or write", gap(state)),
        (false, Some(after)) => format!("{state}{}messages disappear after {}", gap(state), time::span(after)),
        (false, None) => state.to_owned(),
    };
    let state = if state.is_empty() { String::new() } else { format!(", {state}") };
    ctx.output.line(&ctx.output.theme.event(&format!("— {label}: {what}{state} —")))?;
    let layout = ctx.output.layout();
    let messages = client.history(id, None, SHOWN, None)?;
    if let Some(last) = messages.last() {
        session.shared.new_day(last, &layout);
    }
    message::rows(&messages, &layout).iter().try_for_each(|row| ctx.output.line(row))
}

fn gap(state: &str) -> &'static str {
    if state.is_empty() { "" } else { ", " }
}

/// Messages shown when a conversation is opened.
const SHOWN: usize = 10;

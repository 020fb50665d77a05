//! Plain text: a message to the current conversation.

use std::time::Duration;

use qpq_client::{Client, ConversationId, Error, Message, MessageId, MessageStatus};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json::{self, SendLine};
use crate::view::message::{self, Mark};

/// Stores the message, so that it is sent whatever happens, and shows it.
pub fn send(ctx: &mut Ctx, text: &str) -> Result<(), Failure> {
    let id = ctx.current()?;
    let client = ctx.client()?;
    let message = client.send_text(id, text)?;
    sent(ctx, id, message)
}

/// Shows a message that is stored and on its way.
pub fn sent(ctx: &mut Ctx, id: ConversationId, message: MessageId) -> Result<(), Failure> {
    let client = ctx.client()?;
    match &ctx.session {
        Some(session) if session.interactive => show(ctx, &client, id, message),
        Some(_) | None => report(ctx, id, message),
    }
}

/// In a pipe the object says that the message is stored; the event `sent` follows.
fn report(ctx: &mut Ctx, id: ConversationId, message: MessageId) -> Result<(), Failure> {
    if !ctx.output.json {
        return Ok(());
    }
    let stored = find(&ctx.client()?, id, message)?;
    let conversation = json::address(&ctx.conversation(id)?);
    ctx.output.line(&json::line(&SendLine::of(message, conversation, "waiting", stored.as_ref())))
}

/// Replaces the typed line by the message's row, with a mark that shows whether the server has it.
fn show(ctx: &mut Ctx, client: &Client, id: ConversationId, message: MessageId) -> Result<(), Failure> {
    let Some(session) = &ctx.session else { return Ok(()) };
    let mut sent = is_sent(client, message, SHORTLY)?;
    if !sent {
        session.shared.remember_waiting(message);
        // It may have been sent in between: then only one of the two threads says so.
        sent = is_sent(client, message, Duration::ZERO)? && session.shared.take_waiting(message);
    }
    let Some(row) = find(client, id, message)? else { return Ok(()) };
    if !matches!(row.status, MessageStatus::Waiting) && session.shared.take_waiting(message) {
        sent = true;
    }
    let mark = match (&row.status, sent) {
        (MessageStatus::Failed(_), _) => Mark::Failed,
        (_, true) => Mark::Sent,
        (_, false) => Mark::Waiting,
    };
    let layout = ctx.output.layout();
    let erase = session.typed_rows.map(|rows| format!("\u{1b}[{rows}A\r\u{1b}[J")).unwrap_or_default();
    let day = session.shared.new_day(&row, &layout).map(|day| format!("{day}\n")).unwrap_or_default();
    ctx.output.line(&format!("{erase}{day}{}", message::row_with_mark(&row, mark, None, &layout)))
}

fn is_sent(client: &Client, message: MessageId, timeout: Duration) -> Result<bool, Failure> {
    match client.wait_sent(message, timeout) {
        Ok(()) => Ok(true),
        Err(Error::Offline(_) | Error::TimedOut(_) | Error::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A message that was stored just now.
pub fn find(client: &Client, id: ConversationId, message: MessageId) -> Result<Option<Message>, Error> {
    client.sent_message(id, message)
}

/// What a server nearby needs; nobody notices that the prompt waits for it.
const SHORTLY: Duration = Duration::from_millis(300);

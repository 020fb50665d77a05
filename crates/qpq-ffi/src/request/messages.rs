//! Messages: sending, answering, changing, reading.

use qpq_client::json::{self, ChangeLine, ContactLine, InfoLine, SendLine};
use qpq_client::{Error, MessageId, MessageStatus, WishId};

use super::call::{Call, Place};
use super::{done, list};
use crate::status::Failure;

/// `status` is "waiting" when the server has not confirmed it in time: it is stored, and the event "sent" follows.
pub fn send(
    call: &Call<'_>,
    conversation: &str,
    text: &str,
    reply_to: Option<u64>,
    key: Option<&str>,
) -> Result<String, Failure> {
    let place = call.place(conversation)?;
    let (id, number) = call.client.store_text(place.id, text, reply_to, key)?;
    if key.is_none() && !call.waits() {
        // It is new: there is nothing to look up.
        let (kind, id) = ("send", id.to_string());
        let line =
            SendLine { kind, id, conversation: place.address, status: "waiting", number: Some(number), sha256: None };
        return Ok(json::line(&line));
    }
    confirm(call, place, id)
}

/// Tells how a message stands that is stored here.
pub fn confirm(call: &Call<'_>, place: Place, id: MessageId) -> Result<String, Failure> {
    let client = call.client;
    if call.waits() {
        match client.wait_sent(id, call.left()) {
            // The caller needs the id of what is stored.
            Ok(()) | Err(Error::Offline(_) | Error::TimedOut(_) | Error::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let stored = client.sent_message(place.id, id)?;
    let status = match stored.as_ref().map(|message| &message.status) {
        Some(MessageStatus::Failed(reason)) => return Err(Error::Refused(reason.clone()).into()),
        Some(MessageStatus::Waiting) => "waiting",
        // It has disappeared already, or been taken back.
        Some(MessageStatus::Sent | MessageStatus::Received) | None => "sent",
    };
    Ok(json::line(&SendLine::of(id, place.address, status, stored.as_ref())))
}

pub fn react(call: &Call<'_>, place: &str, number: u64, emoji: &str, remove: bool) -> Result<String, Failure> {
    let place = call.place(place)?;
    let wish = call.client.react(place.id, number, emoji, remove)?;
    changed(call, "react", place, number, Some(wish))
}

pub fn edit(call: &Call<'_>, place: &str, number: u64, text: &str) -> Result<String, Failure> {
    let place = call.place(place)?;
    let wish = call.client.edit(place.id, number, text)?;
    changed(call, "edit", place, number, Some(wish))
}

pub fn delete(call: &Call<'_>, place: &str, number: u64) -> Result<String, Failure> {
    let place = call.place(place)?;
    let wish = call.client.take_back(place.id, number)?;
    changed(call, "delete", place, number, wish)
}

fn changed(
    call: &Call<'_>,
    kind: &'static str,
    place: Place,
    number: u64,
    wish: Option<WishId>,
) -> Result<String, Failure> {
    let id = call.client.message(place.id, number)?.id.to_string();
    if let Some(wish) = wish {
        call.carried_out(wish)?;
    }
    Ok(json::line(&ChangeLine { kind, id, number, conversation: place.address }))
}

pub fn history(
    call: &Call<'_>,
    place: &str,
    before: Option<u64>,
    limit: Option<usize>,
    search: Option<&str>,
) -> Result<String, Failure> {
    let place = call.place(place)?;
    let limit = limit.unwrap_or(LIMIT).clamp(1, MOST);
    let messages = call.client.history(place.id, before, limit, search)?;
    let conversation = call.client.conversation(place.id)?;
    Ok(list(messages.iter().map(|message| json::message_line(message, &conversation))))
}

pub fn info(call: &Call<'_>, place: &str, number: u64) -> Result<String, Failure> {
    let place = call.place(place)?;
    let (message, conversation) = (call.client.message(place.id, number)?, call.client.conversation(place.id)?);
    let line = InfoLine {
        kind: "info",
        devices: call.client.devices_of_others(place.id)?,
        delivered: message.notes.delivered,
        read: message.notes.read_by.len(),
        message: json::message_line(&message, &conversation),
    };
    Ok(json::line(&line))
}

pub fn mark_read(call: &Call<'_>, place: &str) -> Result<String, Failure> {
    call.client.mark_read(call.place(place)?.id)?;
    Ok(done())
}

pub fn typing(call: &Call<'_>, place: &str) -> Result<String, Failure> {
    call.client.typing(call.place(place)?.id)?;
    Ok(done())
}

pub fn who_is_typing(call: &Call<'_>, place: &str) -> Result<String, Failure> {
    let who = call.client.who_is_typing(call.place(place)?.id)?;
    Ok(list(who.iter().map(|contact| ContactLine::of("contact", contact))))
}

/// As on the command line.
const LIMIT: usize = 50;
/// In one reply.
const MOST: usize = 1000;

//! What is said about messages: reactions, edits, deletions. The author is who the MLS leaf says, never what a content claims:
//! only one's own messages can be edited or taken back, for a message is found by its author and its id.

use std::time::Duration;

use qpq_proto::content::{Body, Content, ReceiptKind};
use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::limits;
use qpq_proto::time::Timestamp;
use qpq_trust::credential::LeafId;

use super::Answer;
use super::commands::random;
use super::ctx::Ctx;
use crate::error::Error;
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{EventRowKind, MessageRow, OwnRow, Row as _, WishKind, WishRow};
use crate::store::{StoreError, Table};
use crate::view::{ConversationId, MessageStatus};

impl Ctx<'_> {
    /// Reacts to a message, or takes that back.
    pub(super) fn react(
        &mut self,
        id: ConversationId,
        number: u64,
        emoji: String,
        removed: bool,
    ) -> Result<Answer, Error> {
        check_emoji(&emoji)?;
        let row = self.numbered(id, number)?;
        let fallback = if removed { format!("took back {emoji}") } else { format!("reacted with {emoji}") };
        self.say_about(id, Body::Reaction { target: row.id, emoji, removed }, fallback)
    }

    /// Changes the text of an own message.
    pub(super) fn edit(&mut self, id: ConversationId, number: u64, text: String) -> Result<Answer, Error> {
        let row = self.own_numbered(id, number)?;
        super::commands::check_text(&text)?;
        if !matches!(content_of(&row)?.body, Body::Text(_)) {
            return Err(Error::BadInput("only a text can be edited".into()));
        }
        let fallback = format!("(edited) {text}");
        self.say_about(id, Body::Edit { target: row.id, text }, fallback)
    }

    /// Takes an own message back, on all devices of all members.
    pub(super) fn take_back(&mut self, id: ConversationId, number: u64) -> Result<Answer, Error> {
        let row = self.own_numbered(id, number)?;
        if row.seq.is_none() && self.cancel(&row)? {
            self.erase(row)?;
            return Ok(Answer::Done);
        }
        self.say_about(id, Body::Delete { target: row.id }, "took a message back".into())
    }

    /// Done here at once, and told to the others.
    fn say_about(&mut self, id: ConversationId, body: Body, fallback: String) -> Result<Answer, Error> {
        let mut conversation = self.existing(id)?;
        self.take_up(&mut conversation)?;
        let (in_reply_to, expires_after) = (None, None);
        let content =
            Content { id: MessageId(random()?), sent_at: self.now, in_reply_to, expires_after, fallback, body };
        self.apply(id, self.account.identity, &content, self.now, false)?;
        let content = serde_bytes::ByteBuf::from(content.encode());
        Ok(Answer::Wish(self.wish(id, WishKind::Annotate { content }, Duration::ZERO)?))
    }

    /// Somebody says something about a message.
    pub(super) fn annotated(
        &mut self,
        id: ConversationId,
        by: LeafId,
        content: &Content,
        at: Timestamp,
    ) -> Result<(), Error> {
        match &content.body {
            Body::Receipt { kind, targets } => self.receipt_came(id, by, *kind == ReceiptKind::Read, targets),
            _ => self.apply(id, by.identity, content, at, true),
        }
    }

    fn apply(
        &mut self,
        id: ConversationId,
        by: IdentityId,
        content: &Content,
        at: Timestamp,
        is_news: bool,
    ) -> Result<(), Error> {
        match &content.body {
            Body::Reaction { target, emoji, removed } => {
                let kind = NoteKind::Reaction { emoji: emoji.clone() };
                self.reacted(NoteRow { conversation: id, message: *target, by, kind, at }, emoji, *removed, is_news)
            }
            Body::Edit { target, text } => {
                let note = NoteRow { conversation: id, message: *target, by, kind: NoteKind::Edited, at };
                self.edited(&note, text, is_news)
            }
            Body::Delete { target } => {
                let Some(row) = self.store.message(id, by, *target)? else { return Ok(()) };
                if is_deleted(&row)? {
                    return Ok(());
                }
                let sender = row.sender;
                self.erase(row)?;
                if is_news { self.event(Some(id), EventRowKind::Deleted { sender, id: *target }) } else { Ok(()) }
            }
            Body::Text(_)
            | Body::Receipt { .. }
            | Body::Attachment(_)
            | Body::AskName
            | Body::NameKey(_)
            | Body::Unknown => Ok(()),
        }
    }

    fn reacted(&mut self, note: NoteRow, emoji: &str, removed: bool, is_news: bool) -> Result<(), Error> {
        let (id, by, target) = (note.conversation, note.by, note.message);
        // Two messages of one id are the work of somebody who took another's; the reaction is to the first.
        let shown = |row: &MessageRow| !row.held;
        let Some(row) = self.store.messages_called(id, target)?.into_iter().find(shown) else { return Ok(()) };
        if check_emoji(emoji).is_err() || is_deleted(&row)? {
            return Ok(());
        }
        if NoteRow::load(self.store, &note.key())?.is_some() != removed {
            return Ok(());
        }
        if removed {
            NoteRow::delete(self.store, &note.key())?;
        } else {
            let of_the_same = |note: &NoteRow| note.by == by && matches!(note.kind, NoteKind::Reaction { .. });
            if NoteRow::of(self.store, id, target)?.iter().filter(|note| of_the_same(note)).count() >= REACTIONS {
                return Ok(());
            }
            note.save(self.store)?;
        }
        if !is_news {
            return Ok(());
        }
        let emoji = emoji.to_owned();
        self.event(Some(id), EventRowKind::Reaction { by, sender: row.sender, id: target, emoji, removed })
    }

    fn edited(&mut self, note: &NoteRow, text: &str, is_news: bool) -> Result<(), Error> {
        let (id, by, target) = (note.conversation, note.by, note.message);
        let Some(mut row) = self.store.message(id, by, target)? else { return Ok(()) };
        let mut content = content_of(&row)?;
        if !matches!(content.body, Body::Text(_)) || text.is_empty() {
            return Ok(());
        }
        content.body = Body::Text(text.to_owned());
        (row.text, row.content) = (text.to_owned(), content.encode());
        self.store.update_message(&row)?;
        note.save(self.store)?;
        if is_news { self.event(Some(id), EventRowKind::Edited { sender: by, id: target }) } else { Ok(()) }
    }

    /// Nothing of it is left but that it was there.
    fn erase(&mut self, mut row: MessageRow) -> Result<(), Error> {
        let (sent_at, fallback) = (row.sent_at, String::new());
        let body = Body::Delete { target: row.id };
        row.content = Content { id: row.id, sent_at, in_reply_to: None, expires_after: None, fallback, body }.encode();
        row.text = String::new();
        self.store.update_message(&row)?;
        Ok(NoteRow::forget(self.store, row.conversation, row.id)?)
    }

    /// A message that has not been encrypted yet never leaves.
    fn cancel(&mut self, row: &MessageRow) -> Result<bool, Error> {
        if OwnRow::all(self.store)?.iter().any(|own| own.message == row.id) {
            return Ok(false);
        }
        let kind = WishKind::Send { message: row.id };
        for wish in WishRow::all(self.store)?.into_iter().filter(|wish| wish.kind == kind) {
            WishRow::delete(self.store, &wish.key())?;
        }
        let mut row = row.clone();
        row.status = MessageStatus::Failed("taken back before it was sent".into());
        self.store.update_message(&row)?;
        let reason = "taken back before it was sent";
        self.store.put(Table::Refusals, &row.id.0, &crate::store::encode(&reason)?)?;
        Ok(true)
    }

    fn numbered(&mut self, id: ConversationId, number: u64) -> Result<MessageRow, Error> {
        let row = self.store.message_numbered(id, number)?.filter(|row| !row.held);
        let row = row.ok_or_else(|| Error::BadInput(format!("there is no message {number} here")))?;
        if is_deleted(&row)? {
            return Err(Error::BadInput(format!("message {number} was taken back")));
        }
        Ok(row)
    }

    fn own_numbered(&mut self, id: ConversationId, number: u64) -> Result<MessageRow, Error> {
        let row = self.numbered(id, number)?;
        if row.sender != self.account.identity {
            return Err(Error::BadInput(format!(
                "message {number} is somebody else's; only its author can change it or take it back"
            )));
        }
        Ok(row)
    }

    /// What a message with this number is called, to be answered.
    pub(super) fn quoted(&mut self, id: ConversationId, number: u64) -> Result<MessageId, Error> {
        Ok(self.numbered(id, number)?.id)
    }
}

/// Whether a message's author has taken it back.
pub fn is_deleted(row: &MessageRow) -> Result<bool, Error> {
    Ok(matches!(content_of(row)?.body, Body::Delete { .. }))
}

/// What a stored message says.
pub fn content_of(row: &MessageRow) -> Result<Content, Error> {
    Ok(Content::decode(&row.content).map_err(|error| StoreError::Corrupt(error.to_string()))?)
}

fn check_emoji(emoji: &str) -> Result<(), Error> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    if emoji.is_empty() || emoji.len() > limits::EMOJI || emoji.chars().any(is_odd) {
        return Err(Error::BadInput("a reaction is one emoji, such as 👍".into()));
    }
    Ok(())
}

/// Different reactions of one person to one message.
const REACTIONS: usize = 16;

//! What is said about messages: reactions, edits, deletions. The author is who the MLS leaf says, never what a content claims:
//! only one's own messages can be edited or taken back, for a message is found by its author and its id.

use std::time::Duration;

use qpq_proto::content::{Body, Content, ReceiptKind};
use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::limits;
use qpq_proto::time::Timestamp;
use qpq_trust::credential::LeafId;

use super::commands::random;
use super::ctx::Ctx;
use super::drive::Progress;
use super::{Answer, Effect};
use crate::error::Error;
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{
    Annotation, EventRowKind, GroupRow, MessageRow, OwnRow, Row as _, WishKind, WishRef, WishRow, conversation_key,
};
use crate::store::{StoreError, Table, decode};
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
        self.say_about(id, row.id, Annotation::Reaction { emoji, removed })
    }

    /// Changes the text of an own message.
    pub(super) fn edit(&mut self, id: ConversationId, number: u64, text: String) -> Result<Answer, Error> {
        let mut row = self.own_numbered(id, number)?;
        super::commands::check_text(&text)?;
        let mut content = content_of(&row)?;
        if !matches!(content.body, Body::Text(_)) {
            return Err(Error::BadInput("only a text can be edited".into()));
        }
        content.body = Body::Text(text.clone());
        (row.content, row.text) = (content.encode(), text);
        self.store.update_message(&row)?;
        let (by, kind, at) = (self.account.identity, NoteKind::Edited, self.now);
        NoteRow { conversation: id, message: row.id, by, kind, at }.save(self.store)?;
        self.say_about(id, row.id, Annotation::Edited)
    }

    /// Takes an own message back, on all devices of all members.
    pub(super) fn take_back(&mut self, id: ConversationId, number: u64) -> Result<Answer, Error> {
        let row = self.own_numbered(id, number)?;
        let target = row.id;
        if row.seq.is_none() && self.cancel(&row)? {
            self.erase(row, MessageStatus::Failed(CANCELLED.into()))?;
            return Ok(Answer::Done);
        }
        let status = row.status.clone();
        self.erase(row, status)?;
        self.say_about(id, target, Annotation::Deleted)
    }

    /// Done here, and to be told to the others.
    fn say_about(&mut self, id: ConversationId, message: MessageId, what: Annotation) -> Result<Answer, Error> {
        let mut conversation = self.existing(id)?;
        self.take_up(&mut conversation)?;
        self.ensure_started(id)?;
        if let Annotation::Reaction { emoji, removed } = &what {
            let (by, kind, at) = (self.account.identity, NoteKind::Reaction { emoji: emoji.clone() }, self.now);
            self.reacted(NoteRow { conversation: id, message, by, kind, at }, emoji, *removed, false)?;
        }
        Ok(Answer::Wish(self.wish(id, WishKind::Annotate { message, what }, Duration::ZERO)?))
    }

    /// Encrypts what is said about a message. It goes when the messages go; but what changes a message stays for as long as
    /// that does.
    pub(super) fn annotate(
        &mut self,
        row: &GroupRow,
        reference: WishRef,
        target: MessageId,
        what: &Annotation,
    ) -> Result<Progress, Error> {
        let mine = self.store.message(row.conversation, self.account.identity, target)?;
        let left = |row: &MessageRow| row.expires_at.map(|at| Duration::from_millis(at.0.saturating_sub(self.now.0)));
        let rule = row.expires_after.map(Duration::from_millis);
        let (body, fallback, expires_after) = match (what, &mine) {
            (Annotation::Reaction { emoji, removed: false }, _) => {
                let body = Body::Reaction { target, emoji: emoji.clone(), removed: false };
                (body, format!("reacted with {emoji}"), rule)
            }
            (Annotation::Reaction { emoji, removed: true }, _) => {
                let body = Body::Reaction { target, emoji: emoji.clone(), removed: true };
                (body, format!("took back {emoji}"), rule)
            }
            (Annotation::Deleted, mine) => {
                let left = mine.as_ref().map_or(rule, left);
                (Body::Delete { target }, "took a message back".into(), left)
            }
            (Annotation::Edited, Some(mine)) if !is_deleted(mine)? => {
                let text = mine.text.clone();
                let fallback = format!("(edited) {text}");
                (Body::Edit { target, text }, fallback, left(mine))
            }
            // Taken back or disappeared meanwhile.
            (Annotation::Edited, _) => return Ok(Progress::Done),
        };
        let (id, sent_at, in_reply_to) = (MessageId(random()?), self.now, None);
        let content = Content { id, sent_at, in_reply_to, expires_after, fallback, body };
        self.post_content(row, reference, id, &content.encode(), expires_after)
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
            _ => self.apply(id, by.identity, content, at),
        }
    }

    fn apply(&mut self, id: ConversationId, by: IdentityId, content: &Content, at: Timestamp) -> Result<(), Error> {
        if by == self.account.identity && self.is_overtaken(id, &content.body)? {
            return Ok(());
        }
        match &content.body {
            Body::Reaction { target, emoji, removed } => {
                let kind = NoteKind::Reaction { emoji: emoji.clone() };
                self.reacted(NoteRow { conversation: id, message: *target, by, kind, at }, emoji, *removed, true)
            }
            Body::Edit { target, text } => {
                let note = NoteRow { conversation: id, message: *target, by, kind: NoteKind::Edited, at };
                self.edited(&note, text)
            }
            Body::Delete { target } => {
                let Some(row) = self.store.message(id, by, *target)? else { return Ok(()) };
                if is_deleted(&row)? {
                    return Ok(());
                }
                let (sender, status) = (row.sender, row.status.clone());
                self.erase(row, status)?;
                self.event(Some(id), EventRowKind::Deleted { sender, id: *target })
            }
            Body::Text(_)
            | Body::Receipt { .. }
            | Body::Attachment(_)
            | Body::AskName
            | Body::NameKey(_)
            | Body::Unknown => Ok(()),
        }
    }

    /// Whether something that this device says about a message is still to come in the log: then that counts, and not what
    /// another device of the same person said before it.
    fn is_overtaken(&self, id: ConversationId, body: &Body) -> Result<bool, Error> {
        let Some((target, said)) = about(body) else { return Ok(false) };
        let is_same = |message: MessageId, what: &Annotation| message == target && what.is_alternative_to(&said);
        let on_its_way = |own: &OwnRow| {
            own.wish.conversation == id && own.about.as_ref().is_some_and(|(message, what)| is_same(*message, what))
        };
        if OwnRow::all(self.store)?.iter().any(on_its_way) {
            return Ok(true);
        }
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(id))? {
            let wish: WishRow = decode(&bytes)?;
            if matches!(&wish.kind, WishKind::Annotate { message, what } if is_same(*message, what)) {
                return Ok(true);
            }
        }
        Ok(false)
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

    fn edited(&mut self, note: &NoteRow, text: &str) -> Result<(), Error> {
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
        self.event(Some(id), EventRowKind::Edited { sender: by, id: target })
    }

    /// Nothing of it is left but that it was there.
    fn erase(&mut self, mut row: MessageRow, status: MessageStatus) -> Result<(), Error> {
        row.status = status;
        let (sent_at, fallback) = (row.sent_at, String::new());
        let body = Body::Delete { target: row.id };
        row.content = Content { id: row.id, sent_at, in_reply_to: None, expires_after: None, fallback, body }.encode();
        row.text = String::new();
        self.store.update_message(&row)?;
        Ok(NoteRow::forget(self.store, row.conversation, row.id)?)
    }

    /// A message that has not been encrypted yet never leaves; unless a set-back makes it leave once more.
    fn cancel(&mut self, row: &MessageRow) -> Result<bool, Error> {
        let is_known = |note: &NoteRow| note.kind == NoteKind::SaidBefore;
        if OwnRow::all(self.store)?.iter().any(|own| own.message == row.id)
            || NoteRow::of(self.store, row.conversation, row.id)?.iter().any(is_known)
        {
            return Ok(false);
        }
        let kind = WishKind::Send { message: row.id };
        for wish in WishRow::all(self.store)?.into_iter().filter(|wish| wish.kind == kind) {
            WishRow::delete(self.store, &wish.key())?;
        }
        self.store.put(Table::Refusals, &row.id.0, &crate::store::encode(&CANCELLED)?)?;
        self.effect(Effect::Sent { message: row.id, result: Err(CANCELLED.into()) });
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

/// What a content says about which message, if it changes one.
pub(super) fn about(body: &Body) -> Option<(MessageId, Annotation)> {
    match body {
        Body::Reaction { target, emoji, removed } => {
            Some((*target, Annotation::Reaction { emoji: emoji.clone(), removed: *removed }))
        }
        Body::Edit { target, .. } => Some((*target, Annotation::Edited)),
        Body::Delete { target } => Some((*target, Annotation::Deleted)),
        Body::Text(_)
        | Body::Receipt { .. }
        | Body::Attachment(_)
        | Body::AskName
        | Body::NameKey(_)
        | Body::Unknown => None,
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

const CANCELLED: &str = "taken back before it was sent";

/// Different reactions of one person to one message.
const REACTIONS: usize = 16;

//! Receipts: telling authors that their messages are here and were read, and noting what others tell. End to end, so that the
//! server learns nothing. The first one leaves at once and what comes soon after it is gathered, so that a conversation in full
//! flow does not consist of receipts; none in large groups, where everybody would tell everybody.

use std::time::Duration;

use qpq_proto::content::{Body, Content, ReceiptKind};
use qpq_proto::ids::MessageId;
use qpq_proto::limits;
use qpq_trust::credential::LeafId;

use super::Answer;
use super::commands::random;
use super::ctx::Ctx;
use super::drive::Progress;
use crate::error::Error;
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{
    ConversationRow, EventRowKind, GroupRow, Row as _, WishKind, WishRef, WishRow, conversation_key, number, set_number,
};
use crate::store::{Table, decode};
use crate::view::{ConversationId, MessageStatus};

impl Ctx<'_> {
    /// Confirms what has come in this step.
    pub(super) fn confirm_arrivals(&mut self) -> Result<(), Error> {
        for (id, messages) in std::mem::take(&mut self.arrived) {
            self.wish_receipts(id, false, messages)?;
        }
        Ok(())
    }

    /// Everything in a conversation has been seen.
    pub(super) fn mark_read(&mut self, id: ConversationId) -> Result<Answer, Error> {
        let Some(mut row) = ConversationRow::load(self.store, &id)? else { return Ok(Answer::Done) };
        if row.read_number == row.last_number {
            return Ok(Answer::Done);
        }
        let newest = self.store.messages(id, None, RECEIPTS_AT_ONCE, None)?;
        let unread = newest.iter().filter(|one| one.number > row.read_number && one.status == MessageStatus::Received);
        let me = self.account.identity;
        let unread = unread.filter(|one| one.sender != me).map(|one| one.id).collect();
        row.read_number = row.last_number;
        row.save(self.store)?;
        self.wish_receipts(id, true, unread)?;
        Ok(Answer::Done)
    }

    fn wish_receipts(&mut self, id: ConversationId, is_read: bool, messages: Vec<MessageId>) -> Result<(), Error> {
        if messages.is_empty() || !self.tells_others(id)? {
            return Ok(());
        }
        let last = self.connection.receipts.get(&(id, is_read)).copied().unwrap_or_default();
        let delay = GATHER.saturating_sub(self.now.since(last));
        let messages = if delay.is_zero() { messages } else { self.gather(id, is_read, messages)? };
        if messages.is_empty() {
            return Ok(());
        }
        self.connection.receipts.insert((id, is_read), self.now.after(delay));
        for messages in messages.chunks(limits::RECEIPT_TARGETS) {
            let messages = messages.to_vec();
            self.wish(id, WishKind::Receipt { is_read, messages }, delay)?;
        }
        Ok(())
    }

    /// Adds messages to the receipt that waits for its time, and gives back those that have no place in it.
    fn gather(
        &mut self,
        id: ConversationId,
        is_read: bool,
        mut messages: Vec<MessageId>,
    ) -> Result<Vec<MessageId>, Error> {
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(id))? {
            let mut wish: WishRow = decode(&bytes)?;
            let WishKind::Receipt { is_read: kind, messages: gathered } = &mut wish.kind else { continue };
            if *kind == is_read && wish.not_before > self.now {
                let room = limits::RECEIPT_TARGETS.saturating_sub(gathered.len()).min(messages.len());
                gathered.extend(messages.drain(..room));
                wish.save(self.store)?;
            }
        }
        Ok(messages)
    }

    /// Receipts that are being gathered leave now.
    pub(super) fn send_gathered(&mut self) -> Result<(), Error> {
        for mut wish in WishRow::all(self.store)? {
            if matches!(wish.kind, WishKind::Receipt { .. }) && wish.not_before > self.now {
                wish.not_before = self.now;
                wish.save(self.store)?;
                self.touch(wish.conversation);
            }
        }
        Ok(())
    }

    /// Whether others learn what the user does here: never of requests, and not when the user does not want it.
    pub(super) fn tells_others(&mut self, id: ConversationId) -> Result<bool, Error> {
        if number(self.store, SILENT)? != 0 || self.is_untouched(id)? {
            return Ok(false);
        }
        let Some(row) = self.group_of(id)? else { return Ok(false) };
        let Ok(mls) = self.take_mls(row.group) else { return Ok(false) };
        let devices = mls.members().count();
        self.keep_mls(row.group, mls);
        Ok((2..=MOST_DEVICES).contains(&devices))
    }

    /// Whether to send receipts and to show that the user is typing.
    pub(super) fn set_telling(&mut self, tell: bool) -> Result<Answer, Error> {
        set_number(self.store, SILENT, u64::from(!tell))?;
        Ok(Answer::Done)
    }

    /// Encrypts a receipt.
    pub(super) fn receipt(
        &mut self,
        row: &GroupRow,
        reference: WishRef,
        is_read: bool,
        messages: &[MessageId],
    ) -> Result<Progress, Error> {
        let kind = if is_read { ReceiptKind::Read } else { ReceiptKind::Delivered };
        let (id, sent_at, fallback) = (MessageId(random()?), self.now, String::new());
        let body = Body::Receipt { kind, targets: messages.to_vec() };
        let content = Content { id, sent_at, in_reply_to: None, expires_after: None, fallback, body };
        self.post_content(row, reference, id, &content.encode(), None)
    }

    /// A receipt of somebody else, or of another device of one's own.
    pub(super) fn receipt_came(
        &mut self,
        id: ConversationId,
        by: LeafId,
        is_read: bool,
        targets: &[MessageId],
    ) -> Result<(), Error> {
        if by.identity == self.account.identity {
            return if is_read { self.read_elsewhere(id, targets) } else { Ok(()) };
        }
        let mut messages = Vec::new();
        for target in targets {
            if self.store.message(id, self.account.identity, *target)?.is_none() {
                continue;
            }
            let kind = if is_read { NoteKind::Read } else { NoteKind::Delivered { device: by.device } };
            let note = NoteRow { conversation: id, message: *target, by: by.identity, kind, at: self.now };
            if NoteRow::load(self.store, &note.key())?.is_none() {
                note.save(self.store)?;
                messages.push(*target);
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.event(Some(id), EventRowKind::Receipt { by: by.identity, device: by.device, is_read, messages })
    }

    /// What was read on one device is read on all.
    fn read_elsewhere(&mut self, id: ConversationId, targets: &[MessageId]) -> Result<(), Error> {
        let mut newest = 0;
        for target in targets {
            let numbers = self.store.messages_called(id, *target)?.into_iter().map(|row| row.number);
            newest = numbers.max().unwrap_or(0).max(newest);
        }
        let mut row = self.conversation(id)?;
        if newest > row.read_number {
            row.read_number = newest;
            row.save(self.store)?;
        }
        Ok(())
    }
}

/// The counter that is 1 while others learn nothing of what the user does.
pub const SILENT: &str = "silent";

/// How far apart receipts of one kind are in a conversation.
const GATHER: Duration = Duration::from_secs(1);

/// Devices in a group in which everybody tells everybody.
const MOST_DEVICES: usize = 16;

/// Messages that are confirmed as read at once: older ones are read as well, as everybody will think.
const RECEIPTS_AT_ONCE: usize = 1000;

//! Messages as they are shown.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use qpq_proto::ids::{IdentityId, MessageId};

use super::Query;
use crate::engine::annotate::content_of;
use crate::engine::send_key;
use crate::error::Error;
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{MessageRow, Row as _, WishKind, WishRow};
use crate::store::{Table, decode};
use crate::view::{Contact, ConversationId, Message, Notes, Quote};

impl Query<'_> {
    /// Messages, as [`Store::messages`] gives them.
    pub fn history(
        &self,
        id: ConversationId,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<Message>, Error> {
        let contacts = &mut BTreeMap::new();
        let rows = self.store.messages(id, before, limit, search)?;
        rows.into_iter().map(|row| self.message_view(row, contacts)).collect()
    }

    pub(super) fn message_view(
        &self,
        row: MessageRow,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Message, Error> {
        let sender = self.known(row.sender, contacts)?;
        let content = content_of(&row)?;
        let quote = content.in_reply_to.map(|id| self.quote(row.conversation, id, contacts)).transpose()?;
        let notes = self.notes(&row, contacts)?;
        Ok(Message {
            number: row.number,
            conversation: row.conversation,
            id: row.id,
            sender,
            device: row.device,
            sent_at: row.sent_at,
            received_at: row.received_at,
            status: row.status,
            content,
            quote,
            expires_at: row.expires_at,
            notes,
        })
    }

    pub(super) fn known(
        &self,
        who: IdentityId,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Contact, Error> {
        Ok(match contacts.entry(who) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => free.insert(self.view(who)?).clone(),
        })
    }

    fn quote(
        &self,
        conversation: ConversationId,
        id: MessageId,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Quote, Error> {
        let shown = |row: &MessageRow| !row.held;
        let Some(row) = self.store.messages_called(conversation, id)?.into_iter().find(shown) else {
            return Ok(Quote { number: None, sender: None, text: String::new() });
        };
        Ok(Quote { number: Some(row.number), sender: Some(self.known(row.sender, contacts)?), text: row.text })
    }

    fn notes(&self, row: &MessageRow, contacts: &mut BTreeMap<IdentityId, Contact>) -> Result<Notes, Error> {
        let mut notes = Notes::default();
        let mut reactions: BTreeMap<String, Vec<Contact>> = BTreeMap::new();
        let mut rows = NoteRow::of(self.store, row.conversation, row.id)?;
        rows.sort_by_key(|note| note.at);
        for note in rows {
            match note.kind {
                NoteKind::Delivered { .. } => notes.delivered += 1,
                NoteKind::Read => notes.read_by.push(self.known(note.by, contacts)?),
                NoteKind::Reaction { emoji } => {
                    reactions.entry(emoji).or_default().push(self.known(note.by, contacts)?);
                }
                NoteKind::Edited if note.by == row.sender => notes.edited = Some(note.at),
                NoteKind::Edited | NoteKind::SaidBefore => {}
            }
        }
        notes.reactions = reactions.into_iter().collect();
        Ok(notes)
    }

    /// The message that people refer to by this number.
    pub fn message_numbered(&self, id: ConversationId, number: u64) -> Result<Option<Message>, Error> {
        let row = self.store.message_numbered(id, number)?;
        row.map(|row| self.message_view(row, &mut BTreeMap::new())).transpose()
    }

    /// An own message.
    pub fn sent_message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>, Error> {
        let Some(account) = self.account()? else { return Ok(None) };
        self.message_of(Some(conversation), account.identity, id, &mut BTreeMap::new())
    }

    /// The message that was stored under this key; none when there is none (any more).
    pub fn message_of_key(&self, conversation: ConversationId, key: &str) -> Result<Option<MessageId>, Error> {
        let Some(account) = self.account()? else { return Ok(None) };
        let id = send_key::message_id(account, conversation, key)?;
        Ok(self.store.message(conversation, account.identity, id)?.map(|_| id))
    }

    /// Whether an own message still waits, and why it was refused if it was.
    pub fn own_message(&self, id: MessageId) -> Result<(bool, Option<String>), Error> {
        if let Some(reason) = self.store.get(Table::Refusals, &id.0)? {
            return Ok((false, Some(decode(&reason)?)));
        }
        let kind = WishKind::Send { message: id };
        Ok((WishRow::all(self.store)?.iter().any(|wish| wish.kind == kind), None))
    }

    pub(super) fn message_of(
        &self,
        conversation: Option<ConversationId>,
        sender: IdentityId,
        id: MessageId,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Option<Message>, Error> {
        let Some(conversation) = conversation else { return Ok(None) };
        let row = self.store.message(conversation, sender, id)?.filter(|row| !row.held);
        row.map(|row| self.message_view(row, contacts)).transpose()
    }
}

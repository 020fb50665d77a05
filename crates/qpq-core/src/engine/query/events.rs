//! What has happened, with names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use qpq_proto::ids::IdentityId;

use super::Query;
use crate::error::Error;
use crate::store::rows::{ConversationRow, EventRow, EventRowKind, Row as _};
use crate::store::{Table, decode};
use crate::view::{Contact, Conversation, ConversationId, Event, EventKind};

impl Query<'_> {
    /// Events after a position, with names.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        let rows = self.store.events(after, limit)?;
        let contacts = &mut BTreeMap::new();
        let mut conversations: BTreeMap<ConversationId, Option<Conversation>> = BTreeMap::new();
        let mut events = Vec::with_capacity(rows.len());
        for (position, bytes) in rows {
            let row: EventRow = decode(&bytes)?;
            // Most events of a batch belong to a few conversations.
            let conversation = match row.conversation {
                Some(id) => match conversations.entry(id) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(free) => {
                        let found = ConversationRow::load(self.store, &id)?;
                        let view = found.map(|found| self.conversation_view(&found, false)).transpose()?;
                        free.insert(view).clone()
                    }
                },
                None => None,
            };
            if let Some(kind) = self.event_view(row.conversation, row.kind, contacts)? {
                events.push(Event { position, at: row.at, conversation, kind });
            }
        }
        Ok(events)
    }

    fn event_view(
        &self,
        conversation: Option<ConversationId>,
        kind: EventRowKind,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Option<EventKind>, Error> {
        Ok(Some(match kind {
            EventRowKind::Message { sender, id } => match self.message_of(conversation, sender, id, contacts)? {
                Some(message) => EventKind::Message(message),
                None => return Ok(None),
            },
            EventRowKind::Sent { message } => EventKind::Sent { message },
            EventRowKind::NotSent { message, reason } => EventKind::NotSent { message, reason },
            EventRowKind::Joined { by } => EventKind::Joined { by: self.view(by)? },
            EventRowKind::MemberAdded { who, by } => {
                EventKind::MemberAdded { who: self.view(who)?, by: self.view(by)? }
            }
            EventRowKind::MemberRemoved { who, by } => {
                EventKind::MemberRemoved { who: self.view(who)?, by: self.view(by)? }
            }
            EventRowKind::Removed { by } => EventKind::Removed { by: self.view(by)? },
            EventRowKind::Left => EventKind::Left,
            EventRowKind::Renamed { by, name } => EventKind::Renamed { by: self.view(by)?, name },
            EventRowKind::RoleChanged { who, by, is_admin } => {
                EventKind::RoleChanged { who: self.view(who)?, by: self.view(by)?, is_admin }
            }
            EventRowKind::KeyChanged { name, old, new } => EventKind::KeyChanged { name, old, new },
            EventRowKind::UntrustedDevice { who, device } => {
                EventKind::UntrustedDevice { who: self.view(who)?, device }
            }
            EventRowKind::Gap { count, reason } => EventKind::Gap { count, reason },
            EventRowKind::Refused { what, reason } => EventKind::Refused { what, reason },
            EventRowKind::Edited { sender, id } => match self.message_of(conversation, sender, id, contacts)? {
                Some(message) => EventKind::Edited(message),
                None => return Ok(None),
            },
            EventRowKind::Deleted { sender, id } => match self.message_of(conversation, sender, id, contacts)? {
                Some(message) => EventKind::Deleted(message),
                None => return Ok(None),
            },
            EventRowKind::Reaction { by, sender, id, emoji, removed } => {
                match self.message_of(conversation, sender, id, contacts)? {
                    Some(message) => EventKind::Reaction { message, by: self.known(by, contacts)?, emoji, removed },
                    None => return Ok(None),
                }
            }
            EventRowKind::Receipt { by, device, is_read, messages } => {
                EventKind::Receipt { by: self.known(by, contacts)?, device, is_read, messages }
            }
            EventRowKind::Request { by } => EventKind::Request { by: self.known(by, contacts)? },
            EventRowKind::ExpiryChanged { by, after } => {
                EventKind::ExpiryChanged { by: self.known(by, contacts)?, after: after.map(Duration::from_millis) }
            }
            EventRowKind::DeviceAdded { who, device, name } => {
                EventKind::DeviceAdded { who: self.view(who)?, device, name }
            }
            EventRowKind::DeviceRemoved { who, device, name } => {
                EventKind::DeviceRemoved { who: self.view(who)?, device, name }
            }
        }))
    }

    /// How far a consumer has come with the events; none for one that never acknowledged anything.
    pub fn consumer(&self, consumer: &str) -> Result<Option<u64>, Error> {
        let position = self.store.get(Table::Counters, format!("consumer {consumer}").as_bytes())?;
        Ok(position.map(|bytes| decode(&bytes)).transpose()?)
    }

    /// The position of the newest event.
    pub fn last_event(&self) -> Result<u64, Error> {
        Ok(self.store.newest_event()?)
    }
}

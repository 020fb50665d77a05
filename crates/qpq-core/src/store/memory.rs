//! A store in memory, for simulations and tests. Cloning it is a backup; replacing it is a rollback.

use std::collections::BTreeMap;

use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::time::Timestamp;

use super::rows::MessageRow;
use super::{KeyValue, Store, StoreError, Table};
use crate::view::{ConversationId, MessageStatus};

/// Everything in ordered maps.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    messages: Vec<MessageRow>,
    events: Vec<Vec<u8>>,
}

impl MemoryStore {
    fn position(&self, conversation: ConversationId, sender: IdentityId, id: MessageId) -> Option<usize> {
        self.messages.iter().position(|row| row.conversation == conversation && row.sender == sender && row.id == id)
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.get(&(table, key.to_vec())).cloned())
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.tables.insert((table, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.tables.remove(&(table, key.to_vec()));
        Ok(())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
        self.scan_first(table, prefix, usize::MAX)
    }

    fn scan_first(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        Ok(self
            .tables
            .range((table, prefix.to_vec())..)
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .take(limit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn insert_message(&mut self, message: &MessageRow) -> Result<bool, StoreError> {
        let new = self.position(message.conversation, message.sender, message.id).is_none();
        if new {
            self.messages.push(message.clone());
        }
        Ok(new)
    }

    fn message(
        &self,
        conversation: ConversationId,
        sender: IdentityId,
        id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        Ok(self.position(conversation, sender, id).map(|index| self.messages[index].clone()))
    }

    fn message_numbered(&self, conversation: ConversationId, number: u64) -> Result<Option<MessageRow>, StoreError> {
        let fits = |row: &&MessageRow| row.conversation == conversation && row.number == number && !row.held;
        Ok(self.messages.iter().find(fits).cloned())
    }

    fn messages_called(&self, conversation: ConversationId, id: MessageId) -> Result<Vec<MessageRow>, StoreError> {
        let fits = |row: &&MessageRow| row.conversation == conversation && row.id == id;
        Ok(self.messages.iter().filter(fits).cloned().collect())
    }

    fn expired_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        let over = |row: &&MessageRow| row.expires_at.is_some_and(|at| at <= now);
        Ok(self.messages.iter().filter(over).take(limit).cloned().collect())
    }

    fn delete_message(&mut self, message: &MessageRow) -> Result<(), StoreError> {
        if let Some(index) = self.position(message.conversation, message.sender, message.id) {
            self.messages.remove(index);
        }
        Ok(())
    }

    fn update_message(&mut self, message: &MessageRow) -> Result<(), StoreError> {
        if let Some(index) = self.position(message.conversation, message.sender, message.id) {
            self.messages[index] = message.clone();
        }
        Ok(())
    }

    fn messages(
        &self,
        conversation: ConversationId,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let order = |row: &MessageRow| (row.seq.map_or(u64::MAX, |seq| seq.0), row.number);
        let mut all: Vec<_> =
            self.messages.iter().filter(|row| row.conversation == conversation && !row.held).cloned().collect();
        all.sort_by_key(order);
        if let Some(end) = before.and_then(|number| all.iter().position(|row| row.number == number)) {
            all.truncate(end);
        }
        if let Some(search) = search {
            let words: Vec<_> = search.split_whitespace().map(str::to_lowercase).collect();
            all.retain(|row| words.iter().all(|word| row.text.to_lowercase().contains(word)));
        }
        Ok(all.split_off(all.len().saturating_sub(limit)))
    }

    fn held_messages(&self, sender: IdentityId) -> Result<Vec<MessageRow>, StoreError> {
        Ok(self.messages.iter().filter(|row| row.held && row.sender == sender).cloned().collect())
    }

    fn count_received(&self, conversation: ConversationId, after: u64) -> Result<u64, StoreError> {
        let counts = |row: &&MessageRow| {
            row.conversation == conversation && row.number > after && !row.held && row.status == MessageStatus::Received
        };
        Ok(self.messages.iter().filter(counts).count() as u64)
    }

    fn append_event(&mut self, event: &[u8]) -> Result<u64, StoreError> {
        self.events.push(event.to_vec());
        Ok(self.events.len() as u64)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let rows = self.events.iter().enumerate().skip(after as usize).take(limit);
        Ok(rows.map(|(index, event)| (index as u64 + 1, event.clone())).collect())
    }

    fn newest_event(&self) -> Result<u64, StoreError> {
        Ok(self.events.len() as u64)
    }
}

//! One transaction. Key-value writes are kept in memory until the commit: a run of a thousand messages changes the
//! same ratchet state a thousand times and writes it once.

use std::collections::BTreeMap;

use qpq_core::store::rows::MessageRow;
use qpq_core::store::{KeyValue, Store, StoreError, Table};
use qpq_core::view::ConversationId;
use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::time::Timestamp;
use rusqlite::{OptionalExtension as _, TransactionBehavior};

use super::{messages, store_error};

/// A transaction of the profile's database.
pub struct Tx<'a> {
    transaction: rusqlite::Transaction<'a>,
    /// None: removed.
    changed: BTreeMap<(i64, Vec<u8>), Option<Vec<u8>>>,
}

impl<'a> Tx<'a> {
    pub(super) fn begin(connection: &'a mut rusqlite::Connection) -> Result<Self, StoreError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
        Ok(Self { transaction, changed: BTreeMap::new() })
    }

    /// Puts the words of at most so many messages into the index that searches use; false when all are in it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn index_words(&self, most: usize) -> Result<bool, StoreError> {
        messages::index(&self.transaction, most).map_err(store_error)
    }

    /// Writes everything and syncs it to disk.
    ///
    /// # Errors
    /// Nothing is changed then.
    pub fn commit(self) -> Result<(), StoreError> {
        for ((table, key), value) in &self.changed {
            match value {
                Some(value) => self
                    .transaction
                    .prepare_cached(PUT)
                    .and_then(|mut statement| statement.execute((table, key, value))),
                None => self
                    .transaction
                    .prepare_cached("DELETE FROM kv WHERE tab = ?1 AND key = ?2")
                    .and_then(|mut statement| statement.execute((table, key))),
            }
            .map_err(store_error)?;
        }
        self.transaction.commit().map_err(store_error)
    }
}

/// In its place: a row that is replaced moves to the end of the table, which changes three pages instead of one.
const PUT: &str = "INSERT INTO kv (tab, key, value) VALUES (?1, ?2, ?3)
                   ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value";

impl Store for Tx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.changed.get(&(table as i64, key.to_vec())) {
            return Ok(value.clone());
        }
        self.transaction
            .prepare_cached("SELECT value FROM kv WHERE tab = ?1 AND key = ?2")
            .and_then(|mut statement| statement.query_row((table as i64, key), |row| row.get(0)).optional())
            .map_err(store_error)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.changed.insert((table as i64, key.to_vec()), Some(value.to_vec()));
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.changed.insert((table as i64, key.to_vec()), None);
        Ok(())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
        self.scan_first(table, prefix, usize::MAX)
    }

    fn scan_first(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let changed = self.changed.range((table as i64, prefix.to_vec())..);
        let changed: Vec<_> =
            changed.take_while(|((of, key), _)| *of == table as i64 && key.starts_with(prefix)).collect();
        // Those that were removed may be among the first that are stored.
        let enough = limit.saturating_add(changed.len());
        let mut statement = self
            .transaction
            .prepare_cached("SELECT key, value FROM kv WHERE tab = ?1 AND key >= ?2 ORDER BY key")
            .map_err(store_error)?;
        let mut stored = statement.query((table as i64, prefix)).map_err(store_error)?;
        while let Some(row) = stored.next().map_err(store_error)? {
            let key: Vec<u8> = row.get(0).map_err(store_error)?;
            if !key.starts_with(prefix) || rows.len() == enough {
                break;
            }
            rows.insert(key, row.get(1).map_err(store_error)?);
        }
        for ((_, key), value) in changed {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    fn insert_message(&mut self, message: &MessageRow) -> Result<bool, StoreError> {
        messages::insert(&self.transaction, message).map_err(store_error)
    }

    fn message(
        &self,
        conversation: ConversationId,
        sender: IdentityId,
        id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        messages::one(&self.transaction, conversation, sender, id).map_err(store_error)
    }

    fn update_message(&mut self, message: &MessageRow) -> Result<(), StoreError> {
        messages::update(&self.transaction, message).map_err(store_error)
    }

    fn message_numbered(&self, conversation: ConversationId, number: u64) -> Result<Option<MessageRow>, StoreError> {
        messages::numbered(&self.transaction, conversation, number).map_err(store_error)
    }

    fn messages_called(&self, conversation: ConversationId, id: MessageId) -> Result<Vec<MessageRow>, StoreError> {
        messages::called(&self.transaction, conversation, id).map_err(store_error)
    }

    fn expired_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        messages::expired(&self.transaction, now, limit).map_err(store_error)
    }

    fn delete_message(&mut self, message: &MessageRow) -> Result<(), StoreError> {
        messages::delete(&self.transaction, message).map_err(store_error)
    }

    fn messages(
        &self,
        conversation: ConversationId,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<MessageRow>, StoreError> {
        messages::list(&self.transaction, conversation, before, limit, search).map_err(store_error)
    }

    fn held_messages(&self, sender: IdentityId) -> Result<Vec<MessageRow>, StoreError> {
        messages::held(&self.transaction, sender).map_err(store_error)
    }

    fn count_received(&self, conversation: ConversationId, after: u64) -> Result<u64, StoreError> {
        messages::count_received(&self.transaction, conversation, after).map_err(store_error)
    }

    fn append_event(&mut self, event: &[u8]) -> Result<u64, StoreError> {
        self.transaction
            .prepare_cached("INSERT INTO events (event) VALUES (?1)")
            .and_then(|mut statement| statement.insert([event]))
            .map(|position| position as u64)
            .map_err(store_error)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let mut statement = self
            .transaction
            .prepare_cached("SELECT position, event FROM events WHERE position > ?1 ORDER BY position LIMIT ?2")
            .map_err(store_error)?;
        let rows = statement
            .query_map((after as i64, limit as i64), |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
            .map_err(store_error)?;
        rows.collect::<Result<_, _>>().map_err(store_error)
    }

    fn newest_event(&self) -> Result<u64, StoreError> {
        self.transaction
            .prepare_cached("SELECT coalesce(max(position), 0) FROM events")
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
            .map(|position| position as u64)
            .map_err(store_error)
    }
}

//! How much of everything there is.

use qpq_proto::time::Timestamp;
use rusqlite::Connection;

use crate::store::{Reply, StoreError};

use super::SqlCipherStore;
use super::row::{self, Number};

/// Numbers of rows, for an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub accounts: u64,
    pub devices: u64,
    pub devices_with_key_packages: u64,
    /// One-time ones that can be claimed.
    pub key_packages: u64,
    pub groups: u64,
    /// Entries of groups that still have a payload.
    pub log_entries: u64,
    /// The same in the group that has most.
    pub longest_log: u64,
    pub inbox_entries: u64,
    pub files: u64,
    pub file_bytes: u64,
    /// Pages of the file that hold nothing.
    pub free_bytes: u64,
}

impl SqlCipherStore {
    /// Counts everything, on one of the reading threads.
    pub fn inventory(&self, now: Timestamp) -> Reply<Inventory> {
        self.readers.submit(move |connection| take(connection, now))
    }

    /// Writes that wait for a transaction.
    pub fn waiting_jobs(&self) -> usize {
        self.writer.waiting()
    }
}

fn take(connection: &Connection, now: Timestamp) -> Result<Inventory, StoreError> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row::number(row, 0));
    let (key_packages, devices_with_key_packages) = connection
        .prepare_cached(
            "SELECT count(*), count(DISTINCT device) FROM key_packages
             WHERE last_resort = 0 AND package IS NOT NULL AND expires > ?1",
        )?
        .query_row([Number(now.0)], |row| Ok((row::number(row, 0)?, row::number(row, 1)?)))?;
    let (groups, log_entries, longest_log) = connection
        .prepare_cached("SELECT count(*), coalesce(sum(kept), 0), coalesce(max(kept), 0) FROM groups")?
        .query_row([], |row| Ok((row::number(row, 0)?, row::number(row, 1)?, row::number(row, 2)?)))?;
    let (files, file_bytes) = connection
        .prepare_cached("SELECT count(*), coalesce(sum(received), 0) FROM blobs")?
        .query_row([], |row| Ok((row::number(row, 0)?, row::number(row, 1)?)))?;
    // SQLCipher answers with a text.
    let page_size: String = connection.query_row("PRAGMA cipher_page_size", [], |row| row.get(0))?;
    Ok(Inventory {
        accounts: one("SELECT count(*) FROM accounts")?,
        devices: one("SELECT count(*) FROM devices")?,
        devices_with_key_packages,
        key_packages,
        groups,
        log_entries,
        longest_log,
        inbox_entries: one("SELECT count(*) FROM inbox")?,
        files,
        file_bytes,
        free_bytes: one("PRAGMA freelist_count")? * page_size.parse().unwrap_or(0),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use qpq_io::db::DbKey;

    use super::super::{Options, Quotas};
    use super::*;

    #[tokio::test]
    async fn everything_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let quotas = Quotas::from(&crate::config::Limits::default());
        let options = Options { quotas, on_commit: Arc::new(|_| {}), observer: Arc::new(|_, _| {}) };
        let store = SqlCipherStore::open(&dir.path().join("qpq.db"), &DbKey::from_bytes([7; 32]), options).unwrap();
        assert_eq!(store.inventory(Timestamp(0)).await, Ok(Inventory::default()));
        let rows = "INSERT INTO accounts (id, name, identity, opaque_record, manifest, manifest_version, created)
                        VALUES (1, 'a', x'01', x'', x'', 1, 0);
                    INSERT INTO devices (device, account) VALUES (x'01', 1), (x'02', 1);
                    INSERT INTO key_packages (device, reference, package, suite, last_resort, expires) VALUES
                        (x'01', x'01', x'01', 1, 0, 10), (x'01', x'02', x'02', 1, 0, 10), (x'01', x'03', NULL, 1, 0, 10),
                        (x'01', x'04', x'04', 1, 1, 10), (x'02', x'05', x'05', 1, 0, 5);
                    INSERT INTO groups (group_id, creator, request, kept, created)
                        VALUES (x'01', x'', x'', 3, 0), (x'02', x'', x'', 4, 0);
                    INSERT INTO inboxes (device) VALUES (x'01');
                    INSERT INTO inbox (device, seq, kind, at, payload) VALUES (x'01', 1, 3, 0, x'00');
                    INSERT INTO blobs (name, owner, size, received, keep_until) VALUES (x'01', x'01', 9, 5, 0);";
        store.writer.submit(move |tx| Ok(tx.execute_batch(rows)?)).await.unwrap();
        let expected = Inventory {
            accounts: 1,
            devices: 2,
            devices_with_key_packages: 1,
            key_packages: 2,
            groups: 2,
            log_entries: 7,
            longest_log: 4,
            inbox_entries: 1,
            files: 1,
            file_bytes: 5,
            free_bytes: 0,
        };
        assert_eq!(store.inventory(Timestamp(7)).await, Ok(expected));
    }
}

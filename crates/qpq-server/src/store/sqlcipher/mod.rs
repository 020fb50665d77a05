//! The embedded store: one SQLCipher file, one writer thread that commits what has queued up in one flush, and a few
//! readers.

mod pool;
mod repeats;
mod row;
mod tail;
mod tx;
mod writer;

mod accounts;
mod blobs;
mod commits;
mod devices;
mod groups;
mod inbox;
mod invites;
mod keys;
mod logs;
mod members;
mod recovery;
mod settings;
mod sweep;

mod inventory;
mod store;

pub mod audit;
pub mod rewrite;
pub mod snapshot;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use qpq_io::db::{self, DbError, DbKey, Migration, OpenOptions};
use rusqlite::Connection;

use crate::config::Limits;

use super::StoreError;
use super::change::OnCommit;

pub use inventory::Inventory;
pub use writer::{BatchObserver, BatchSize, BatchTiming};

/// How much one group, device or account may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    pub log_entries_per_group: u64,
    pub inbox_entries_per_device: u64,
    pub key_packages_per_device: u64,
    pub file_bytes_per_account: u64,
}

impl From<&Limits> for Quotas {
    fn from(limits: &Limits) -> Self {
        Self {
            log_entries_per_group: limits.log_entries_per_group,
            inbox_entries_per_device: limits.inbox_entries_per_device,
            key_packages_per_device: limits.key_packages_per_device,
            file_bytes_per_account: limits.file_bytes_per_account.0 as u64,
        }
    }
}

/// What a store is opened with.
pub struct Options {
    pub quotas: Quotas,
    /// Called after every commit that made logs grow.
    pub on_commit: OnCommit,
    /// Told about every transaction of the writer.
    pub observer: BatchObserver,
}

/// A [`Store`](super::Store) in one file. Dropping it finishes what has queued up.
pub struct SqlCipherStore {
    writer: writer::Writer,
    readers: pool::Readers,
    /// Reads files. What it has read nobody reads again soon, and must not push out of the other caches what is.
    file_reader: pool::Readers,
    tail: Arc<tail::Tail>,
    quotas: Quotas,
    writable: Arc<AtomicBool>,
}

impl SqlCipherStore {
    /// Opens the file at `path`, creates or migrates it if need be, and starts the threads.
    ///
    /// # Errors
    /// [`DbError::WrongKey`] when the key does not open it, and all others of [`db::open`] and [`db::migrate`].
    pub fn open(path: &Path, key: &DbKey, options: Options) -> Result<Self, DbError> {
        let connection = migrated(path, key)?;
        let readers = (0..READERS).map(|_| reader(path, key, READER_CACHE_KIB)).collect::<Result<Vec<_>, _>>()?;
        let files = reader(path, key, FILE_READER_CACHE_KIB)?;
        let readers = Reading { readers: pool::Readers::start(readers), files: pool::Readers::start(vec![files]) };
        Ok(Self::assemble(options, readers, |after, writable| writer::Writer::start(connection, after, writable)))
    }

    /// The same without threads: every operation happens on the caller's thread, a write in a transaction of its own, before
    /// the method that was called returns. For simulations, where nothing may happen but in the order that they choose.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_inline(path: &Path, key: &DbKey, options: Options) -> Result<Self, DbError> {
        let connection = migrated(path, key)?;
        let inline = |cache_kib| reader(path, key, cache_kib).map(pool::Readers::inline);
        let readers = Reading { readers: inline(READER_CACHE_KIB)?, files: inline(FILE_READER_CACHE_KIB)? };
        Ok(Self::assemble(options, readers, |after, writable| writer::Writer::inline(connection, after, writable)))
    }

    fn assemble(
        options: Options,
        Reading { readers, files: file_reader }: Reading,
        writer: impl FnOnce(writer::After, Arc<AtomicBool>) -> writer::Writer,
    ) -> Self {
        let tail = Arc::new(tail::Tail::default());
        let writable = Arc::new(AtomicBool::new(true));
        let after = writer::After { on_commit: options.on_commit, tail: tail.clone(), observer: options.observer };
        let writer = writer(after, writable.clone());
        Self { writer, readers, file_reader, tail, quotas: options.quotas, writable }
    }
}

/// Who reads what.
struct Reading {
    readers: pool::Readers,
    files: pool::Readers,
}

fn migrated(path: &Path, key: &DbKey) -> Result<Connection, DbError> {
    let mut connection =
        db::open(path, key, &OpenOptions { cache_kib: WRITER_CACHE_KIB, read_only: false, ..OpenOptions::default() })?;
    db::migrate(&mut connection, MIGRATIONS)?;
    Ok(connection)
}

fn reader(path: &Path, key: &DbKey, cache_kib: u32) -> Result<Connection, DbError> {
    db::open(path, key, &OpenOptions { cache_kib, read_only: false, ..OpenOptions::default() })
}

/// Half the memory of a small server goes into not reading pages twice.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
const READER_CACHE_KIB: u32 = 16 * 1024;
/// The way to a part, and the part.
const FILE_READER_CACHE_KIB: u32 = 1024;

/// Reads that run at the same time. They are short; more connections would only divide the page cache.
const READERS: usize = 3;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "initial", sql: include_str!("migrations/0001_initial.sql") },
    Migration { version: 2, name: "group infos", sql: include_str!("migrations/0002_group_infos.sql") },
    Migration { version: 3, name: "log", sql: include_str!("migrations/0003_log.sql") },
    Migration { version: 4, name: "blobs", sql: include_str!("migrations/0004_blobs.sql") },
    Migration { version: 5, name: "recovery", sql: include_str!("migrations/0005_recovery.sql") },
    Migration { version: 6, name: "inbox", sql: include_str!("migrations/0006_inbox.sql") },
];

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Full => Self::Unwritable("it is full"),
            DbError::ReadOnly => Self::Unwritable("it is read-only"),
            DbError::Io(detail) => {
                tracing::error!(detail, "reading or writing failed");
                Self::Unwritable("it fails")
            }
            DbError::Busy => Self::Busy,
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        DbError::from(error).into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod upgrade_tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt as _;
    use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, Seq};
    use qpq_proto::time::Timestamp;

    use super::*;
    use crate::store::Store as _;
    use crate::store::group::{NewPost, PostResult};

    const ONE: Quotas = Quotas {
        log_entries_per_group: 1,
        inbox_entries_per_device: 1,
        key_packages_per_device: 1,
        file_bytes_per_account: 1,
    };

    fn open(path: &Path) -> SqlCipherStore {
        let options = Options { quotas: ONE, on_commit: Arc::new(|_| {}), observer: Arc::new(|_, _| {}) };
        SqlCipherStore::open(path, &DbKey::from_bytes([7; 32]), options).unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_is_told_loses_nothing_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qpq.db");
        let store = open(&path);
        let limit = |pages: i64| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            store.writer.submit(move |tx| Ok(tx.query_row(&sql, [], |row| row.get::<_, i64>(0))?))
        };
        store.setting_or_insert("kept", vec![1]).await.unwrap();
        limit(1).await.unwrap();
        let attempts: Vec<_> = (0..4).map(|_| store.setting_or_insert("large", vec![2; 100_000])).collect();
        for attempt in attempts {
            assert_eq!(attempt.await, Err(StoreError::Unwritable("it is full")));
        }
        assert!(!store.is_writable());
        assert_eq!(store.setting_or_insert("kept", vec![3]).await, Ok(vec![1]));
        limit(1_000_000).await.unwrap();
        assert_eq!(store.setting_or_insert("large", vec![4; 100_000]).await, Ok(vec![4; 100_000]));
        assert!(store.is_writable());
        drop(store);
        assert_eq!(open(&path).setting_or_insert("kept", vec![5]).await, Ok(vec![1]));
    }

    #[tokio::test]
    async fn one_job_that_fails_or_panics_does_not_touch_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("qpq.db"));
        let good = store.setting_or_insert("before", vec![1]);
        let bad = store.writer.submit(|tx| {
            settings::get_or_insert(tx, "undone", vec![1])?;
            Err::<(), _>(StoreError::Internal("on purpose".into()))
        });
        let worse = store.writer.submit(|tx| -> Result<(), StoreError> {
            settings::get_or_insert(tx, "undone", vec![2])?;
            panic!("on purpose")
        });
        let after = store.setting_or_insert("undone", vec![3]);
        assert_eq!(good.await, Ok(vec![1]));
        assert!(bad.await.is_err() && worse.await.is_err());
        assert_eq!(after.await, Ok(vec![3]));
    }

    #[test]
    fn without_threads_it_has_happened_when_the_call_returns() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { quotas: ONE, on_commit: Arc::new(|_| {}), observer: Arc::new(|_, _| {}) };
        let path = dir.path().join("qpq.db");
        let store = SqlCipherStore::open_inline(&path, &DbKey::from_bytes([7; 32]), options).unwrap();
        drop(store.setting_or_insert("kept", vec![1]));
        let failed = store.writer.submit(|tx| -> Result<(), StoreError> {
            settings::get_or_insert(tx, "undone", vec![1])?;
            panic!("on purpose")
        });
        let answer = |key| store.setting_or_insert(key, vec![2]).now_or_never();
        assert_eq!(answer("kept"), Some(Ok(vec![1])));
        assert_eq!(answer("undone"), Some(Ok(vec![2])));
        assert!(failed.now_or_never().is_some_and(|outcome| outcome.is_err()));
        let read = store.account_changes(0);
        assert_eq!(read.now_or_never(), Some(Ok((0, vec![]))));
    }

    #[tokio::test]
    async fn what_the_first_version_wrote_is_still_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qpq.db");
        let mut old = db::open(&path, &DbKey::from_bytes([7; 32]), &OpenOptions::default()).unwrap();
        db::migrate(&mut old, &MIGRATIONS[..1]).unwrap();
        old.execute_batch(
            "INSERT INTO groups (id, group_id, creator, request, head_seq, kept, created)
                 VALUES (1, zeroblob(16), x'', x'', 2, 2, 0);
             INSERT INTO log (group_no, seq, kind, epoch, at, hash, payload) VALUES (1, 1, 0, 0, 0, zeroblob(32), x'01');
             INSERT INTO log (group_no, seq, kind, epoch, at, hash, payload)
                 VALUES (1, 2, 2, 0, 0, randomblob(32), x'02');",
        )
        .unwrap();
        let leave: Vec<u8> = old.query_row("SELECT hash FROM log WHERE seq = 2", [], |row| row.get(0)).unwrap();
        drop(old);
        let store = open(&path);
        let (group, sender) = (GroupId([0; 16]), DeviceId([1; 16]));
        let post = NewPost {
            group,
            sender,
            epoch: Epoch(0),
            hash: ContentHash([0; 32]),
            payload: vec![1],
            expires: None,
            blobs: vec![],
            blobs_until: Timestamp(0),
        };
        assert_eq!(store.post(post, Timestamp(0)).await, Ok(PostResult::Accepted(Seq(1))));
        let hash = ContentHash(leave.try_into().unwrap());
        let standing = store.standing(group, sender, Some(hash)).await.unwrap().unwrap();
        assert_eq!(standing.known, Some(Seq(2)));
    }

    #[tokio::test]
    async fn more_than_the_queue_holds_waits_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("qpq.db"));
        let probes: Vec<_> = (0..3000).map(|_| store.probe()).collect();
        assert!(futures::future::join_all(probes).await.into_iter().all(|outcome| outcome.is_ok()));
    }
}

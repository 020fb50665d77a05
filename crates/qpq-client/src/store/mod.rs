//! The engine's store in SQLCipher: one transaction of the database for one step of the engine.

mod messages;
mod tx;

use std::path::Path;

use qpq_core::store::StoreError;
use qpq_io::db::{self, DbError, DbKey, Migration, OpenOptions, Pages};

pub use tx::Tx;

/// The profile's database.
pub struct Database {
    connection: rusqlite::Connection,
}

impl Database {
    /// Opens it, makes it if it is not there, and brings an older one up to date.
    ///
    /// # Errors
    /// Wrong key, damaged, made by a newer version, or no space.
    pub fn open(path: &Path, key: &DbKey) -> Result<Self, DbError> {
        let mut connection =
            db::open(path, key, &OpenOptions { cache_kib: CACHE_KIB, read_only: false, pages: Pages::Small })?;
        db::migrate(&mut connection, MIGRATIONS)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection })
    }

    /// Begins a transaction. Dropping it rolls back.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin(&mut self) -> Result<Tx<'_>, StoreError> {
        Tx::begin(&mut self.connection)
    }
}

/// What the engine can do about a database error.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    match DbError::from(error) {
        DbError::Full => StoreError::Full,
        DbError::Corrupt(reason) => StoreError::Corrupt(reason),
        DbError::WrongKey => StoreError::Corrupt("the key does not open it".into()),
        other @ (DbError::ReadOnly | DbError::Busy | DbError::Newer { .. } | DbError::Io(_) | DbError::Other(_)) => {
            StoreError::Failed(other.to_string())
        }
    }
}

/// Reading 100,000 messages without a cache is ten times slower; a profile stays small in memory all the same.
const CACHE_KIB: u32 = 16 * 1024;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "first", sql: include_str!("migrations/0001_first.sql") },
    Migration { version: 2, name: "search and expiry", sql: include_str!("migrations/0002_search_and_expiry.sql") },
    Migration { version: 3, name: "less to write", sql: include_str!("migrations/0003_less_to_write.sql") },
];

#[cfg(test)]
mod tests {
    use qpq_core::store::rows::MessageRow;
    use qpq_core::view::{ConversationId, MessageStatus};
    use qpq_proto::ids::{DeviceId, IdentityId, MessageId, Seq};
    use qpq_proto::time::Timestamp;

    use super::*;

    #[test]
    fn the_database_conforms_and_keeps_what_was_committed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("qpq.db");
        let key = DbKey::generate();
        let mut database = Database::open(&path, &key).expect("a new database");
        let mut tx = database.begin().expect("begin");
        qpq_core::store::suite::check(&mut tx);
        tx.commit().expect("commit");
        let mut tx = database.begin().expect("begin");
        qpq_core::store::Store::put(&mut tx, qpq_core::store::Table::Mls, b"rolled back", b"x").expect("put");
        drop(tx);
        drop(database);

        let mut database = Database::open(&path, &key).expect("the same database");
        let tx = database.begin().expect("begin");
        let get = |key: &[u8]| qpq_core::store::Store::get(&tx, qpq_core::store::Table::Own, key).expect("get");
        assert_eq!(get(b"k").as_deref(), Some(&b"other table"[..]));
        let rolled_back = qpq_core::store::Store::get(&tx, qpq_core::store::Table::Mls, b"rolled back").expect("get");
        assert_eq!(rolled_back, None);
        drop(tx);
        let mut tx = database.begin().expect("begin");
        let position = qpq_core::store::Store::append_event(&mut tx, b"event").expect("append");
        assert_eq!(qpq_core::store::Store::newest_event(&tx).expect("newest"), position);
        drop(tx);
        assert!(Database::open(&path, &DbKey::generate()).is_err());
    }

    #[test]
    fn a_full_disk_is_an_error_that_loses_nothing() {
        use qpq_core::store::{Store as _, Table};
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut database = Database::open(&folder.path().join("qpq.db"), &DbKey::generate()).expect("a new database");
        let mut tx = database.begin().expect("begin");
        tx.put(Table::Mls, b"before", b"kept").expect("put");
        tx.commit().expect("commit");
        let pages: i64 = database.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("pages");
        let limit = |database: &Database, pages: i64| {
            let set = format!("PRAGMA max_page_count = {pages}");
            database.connection.query_row(&set, [], |row| row.get::<_, i64>(0)).expect("a limit");
        };
        limit(&database, pages + 2);
        let mut tx = database.begin().expect("begin");
        tx.put(Table::Mls, b"large", &[7; 100_000]).expect("put");
        assert!(matches!(tx.commit(), Err(StoreError::Full)));
        limit(&database, 1_000_000);
        let mut tx = database.begin().expect("begin again");
        assert_eq!(tx.get(Table::Mls, b"before").expect("get").as_deref(), Some(&b"kept"[..]));
        assert_eq!(tx.get(Table::Mls, b"large").expect("get"), None);
        tx.put(Table::Mls, b"large", &[7; 100_000]).expect("put");
        tx.commit().expect("there is space again");
    }

    fn row(number: u64, text: &str) -> MessageRow {
        let (identity, at) = (IdentityId([1; 32]), Timestamp(number));
        MessageRow {
            conversation: ConversationId::Direct(identity),
            number,
            id: MessageId([u8::try_from(number).expect("few"); 16]),
            seq: Some(Seq(number)),
            sender: identity,
            device: DeviceId([2; 16]),
            sent_at: at,
            received_at: at,
            status: MessageStatus::Received,
            held: false,
            text: text.into(),
            content: vec![],
            expires_at: None,
        }
    }

    fn found(database: &mut Database, word: &str) -> Vec<u64> {
        use qpq_core::store::Store as _;
        let tx = database.begin().expect("begin");
        let found = tx.messages(ConversationId::Direct(IdentityId([1; 32])), None, 100, Some(word)).expect("a search");
        found.into_iter().map(|row| row.number).collect()
    }

    #[test]
    fn words_are_found_before_and_after_they_are_in_the_index() {
        use qpq_core::store::Store as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut database = Database::open(&folder.path().join("qpq.db"), &DbKey::generate()).expect("a new database");
        // The first four are in the index before they change, the others are not.
        for first in [1, 5] {
            let mut tx = database.begin().expect("begin");
            for (number, text) in (first..).zip(["apple tree", "ÄPFEL", "apple pie", "apples"]) {
                assert!(tx.insert_message(&row(number, text)).expect("insert"));
            }
            if first == 1 {
                assert!(tx.index_words(3).expect("index") && tx.index_words(3).expect("index"));
                assert!(!tx.index_words(3).expect("index"));
            }
            tx.commit().expect("commit");
        }
        assert_eq!(found(&mut database, "apple"), [1, 3, 4, 5, 7, 8]);
        assert_eq!(found(&mut database, "äpfel"), [2, 6]);
        let mut tx = database.begin().expect("begin");
        for number in [1, 5] {
            tx.delete_message(&row(number, "apple tree")).expect("delete");
        }
        for number in [3, 7] {
            tx.update_message(&row(number, "cherry pie")).expect("update");
        }
        // The place of one that is gone is given to another one.
        tx.delete_message(&row(8, "apples")).expect("delete");
        assert!(tx.insert_message(&row(9, "pears")).expect("insert"));
        tx.commit().expect("commit");
        assert_eq!(found(&mut database, "apple"), [4]);
        assert_eq!(found(&mut database, "cherry"), [3, 7]);
        assert_eq!(found(&mut database, "pear"), [9]);
        let tx = database.begin().expect("begin");
        while tx.index_words(1).expect("index") {}
        tx.commit().expect("commit");
        let check = "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)";
        database.connection.execute(check, []).expect("the index is what the messages are");
    }

    #[test]
    fn an_older_profile_is_searched_as_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, key) = (folder.path().join("qpq.db"), DbKey::generate());
        let mut connection =
            db::open(&path, &key, &OpenOptions { cache_kib: 64, read_only: false, pages: Pages::Small }).expect("open");
        db::migrate(&mut connection, &MIGRATIONS[..2]).expect("the version before");
        messages::insert(&connection, &row(1, "apple tree")).expect("insert");
        drop(connection);
        let mut database = Database::open(&path, &key).expect("an older database");
        assert_eq!(found(&mut database, "apple"), [1]);
    }
}

//! Databases of earlier versions, filled as those versions did, and opened by this one.

use std::path::PathBuf;
use std::sync::Arc;

use qpq_io::db::{self, DbKey, OpenOptions};
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, Seq};
use qpq_proto::time::Timestamp;

use super::{MIGRATIONS, Options, Quotas, SqlCipherStore};
use crate::store::Store as _;
use crate::store::account::AccountKey;
use crate::store::group::{NewPost, PostResult};
use crate::store::log::ReadLimit;

/// What a server of the first version held: two people, a group, a commit, two messages, one of them erased, and a Welcome
/// that waits. Statements of later versions are never added here: this is how it was.
const FIRST: &str = "
    INSERT INTO settings VALUES ('stateless_reset_key', zeroblob(64));
    INSERT INTO accounts (id, name, identity, opaque_record, manifest, manifest_version, created) VALUES
        (1, 'alice', x'0101010101010101010101010101010101010101010101010101010101010101', zeroblob(192), zeroblob(100), 1, 1700000000000),
        (2, 'bob', x'0202020202020202020202020202020202020202020202020202020202020202', zeroblob(192), zeroblob(100), 1, 1700000000000);
    INSERT INTO devices VALUES (x'01010101010101010101010101010101', 1), (x'02020202020202020202020202020202', 2);
    INSERT INTO key_packages (device, reference, package, suite, last_resort, expires) VALUES
        (x'01010101010101010101010101010101', zeroblob(32), zeroblob(100), 78, 0, 1800000000000),
        (x'01010101010101010101010101010101', randomblob(32), NULL, 78, 0, 1800000000000);
    INSERT INTO groups (id, group_id, creator, request, first_seq, epoch, head_seq, kept, created) VALUES
        (1, x'09090909090909090909090909090909', x'01010101010101010101010101010101', zeroblob(32), 1, 1, 3, 2, 1700000000000);
    INSERT INTO snapshots (group_no, epoch, state, created) VALUES (1, 0, zeroblob(50), 1700000000000);
    INSERT INTO members (group_no, device, joined_seq, identity, cursor) VALUES
        (1, x'01010101010101010101010101010101', 0, x'0101010101010101010101010101010101010101010101010101010101010101', 3),
        (1, x'02020202020202020202020202020202', 1, x'0202020202020202020202020202020202020202020202020202020202020202', 2);
    INSERT INTO log (group_no, seq, kind, epoch, at, expires, hash, payload) VALUES
        (1, 1, 1, 0, 1700000000000, NULL, x'1111111111111111111111111111111111111111111111111111111111111111', CAST('commit' AS BLOB)),
        (1, 2, 0, 1, 1700000000001, 1700000000002, x'2222222222222222222222222222222222222222222222222222222222222222', NULL),
        (1, 3, 0, 1, 1700000000003, NULL, x'3333333333333333333333333333333333333333333333333333333333333333', CAST('hello' AS BLOB));
    INSERT INTO inboxes VALUES (x'01010101010101010101010101010101', 0, 0), (x'02020202020202020202020202020202', 1, 0);
    INSERT INTO inbox VALUES (x'02020202020202020202020202020202', 1, 3, 1700000000000, CAST('welcome' AS BLOB));
";

/// A database with these migrations, filled after the first of them.
fn made_by(version: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qpq.db");
    let mut connection = db::open(&path, &key(), &OpenOptions::default()).unwrap();
    db::migrate(&mut connection, &MIGRATIONS[..1]).unwrap();
    connection.execute_batch(FIRST).unwrap();
    db::migrate(&mut connection, &MIGRATIONS[..version]).unwrap();
    (dir, path)
}

/// A database of this version.
pub fn filled() -> (tempfile::TempDir, PathBuf) {
    made_by(MIGRATIONS.len())
}

fn key() -> DbKey {
    DbKey::from_bytes([7; 32])
}

#[tokio::test]
async fn databases_of_every_earlier_version_are_opened_with_everything_in_them() {
    for version in 1..=MIGRATIONS.len() {
        let (_dir, path) = made_by(version);
        let quotas = Quotas::from(&crate::config::Limits::default());
        let options = Options { quotas, on_commit: Arc::new(|_| {}), observer: Arc::new(|_, _| {}) };
        let store = SqlCipherStore::open(&path, &key(), options).unwrap();
        let (group, bob) = (GroupId([9; 16]), DeviceId([2; 16]));
        let all = ReadLimit { entries: 10, bytes: 1000 };

        let alice = store.account(AccountKey::Name("alice".parse().unwrap())).await.unwrap().unwrap();
        assert_eq!((alice.identity.0, alice.opaque_record.len()), ([1; 32], 192));
        assert_eq!(store.stock(DeviceId([1; 16]), 78, Timestamp(0)).await, Ok(1));
        let read = store.read_group(group, Seq(0), Seq(3), all).await.unwrap();
        let texts: Vec<_> = read.entries.iter().map(|entry| (entry.seq.0, &entry.payload[..])).collect();
        assert_eq!(texts, [(1, &b"commit"[..]), (3, &b"hello"[..])], "version {version}");
        let welcome = store.read_inbox(bob, Seq(0), all).await.unwrap();
        assert_eq!(welcome.entries[0].payload, b"welcome");
        assert_eq!(store.membership(group, bob).await.unwrap().unwrap().acknowledged, Seq(2));

        // A message from before is recognised when it is repeated, and a new one goes behind it.
        let post = |hash, text: &str| NewPost {
            group,
            sender: bob,
            epoch: Epoch(1),
            hash: ContentHash([hash; 32]),
            payload: text.into(),
            expires: None,
            blobs: vec![],
            blobs_until: Timestamp(0),
        };
        assert_eq!(store.post(post(0x33, "hello"), Timestamp(1)).await, Ok(PostResult::Accepted(Seq(3))));
        assert_eq!(store.post(post(0x44, "new"), Timestamp(1)).await, Ok(PostResult::Accepted(Seq(4))));
        assert_eq!(store.inventory(Timestamp(0)).await.unwrap().log_entries, 3, "version {version}");
    }
}

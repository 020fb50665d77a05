//! A store in a temporary folder, and the rows that the promises are tried with.

use std::sync::{Arc, Mutex};

use qpq_io::db::DbKey;
use qpq_proto::groups::SealedWelcome;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::time::Timestamp;

use crate::store::Store;
use crate::store::account::{NewAccount, Registered};
use crate::store::change::Change;
use crate::store::group::{CreateResult, MemberRecord, NewCommit, NewGroupRecord, NewLeave, NewPost, PostResult};
use crate::store::log::ReadLimit;
use crate::store::sqlcipher::{Options, Quotas, SqlCipherStore};

pub const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub const ALL: ReadLimit = ReadLimit { entries: 1000, bytes: usize::MAX };

pub const QUOTAS: Quotas = Quotas {
    log_entries_per_group: 1000,
    inbox_entries_per_device: 100,
    key_packages_per_device: 50,
    file_bytes_per_account: 1_000_000,
};

pub struct World {
    pub store: Arc<dyn Store>,
    pub changes: Arc<Mutex<Vec<Change>>>,
    pub batches: Arc<Mutex<Vec<usize>>>,
    quotas: Quotas,
    dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(QUOTAS)
    }

    pub fn with(quotas: Quotas) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (changes, batches) = (Arc::default(), Arc::default());
        let store = open(&dir, quotas, &changes, &batches);
        Self { store, changes, batches, quotas, dir }
    }

    /// Closes the store, which finishes what has queued up, and opens it again.
    pub fn restart(self) -> Self {
        let Self { store, changes, batches, quotas, dir } = self;
        drop(store);
        let store = open(&dir, quotas, &changes, &batches);
        Self { store, changes, batches, quotas, dir }
    }

    pub async fn account(&self, number: u8) {
        let registered = self.store.register(account(number), NOW).await.unwrap();
        assert_eq!(registered, Registered::Done);
    }

    /// Accounts for all of `members`, and a group of them; the first one is its creator.
    pub async fn group(&self, members: &[u8]) {
        for number in members {
            self.account(*number).await;
        }
        let mut new = group(members[0]);
        if members.len() > 1 {
            new.first = Some(commit(members[0], 0, &members[1..], &[]));
        }
        let created = self.store.create_group(new, NOW).await.unwrap();
        assert_eq!(created, CreateResult::Created(Seq(u64::from(members.len() > 1))));
    }

    pub async fn post(&self, sender: u8, epoch: u64, text: &str) -> PostResult {
        self.store.post(post(sender, epoch, text), NOW).await.unwrap()
    }

    /// What a device can read from the beginning, as text.
    pub async fn visible(&self, number: u8) -> Vec<String> {
        let membership = self.store.membership(GROUP, device(number)).await.unwrap().unwrap();
        let (mut position, mut texts) = (Seq(0), Vec::new());
        while let Some((after, upto)) = membership.visible_after(position) {
            let batch = self.store.read_group(GROUP, after, upto, ALL).await.unwrap();
            texts.extend(batch.entries.iter().map(|entry| String::from_utf8_lossy(&entry.payload).into_owned()));
            position = batch.reached;
        }
        texts
    }
}

fn open(
    dir: &tempfile::TempDir,
    quotas: Quotas,
    changes: &Arc<Mutex<Vec<Change>>>,
    batches: &Arc<Mutex<Vec<usize>>>,
) -> Arc<dyn Store> {
    let (changes, batches) = (changes.clone(), batches.clone());
    let options = Options {
        quotas,
        on_commit: Arc::new(move |more| changes.lock().unwrap().extend_from_slice(more)),
        observer: Arc::new(move |size, _| batches.lock().unwrap().push(size)),
    };
    Arc::new(SqlCipherStore::open(&dir.path().join("qpq.db"), &DbKey::from_bytes([7; 32]), options).unwrap())
}

pub const GROUP: GroupId = GroupId([9; 16]);

pub fn device(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

pub fn identity(number: u8) -> IdentityId {
    IdentityId([number; 32])
}

pub fn member(number: u8) -> MemberRecord {
    MemberRecord { device: device(number), identity: identity(number) }
}

pub fn account(number: u8) -> NewAccount {
    NewAccount {
        name: format!("user{number}").parse().unwrap(),
        identity: identity(number),
        opaque_record: vec![number; 192],
        manifest: vec![number; 100],
        manifest_version: 1,
        devices: vec![device(number)],
        invite: None,
    }
}

pub fn group(creator: u8) -> NewGroupRecord {
    NewGroupRecord {
        group: GROUP,
        request: ContentHash([1; 32]),
        creator: member(creator),
        pair: None,
        state: b"state 0".to_vec(),
        group_info: vec![3],
        context: 30,
        first: None,
    }
}

pub fn commit(committer: u8, epoch: u64, joins: &[u8], removes: &[u8]) -> NewCommit {
    let payload = format!("commit {epoch} by {committer}").into_bytes();
    NewCommit {
        group: GROUP,
        epoch: Epoch(epoch),
        hash: ContentHash::of(&payload),
        payload,
        committer: member(committer),
        group_info: vec![4],
        context: u64::MAX - epoch,
        is_external: false,
        joins: joins.iter().map(|number| member(*number)).collect(),
        removes: removes.iter().map(|number| device(*number)).collect(),
        welcomes: joins
            .iter()
            .map(|number| SealedWelcome { device: device(*number), envelope: vec![*number; 10] })
            .collect(),
        replayable_until: None,
    }
}

pub fn post(sender: u8, epoch: u64, text: &str) -> NewPost {
    NewPost {
        group: GROUP,
        sender: device(sender),
        epoch: Epoch(epoch),
        hash: ContentHash::of(text.as_bytes()),
        payload: text.as_bytes().to_vec(),
        expires: None,
        blobs: vec![],
        blobs_until: Timestamp(0),
    }
}

pub fn leave(sender: u8, epoch: u64) -> NewLeave {
    let payload = format!("leave by {sender}").into_bytes();
    NewLeave { group: GROUP, sender: device(sender), epoch: Epoch(epoch), hash: ContentHash::of(&payload), payload }
}

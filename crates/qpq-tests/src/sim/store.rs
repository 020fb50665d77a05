//! The server's store as the service sees it here: the real one, whose answers take their time. What was asked for happens
//! at once, so that between an operation and its answer anything else may happen.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use qpq_proto::account::UserName;
use qpq_proto::groups::Stay;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::Mark;
use qpq_proto::time::Timestamp;
use qpq_server::store::account::{
    Account, AccountKey, AccountSummary, InviteHash, NewAccount, NewManifest, Recovery, Registered, Replaced,
};
use qpq_server::store::blob::{Begun, BlobName, NewBlob, NewPart, Put, SweptBlobs};
use qpq_server::store::group::{
    CommitResult, CreateResult, MemberRecord, Membership, NewCommit, NewGroupRecord, NewLeave, NewPost, PostResult,
    Return, Snapshot, Standing,
};
use qpq_server::store::key_package::{Claimed, Published, StoredKeyPackage};
use qpq_server::store::log::{Batch, InboxHead, LogPosition, ReadLimit, Swept};
use qpq_server::store::sqlcipher::SqlCipherStore;
use qpq_server::store::{Reply, Store};

use super::agenda::{Agenda, MILLISECOND};
use super::random::Random;

/// How long answers take.
#[derive(Clone)]
pub struct Pace {
    agenda: Agenda,
    random: Arc<Mutex<Random>>,
}

impl Pace {
    /// Answers take up to a few milliseconds, most of them less.
    pub fn new(agenda: Agenda, random: Random) -> Self {
        Self { agenda, random: Arc::new(Mutex::new(random)) }
    }

    fn delay(&self) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        match random.below(10) {
            0 => random.below(30 * MILLISECOND),
            1..=4 => random.below(2 * MILLISECOND),
            _ => 0,
        }
    }
}

/// The store, slowed down.
pub struct SlowStore {
    pub inner: Arc<SqlCipherStore>,
    /// Until it is set, answers come at once.
    pub pace: OnceLock<Pace>,
}

impl SlowStore {
    fn late<T: Send + 'static>(&self, reply: Reply<T>) -> Reply<T> {
        let Some(pace) = self.pace.get() else { return reply };
        let delay = pace.delay();
        if delay == 0 {
            return reply;
        }
        let sleep = pace.agenda.sleep(delay);
        Box::pin(async move {
            sleep.await;
            reply.await
        })
    }
}

macro_rules! slowly {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Store for SlowStore {
            $(fn $name(&self, $($argument: $type),*) -> Reply<$answer> {
                self.late(self.inner.$name($($argument),*))
            })*

            fn is_writable(&self) -> bool {
                self.inner.is_writable()
            }
        }
    };
}

slowly! {
    setting_or_insert(key: &'static str, value: Vec<u8>) -> Vec<u8>;
    probe() -> ();
    register(account: NewAccount, now: Timestamp) -> Registered;
    account(key: AccountKey) -> Option<Account>;
    accounts() -> Vec<AccountSummary>;
    set_disabled(name: UserName, disabled: bool) -> bool;
    delete_account(name: UserName) -> bool;
    replace_manifest(manifest: NewManifest) -> Replaced;
    are_listed(devices: Vec<MemberRecord>) -> bool;
    set_password(identity: IdentityId, opaque_record: Vec<u8>) -> ();
    set_recovery(identity: IdentityId, recovery: Option<Recovery>) -> ();
    recovery(name: UserName) -> Option<Recovery>;
    purge_account(identity: IdentityId) -> ();
    account_changes(after: u64) -> (u64, Vec<IdentityId>);
    add_invites(codes: Vec<InviteHash>, expires: Timestamp) -> ();
    is_invite_good(code: InviteHash, now: Timestamp) -> bool;
    publish(device: DeviceId, packages: Vec<StoredKeyPackage>, now: Timestamp) -> Published;
    claim(identity: IdentityId, suite: u16, now: Timestamp) -> Vec<Claimed>;
    stock(device: DeviceId, suite: u16, now: Timestamp) -> u32;
    create_group(group: NewGroupRecord, now: Timestamp) -> CreateResult;
    standing(group: GroupId, device: DeviceId, hash: Option<ContentHash>) -> Option<Standing>;
    post(post: NewPost, now: Timestamp) -> PostResult;
    commit(commit: NewCommit, now: Timestamp) -> CommitResult;
    leave(leave: NewLeave, now: Timestamp) -> PostResult;
    snapshot(group: GroupId, epoch: Epoch) -> Option<Snapshot>;
    write_snapshot(group: GroupId, snapshot: Snapshot, now: Timestamp) -> ();
    expiring_groups(before: Timestamp) -> Vec<GroupId>;
    commits(group: GroupId, from: Epoch, to: Epoch) -> Vec<Vec<u8>>;
    way_back(group: GroupId, identity: IdentityId) -> Option<Return>;
    groups_of(identity: IdentityId, device: DeviceId) -> Vec<Stay>;
    agreed(group: GroupId, marks: Vec<Mark>) -> Option<Mark>;
    membership(group: GroupId, device: DeviceId) -> Option<Membership>;
    read_group(group: GroupId, after: Seq, upto: Seq, limit: ReadLimit) -> Batch;
    inbox_and_stock(device: DeviceId, suite: u16, now: Timestamp) -> (InboxHead, u32);
    read_inbox(device: DeviceId, after: Seq, limit: ReadLimit) -> Batch;
    acknowledge(positions: Vec<LogPosition>) -> ();
    sweep(from: i64, now: Timestamp, retention: Duration) -> Swept;
    begin_blob(blob: NewBlob, now: Timestamp) -> Begun;
    put_part(part: NewPart, now: Timestamp) -> Put;
    read_blob(name: BlobName, offset: u64, length: usize, now: Timestamp) -> Option<Vec<u8>>;
    sweep_blobs(now: Timestamp) -> SweptBlobs;
}

//! What the server keeps, as one trait of domain operations. Each method is one transaction: when it has answered, what
//! it did is on disk and synced; when it failed, nothing happened. Nothing here knows MLS, OPAQUE or the network.

mod error;

pub mod account;
pub mod blob;
pub mod change;
pub mod group;
pub mod key_package;
pub mod log;

mod text;

pub mod sqlcipher;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod suite;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use qpq_proto::account::UserName;
use qpq_proto::groups::Stay;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::Mark;
use qpq_proto::time::Timestamp;

pub use error::StoreError;

use account::{
    Account, AccountKey, AccountSummary, InviteHash, NewAccount, NewManifest, Recovery, Registered, Replaced,
};
use blob::{Begun, BlobName, NewBlob, NewPart, Put, SweptBlobs};
use group::{
    CommitResult, CreateResult, MemberRecord, Membership, NewCommit, NewGroupRecord, NewLeave, NewPost, PostResult,
    Return, Snapshot, Standing,
};
use key_package::{Claimed, Published, StoredKeyPackage};
use log::{Batch, InboxHead, LogPosition, ReadLimit, Swept};

/// What a store method gives back. Dropping it does not undo the operation: it may still happen.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The embedded store implements it over one SQLCipher file; the conformance suite says what else would have to promise.
pub trait Store: Send + Sync + 'static {
    /// The value of a server-wide setting; `value` is stored and given back if there was none.
    fn setting_or_insert(&self, key: &'static str, value: Vec<u8>) -> Reply<Vec<u8>>;
    /// Writes something unimportant, to learn whether writing works.
    fn probe(&self) -> Reply<()>;

    /// Creates an account together with its devices, and uses up its invite.
    fn register(&self, account: NewAccount, now: Timestamp) -> Reply<Registered>;
    /// Looks an account up.
    fn account(&self, key: AccountKey) -> Reply<Option<Account>>;
    /// All accounts, by name.
    fn accounts(&self) -> Reply<Vec<AccountSummary>>;
    /// Locks an account out, or lets it in again. False: no such account.
    fn set_disabled(&self, name: UserName, disabled: bool) -> Reply<bool>;
    /// Forgets an account, its devices, key packages and inboxes. False: no such account.
    fn delete_account(&self, name: UserName) -> Reply<bool>;
    /// Replaces an account's manifest by the next one, with its devices.
    fn replace_manifest(&self, manifest: NewManifest) -> Reply<Replaced>;
    /// Whether each of these devices is among those of its identity's account.
    fn are_listed(&self, devices: Vec<MemberRecord>) -> Reply<bool>;
    /// Replaces the password of an account.
    fn set_password(&self, identity: IdentityId, opaque_record: Vec<u8>) -> Reply<()>;
    /// Keeps what it takes to recover an account, or forgets it.
    fn set_recovery(&self, identity: IdentityId, recovery: Option<Recovery>) -> Reply<()>;
    /// What was kept.
    fn recovery(&self, name: UserName) -> Reply<Option<Recovery>>;
    /// Forgets an account and everything that names it, and retires its name. What it is still in, it leaves.
    fn purge_account(&self, identity: IdentityId) -> Reply<()>;
    /// Identities whose account was disabled or deleted after change number `after`, and the newest number.
    fn account_changes(&self, after: u64) -> Reply<(u64, Vec<IdentityId>)>;
    /// Adds one-time registration codes.
    fn add_invites(&self, codes: Vec<InviteHash>, expires: Timestamp) -> Reply<()>;
    /// Whether a code could be used now.
    fn is_invite_good(&self, code: InviteHash, now: Timestamp) -> Reply<bool>;

    /// Adds key packages of a device. Repeating a package changes nothing, even after it was claimed; a last-resort
    /// package replaces the one before of the same suite.
    fn publish(&self, device: DeviceId, packages: Vec<StoredKeyPackage>, now: Timestamp) -> Reply<Published>;
    /// Takes one key package of the suite for every device of the identity that has one: a one-time package at most once, ever.
    fn claim(&self, identity: IdentityId, suite: u16, now: Timestamp) -> Reply<Vec<Claimed>>;
    /// One-time packages of a device and suite that can still be claimed.
    fn stock(&self, device: DeviceId, suite: u16, now: Timestamp) -> Reply<u32>;

    /// Creates a group, with its first commit if there is one.
    fn create_group(&self, group: NewGroupRecord, now: Timestamp) -> Reply<CreateResult>;
    /// What is to be known about a group and a device before a commit is validated. None: no such group.
    fn standing(&self, group: GroupId, device: DeviceId, hash: Option<ContentHash>) -> Reply<Option<Standing>>;
    /// Appends an application message.
    fn post(&self, post: NewPost, now: Timestamp) -> Reply<PostResult>;
    /// Ends an epoch: log, inboxes, roster and epoch change together or not at all.
    fn commit(&self, commit: NewCommit, now: Timestamp) -> Reply<CommitResult>;
    /// Appends a proposal to leave and ends the membership of its sender.
    fn leave(&self, leave: NewLeave, now: Timestamp) -> Reply<PostResult>;
    /// The newest public state at or before `epoch`.
    fn snapshot(&self, group: GroupId, epoch: Epoch) -> Reply<Option<Snapshot>>;
    /// Keeps a public state to start from later.
    fn write_snapshot(&self, group: GroupId, snapshot: Snapshot, now: Timestamp) -> Reply<()>;
    /// Groups whose commits since the newest snapshot can be replayed only until some time before `before`; some of them.
    fn expiring_groups(&self, before: Timestamp) -> Reply<Vec<GroupId>>;
    /// The commits that ended the epochs from `from` up to but not including `to`; fewer when they are gone.
    fn commits(&self, group: GroupId, from: Epoch, to: Epoch) -> Reply<Vec<Vec<u8>>>;

    /// What a device of a member needs to come back. None: no such group, or the identity is no member.
    fn way_back(&self, group: GroupId, identity: IdentityId) -> Reply<Option<Return>>;
    /// Groups that an identity is in with some device, and how far this one of them has come.
    fn groups_of(&self, identity: IdentityId, device: DeviceId) -> Reply<Vec<Stay>>;
    /// The newest of these marks that the group's log agrees with; a mark older than anything the log still has counts.
    fn agreed(&self, group: GroupId, marks: Vec<Mark>) -> Reply<Option<Mark>>;

    /// When a device was a member. None: no such group.
    fn membership(&self, group: GroupId, device: DeviceId) -> Reply<Option<Membership>>;
    /// Entries after `after` up to and including `upto`; who may see them is the caller's to know.
    fn read_group(&self, group: GroupId, after: Seq, upto: Seq, limit: ReadLimit) -> Reply<Batch>;
    /// The newest position of a device's inbox, and its stock as in [`Self::stock`] but counted up to
    /// [`LOW_STOCK`](key_package::LOW_STOCK), for a device that comes back.
    fn inbox_and_stock(&self, device: DeviceId, suite: u16, now: Timestamp) -> Reply<(InboxHead, u32)>;
    /// Entries of a device's inbox after `after`.
    fn read_inbox(&self, device: DeviceId, after: Seq, limit: ReadLimit) -> Reply<Batch>;
    /// Remembers how far devices have come.
    fn acknowledge(&self, positions: Vec<LogPosition>) -> Reply<()>;
    /// Forgets what nobody needs any more, a bounded amount at a time: call it again while it says so.
    fn sweep(&self, from: i64, now: Timestamp, retention: Duration) -> Reply<Swept>;

    /// Announces a blob, or asks how much of it is here; keeps it at least until the time that it names.
    fn begin_blob(&self, blob: NewBlob, now: Timestamp) -> Reply<Begun>;
    /// Adds the next part of a blob. Repeating it changes nothing.
    fn put_part(&self, part: NewPart, now: Timestamp) -> Reply<Put>;
    /// At most so many bytes from there on. None: there is no such blob, or it is not complete.
    fn read_blob(&self, name: BlobName, offset: u64, length: usize, now: Timestamp) -> Reply<Option<Vec<u8>>>;
    /// Forgets the blobs whose time is up, a bounded amount at a time.
    fn sweep_blobs(&self, now: Timestamp) -> Reply<SweptBlobs>;

    /// Whether the last write reached the disk.
    fn is_writable(&self) -> bool;
}

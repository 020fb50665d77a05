//! The trait's methods: which thread, and which function.

use std::sync::atomic::Ordering;
use std::time::Duration;

use qpq_proto::account::UserName;
use qpq_proto::groups::Stay;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::Mark;
use qpq_proto::time::Timestamp;

use crate::store::account::{
    Account, AccountKey, AccountSummary, InviteHash, NewAccount, NewManifest, Recovery, Registered, Replaced,
};
use crate::store::blob::{Begun, BlobName, NewBlob, NewPart, Put, SweptBlobs};
use crate::store::group::{
    CommitResult, CreateResult, MemberRecord, Membership, NewCommit, NewGroupRecord, NewLeave, NewPost, PostResult,
    Return, Snapshot, Standing,
};
use crate::store::key_package::{Claimed, Published, StoredKeyPackage};
use crate::store::log::{Batch, InboxHead, LogPosition, ReadLimit, Swept};
use crate::store::{Reply, Store};

use super::tx::Tx;
use super::{
    SqlCipherStore, accounts, blobs, commits, devices, groups, inbox, invites, keys, logs, members, recovery, settings,
    sweep,
};

impl Store for SqlCipherStore {
    fn setting_or_insert(&self, key: &'static str, value: Vec<u8>) -> Reply<Vec<u8>> {
        self.writer.submit(move |tx| settings::get_or_insert(tx, key, value))
    }

    fn probe(&self) -> Reply<()> {
        self.writer.submit(settings::probe)
    }

    fn register(&self, account: NewAccount, now: Timestamp) -> Reply<Registered> {
        self.writer.submit(move |tx| accounts::register(tx, &account, now))
    }

    fn account(&self, key: AccountKey) -> Reply<Option<Account>> {
        self.readers.submit(move |connection| accounts::find(connection, &key))
    }

    fn accounts(&self) -> Reply<Vec<AccountSummary>> {
        self.readers.submit(accounts::list)
    }

    fn set_disabled(&self, name: UserName, disabled: bool) -> Reply<bool> {
        self.writer.submit(move |tx| accounts::set_disabled(tx, &name, disabled))
    }

    fn delete_account(&self, name: UserName) -> Reply<bool> {
        self.writer.submit(move |tx| accounts::delete(tx, &name))
    }

    fn replace_manifest(&self, manifest: NewManifest) -> Reply<Replaced> {
        self.writer.submit(move |tx| devices::replace_manifest(tx, &manifest))
    }

    fn are_listed(&self, devices: Vec<MemberRecord>) -> Reply<bool> {
        self.readers.submit(move |connection| devices::are_listed(connection, &devices))
    }

    fn set_password(&self, identity: IdentityId, opaque_record: Vec<u8>) -> Reply<()> {
        self.writer.submit(move |tx| accounts::set_password(tx, identity, &opaque_record))
    }

    fn set_recovery(&self, identity: IdentityId, recovery: Option<Recovery>) -> Reply<()> {
        self.writer.submit(move |tx| recovery::set(tx, identity, recovery.as_ref()))
    }

    fn recovery(&self, name: UserName) -> Reply<Option<Recovery>> {
        self.readers.submit(move |connection| recovery::find(connection, &name))
    }

    fn purge_account(&self, identity: IdentityId) -> Reply<()> {
        self.writer.submit(move |tx| accounts::purge(tx, identity))
    }

    fn account_changes(&self, after: u64) -> Reply<(u64, Vec<IdentityId>)> {
        self.readers.submit(move |connection| accounts::changes(connection, after))
    }

    fn add_invites(&self, codes: Vec<InviteHash>, expires: Timestamp) -> Reply<()> {
        self.writer.submit(move |tx| invites::add(tx, &codes, expires))
    }

    fn is_invite_good(&self, code: InviteHash, now: Timestamp) -> Reply<bool> {
        self.readers.submit(move |connection| invites::is_good(connection, code, now))
    }

    fn publish(&self, device: DeviceId, packages: Vec<StoredKeyPackage>, now: Timestamp) -> Reply<Published> {
        let quota = self.quotas.key_packages_per_device;
        self.writer.submit(move |tx| keys::publish(tx, device, &packages, quota, now))
    }

    fn claim(&self, identity: IdentityId, suite: u16, now: Timestamp) -> Reply<Vec<Claimed>> {
        self.writer.submit(move |tx| keys::claim(tx, identity, suite, now))
    }

    fn stock(&self, device: DeviceId, suite: u16, now: Timestamp) -> Reply<u32> {
        self.readers.submit(move |connection| keys::stock(connection, device, suite, now))
    }

    fn create_group(&self, group: NewGroupRecord, now: Timestamp) -> Reply<CreateResult> {
        let quotas = self.quotas;
        self.writer.submit(move |tx| groups::create(tx, group, &quotas, now))
    }

    fn standing(&self, group: GroupId, device: DeviceId, hash: Option<ContentHash>) -> Reply<Option<Standing>> {
        self.readers.submit(move |connection| groups::standing(connection, group, device, hash))
    }

    fn post(&self, post: NewPost, now: Timestamp) -> Reply<PostResult> {
        let quotas = self.quotas;
        let plain = post.blobs.is_empty();
        let work = move |tx: &Tx<'_>| logs::post(tx, post, &quotas, now);
        if plain { self.writer.submit_atomic(work) } else { self.writer.submit(work) }
    }

    fn commit(&self, commit: NewCommit, now: Timestamp) -> Reply<CommitResult> {
        let quotas = self.quotas;
        self.writer.submit(move |tx| commits::commit(tx, commit, &quotas, now))
    }

    fn leave(&self, leave: NewLeave, now: Timestamp) -> Reply<PostResult> {
        let quotas = self.quotas;
        self.writer.submit(move |tx| logs::leave(tx, leave, &quotas, now))
    }

    fn snapshot(&self, group: GroupId, epoch: Epoch) -> Reply<Option<Snapshot>> {
        self.readers.submit(move |connection| groups::snapshot(connection, group, epoch))
    }

    fn write_snapshot(&self, group: GroupId, snapshot: Snapshot, now: Timestamp) -> Reply<()> {
        self.writer.submit(move |tx| groups::write_snapshot(tx, group, &snapshot, now))
    }

    fn expiring_groups(&self, before: Timestamp) -> Reply<Vec<GroupId>> {
        self.readers.submit(move |connection| groups::expiring(connection, before))
    }

    fn commits(&self, group: GroupId, from: Epoch, to: Epoch) -> Reply<Vec<Vec<u8>>> {
        self.readers.submit(move |connection| commits::read(connection, group, from, to))
    }

    fn way_back(&self, group: GroupId, identity: IdentityId) -> Reply<Option<Return>> {
        self.readers.submit(move |connection| groups::way_back(connection, group, identity))
    }

    fn groups_of(&self, identity: IdentityId, device: DeviceId) -> Reply<Vec<Stay>> {
        self.readers.submit(move |connection| members::groups_of(connection, identity, device))
    }

    fn agreed(&self, group: GroupId, marks: Vec<Mark>) -> Reply<Option<Mark>> {
        self.readers.submit(move |connection| logs::agreed(connection, group, &marks))
    }

    fn membership(&self, group: GroupId, device: DeviceId) -> Reply<Option<Membership>> {
        self.readers.submit(move |connection| groups::membership(connection, group, device))
    }

    fn read_group(&self, group: GroupId, after: Seq, upto: Seq, limit: ReadLimit) -> Reply<Batch> {
        match self.tail.read(group, after, upto, limit) {
            Some(batch) => Box::pin(std::future::ready(Ok(batch))),
            None => self.readers.submit(move |connection| logs::read(connection, group, after, upto, limit)),
        }
    }

    fn inbox_and_stock(&self, device: DeviceId, suite: u16, now: Timestamp) -> Reply<(InboxHead, u32)> {
        self.readers.submit(move |connection| {
            Ok((inbox::head(connection, device)?, keys::low_stock(connection, device, suite, now)?))
        })
    }

    fn read_inbox(&self, device: DeviceId, after: Seq, limit: ReadLimit) -> Reply<Batch> {
        self.readers.submit(move |connection| inbox::read(connection, device, after, limit))
    }

    fn acknowledge(&self, positions: Vec<LogPosition>) -> Reply<()> {
        self.writer.submit(move |tx| logs::acknowledge(tx, &positions))
    }

    fn sweep(&self, from: i64, now: Timestamp, retention: Duration) -> Reply<Swept> {
        self.writer.submit(move |tx| sweep::sweep(tx, from, now, retention))
    }

    fn begin_blob(&self, blob: NewBlob, now: Timestamp) -> Reply<Begun> {
        let quota = self.quotas.file_bytes_per_account;
        self.writer.submit(move |tx| blobs::begin(tx, &blob, quota, now))
    }

    fn put_part(&self, part: NewPart, now: Timestamp) -> Reply<Put> {
        self.writer.submit(move |tx| blobs::put(tx, &part, now))
    }

    fn read_blob(&self, name: BlobName, offset: u64, length: usize, now: Timestamp) -> Reply<Option<Vec<u8>>> {
        self.file_reader.submit(move |connection| blobs::read(connection, name, offset, length, now))
    }

    fn sweep_blobs(&self, now: Timestamp) -> Reply<SweptBlobs> {
        self.writer.submit(move |tx| blobs::sweep(tx, now))
    }

    fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }
}

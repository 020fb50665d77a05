//! The rows that the engine keeps. Every one is on disk: fields are added with `#[serde(default)]`, never changed.

use std::collections::BTreeMap;

use qpq_proto::account::UserName;
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{BlobId, ContentHash, DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::keys::DeviceRecord;
use qpq_proto::stream::{Entry, LogId};
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, Table, decode, encode};
use crate::request::{Purpose, Request};
use crate::view::{ConversationId, ConversationState, MessageStatus, Trust};

/// A row of one key-value table.
pub trait Row: Serialize + serde::de::DeserializeOwned {
    /// Where it is kept.
    const TABLE: Table;
    /// What it is found by.
    type Key;
    /// The key's bytes; their order is the order of [`Store::scan`].
    fn key_bytes(key: &Self::Key) -> Vec<u8>;
    /// The key of this row.
    fn key(&self) -> Self::Key;

    /// Reads one row.
    fn load(store: &dyn Store, key: &Self::Key) -> Result<Option<Self>, StoreError> {
        store.get(Self::TABLE, &Self::key_bytes(key))?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Inserts or replaces this row.
    fn save(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        store.put(Self::TABLE, &Self::key_bytes(&self.key()), &encode(self)?)
    }

    /// Removes a row.
    fn delete(store: &mut dyn Store, key: &Self::Key) -> Result<(), StoreError> {
        store.remove(Self::TABLE, &Self::key_bytes(key))
    }

    /// All rows of the table.
    fn all(store: &dyn Store) -> Result<Vec<Self>, StoreError> {
        store.scan(Self::TABLE, &[])?.iter().map(|(_, value)| decode(value)).collect()
    }
}

/// The account and its secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccountRow {
    pub name: UserName,
    pub identity: IdentityId,
    pub device: DeviceId,
    /// Both seeds of the identity keys.
    #[serde(with = "serde_bytes")]
    pub identity_keys: Vec<u8>,
    /// Ed25519 seed.
    pub device_key: [u8; 32],
    /// X-Wing seed.
    pub envelope_key: [u8; 32],
    /// The encoded manifest.
    #[serde(with = "serde_bytes")]
    pub manifest: Vec<u8>,
    /// The server has confirmed the registration.
    pub registered: bool,
    /// The part after `@`; empty until the server has introduced itself.
    pub domain: String,
    /// The server's, when it was last there; 0 before.
    #[serde(default)]
    pub incarnation: u64,
    /// When key packages were last published in full.
    pub keys_published: Option<Timestamp>,
}

/// Somebody, and the devices that a verified manifest lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContactRow {
    pub identity: IdentityId,
    /// The name that is pinned to this identity.
    pub name: Option<UserName>,
    /// What the server says this identity is called, while that name is pinned to somebody else.
    #[serde(default)]
    pub claimed_name: Option<UserName>,
    pub trust: Trust,
    pub replaced_by: Option<IdentityId>,
    /// The user has had to do with them by own choice; what others begin is a request.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub is_known: bool,
    /// The user does not want to hear of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_blocked: bool,
    /// The newest manifest that was verified, encoded.
    #[serde(with = "serde_bytes")]
    pub manifest: Vec<u8>,
    /// Device → signature key, out of the manifest.
    pub devices: BTreeMap<DeviceId, [u8; 32]>,
    /// Devices that were unlinked, out of the manifest, with their names as far as they were known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub former: BTreeMap<DeviceId, String>,
}

impl ContactRow {
    /// Somebody of whom nothing is known.
    pub fn unknown(identity: IdentityId) -> Self {
        Self {
            identity,
            name: None,
            claimed_name: None,
            trust: Trust::Unverified,
            replaced_by: None,
            is_known: false,
            is_blocked: false,
            manifest: Vec::new(),
            devices: BTreeMap::new(),
            former: BTreeMap::new(),
        }
    }

    /// Whether the identity lists this device, or did so before it unlinked it.
    pub fn vouches_for(&self, device: DeviceId, signature_key: &[u8; 32]) -> bool {
        // A device's id is the hash of its key, which every leaf was checked for.
        self.devices.get(&device) == Some(signature_key) || self.former.contains_key(&device)
    }
}

/// A file that is being uploaded, to be sent then. No `Debug`: it holds the file's key.
#[derive(Clone, Serialize, Deserialize)]
pub struct TransferRow {
    pub blob: BlobId,
    pub key: [u8; 32],
    pub conversation: ConversationId,
    /// Where the file was. It is recognised by its content.
    pub path: String,
    pub size: u64,
    pub sha256: [u8; 32],
    pub begun: Timestamp,
}

/// One MLS group. No `Debug`: it holds the key of the group's name.
#[derive(Clone, Serialize, Deserialize)]
pub struct GroupRow {
    pub group: GroupId,
    pub conversation: ConversationId,
    pub kind: GroupKind,
    pub name: String,
    pub name_key: [u8; 32],
    pub suite: u16,
    pub state: ConversationState,
    /// The last entry that was taken from the log.
    pub cursor: Seq,
    /// The commit that waits to be accepted.
    pub pending: Option<PendingCommit>,
    /// Nothing new is tried before this epoch is reached.
    pub wait_for: Epoch,
    /// Devices that posted that they leave.
    pub leaving: Vec<DeviceId>,
    /// Directory questions that must be answered before the log goes on.
    pub awaiting: Vec<u64>,
    /// Who added this device, while `awaiting` holds back the news of it.
    pub joined_by: Option<(IdentityId, DeviceId)>,
    /// The epoch that this device joined in; entries of earlier ones belong to a stay that is over.
    #[serde(default)]
    pub joined: Epoch,
    /// This device has been in the group before, and knows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_in: bool,
    /// How many milliseconds messages stay; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<u64>,
    /// When this device last refreshed its leaf.
    pub refreshed: Timestamp,
}

/// An own commit on its way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PendingCommit {
    pub hash: ContentHash,
    pub request: u64,
    pub wish: WishRef,
    /// Where the server said that it stands; the log has not said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Seq>,
}

/// One conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConversationRow {
    pub id: ConversationId,
    /// The group it runs in; none while a direct conversation is being made.
    pub group: Option<GroupId>,
    /// Requests under way for the wish at the head of the queue.
    pub in_flight: Vec<u64>,
    pub last_activity: Timestamp,
    pub last_number: u64,
    pub read_number: u64,
    /// The group that the other one made first; its Welcome is on the way.
    #[serde(default)]
    pub expects: Option<GroupId>,
    /// Begun by this stranger, and not accepted: it can be read, and nothing leaves this device for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<IdentityId>,
    /// No signals, and no part in what is counted as unread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_muted: bool,
}

/// A request that the server has not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutboxRow {
    pub id: u64,
    pub request: Request,
    pub purpose: Purpose,
    /// Not to be sent again before.
    pub not_before: Timestamp,
    pub attempts: u32,
}

/// Names a wish: the wishes of one conversation are carried out in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRef {
    pub conversation: ConversationId,
    pub id: u64,
}

/// Something the user wants (or the engine itself), until it is done or refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WishRow {
    pub id: u64,
    pub conversation: ConversationId,
    pub kind: WishKind,
    pub not_before: Timestamp,
    /// Key packages that were claimed for it.
    pub claimed: Vec<Claimed>,
}

/// Key packages of one identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claimed {
    pub identity: IdentityId,
    pub packages: Vec<serde_bytes::ByteBuf>,
    /// The directory was asked again, because a package was of a device that was not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_refreshed: bool,
}

/// What is wished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WishKind {
    /// Make the group on the server, with these first members.
    Start {
        suite: u16,
        name: String,
        members: Vec<IdentityId>,
    },
    Send {
        message: MessageId,
    },
    Add {
        who: Vec<IdentityId>,
    },
    Remove {
        who: IdentityId,
    },
    Leave,
    Rename {
        name: String,
    },
    SetAdmin {
        who: IdentityId,
        is_admin: bool,
    },
    UpdateKey,
    /// Carry out the leave of those who asked for it.
    RemoveLeavers,
    /// Come back by an external commit. Goes before all others.
    Rejoin,
    /// Say something that is not for people: an encoded content.
    Tell {
        content: serde_bytes::ByteBuf,
    },
    /// Say something about a message. What it says is looked up when it is encrypted: nothing of a text that has been taken back
    /// or has disappeared is left in a wish.
    Annotate {
        message: MessageId,
        what: Annotation,
    },
    /// Tell the authors that their messages are here, or were read.
    Receipt {
        is_read: bool,
        messages: Vec<MessageId>,
    },
    /// How many milliseconds messages stay; none for ever.
    SetExpiry {
        after: Option<u64>,
    },
    /// Take other devices of this identity out of the group.
    RemoveOwn {
        devices: Vec<DeviceId>,
    },
}

/// A change of the own devices, until the server has taken it or refused it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceChangeRow {
    pub id: u64,
    pub change: DeviceChange,
    /// How often another device was faster.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is to become of the own devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceChange {
    /// Nothing: only to know them.
    Look,
    Add(DeviceRecord),
    Remove(DeviceId),
    Rename(DeviceId, String),
}

/// What a sibling has told of a group before this device comes into it. No `Debug`: the key of its name is among it.
#[derive(Clone, Serialize, Deserialize)]
pub struct ToldRow {
    pub group: GroupId,
    pub name_key: [u8; 32],
    pub is_muted: bool,
    pub requested_by: Option<IdentityId>,
    /// Numbers of messages up to here are taken by what the history brings.
    #[serde(default, skip_serializing_if = "is_zero_number")]
    pub last_number: u64,
}

fn is_zero_number(number: &u64) -> bool {
    *number == 0
}

/// The counter that holds when an own device was added.
pub fn device_added_at(device: DeviceId) -> String {
    format!("device {device}")
}

/// What is said about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Annotation {
    /// Its text, which is one's own, is what it is now.
    Edited,
    /// It is taken back.
    Deleted,
    Reaction {
        emoji: String,
        removed: bool,
    },
}

impl Annotation {
    /// Whether the later one of the two is the one that counts. A message that was taken back stays so.
    pub fn is_alternative_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Edited, Self::Edited) => true,
            (Self::Reaction { emoji: one, .. }, Self::Reaction { emoji: other, .. }) => one == other,
            (Self::Edited | Self::Deleted | Self::Reaction { .. }, _) => false,
        }
    }
}

/// What this device knows of a group's log itself, so that it notices when it or the server was set back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrackRow {
    pub group: GroupId,
    /// Entries that were taken, the newest last: all of the last few, ever fewer further back.
    pub marks: Vec<TrackMark>,
    /// When the newest entry was accepted, by the server's clock.
    pub last_at: Timestamp,
    /// Own changes of the group, in case that the server forgets them; the newest last.
    pub done: Vec<Done>,
}

/// One entry that was taken: its place, and its digest (see [`qpq_proto::stream::digest`]). Without names, for it is written
/// often.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TrackMark(pub Seq, pub u64);

/// An own change of a group that was carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub seq: Seq,
    pub kind: WishKind,
}

/// A group that is being mended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepairRow {
    pub group: GroupId,
    /// The log is read again, or up to where this device had come before.
    pub set_back: Option<SetBack>,
    /// The way back in.
    pub rejoin: Option<Rejoin>,
    /// What the server has forgotten, to be said and done again.
    pub owed: Owed,
}

/// Server or device were set back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetBack {
    /// Up to here the device had come.
    pub until: Seq,
    /// Entries up to here that were accepted by then have been taken already.
    pub taken_at: Timestamp,
    /// Why this device has to come back with a fresh leaf, if it has to: its state is older than what others have seen of it,
    /// or the group has gone another way.
    pub rejoin: Option<String>,
    /// Own messages and changes that have not been seen again.
    pub messages: Vec<(Seq, MessageId)>,
    pub changes: Vec<Done>,
}

/// An external commit on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rejoin {
    pub reason: String,
    /// Who was in the group when this device last knew.
    #[serde(default)]
    pub members: Vec<IdentityId>,
    /// Messages that could not be read since.
    pub lost: u64,
    /// The commit, once it is made.
    pub commit: Option<ContentHash>,
    /// Where the server said that it stands; the log has not said so yet.
    #[serde(default)]
    pub accepted: Option<Seq>,
    /// Devices that were leaving when it was made.
    pub leaving: Vec<DeviceId>,
    pub attempts: u32,
    /// Why the last attempt failed.
    pub trouble: Option<String>,
}

/// What is to be said and done again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Owed {
    pub messages: Vec<MessageId>,
    pub changes: Vec<WishKind>,
}

/// A Welcome that waits for its tree, or for the end of an earlier stay in the same group. No `Debug`: the bundle is open.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRow {
    pub group: GroupId,
    /// The epoch that it leads into.
    pub epoch: Epoch,
    /// The opened bundle, encoded.
    #[serde(with = "serde_bytes")]
    pub bundle: Vec<u8>,
    pub at: Timestamp,
    /// Its place in the inbox, for the quarantine.
    pub seq: Seq,
}

impl JoinRow {
    /// All Welcomes to one group, in the order of the stays that they begin.
    pub fn of_group(store: &dyn Store, group: GroupId) -> Result<Vec<Self>, StoreError> {
        store.scan(Self::TABLE, &group.0)?.iter().map(|(_, value)| decode(value)).collect()
    }
}

/// An entry that waits until the directory has answered for new members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BacklogRow {
    pub group: GroupId,
    pub entry: Entry,
}

/// An entry that could not be processed. Kept for a later attempt, never dropped.
#[derive(Clone, Serialize, Deserialize)]
pub struct QuarantineRow {
    pub entry: Entry,
    pub reason: String,
    /// What it was decrypted to, when only the content could not be read: its key is gone.
    #[serde(default)]
    pub plaintext: Option<serde_bytes::ByteBuf>,
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub conversation: ConversationId,
    pub number: u64,
    pub id: MessageId,
    pub seq: Option<Seq>,
    pub sender: IdentityId,
    pub device: DeviceId,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    pub status: MessageStatus,
    /// Not shown, because the sending device is not in its identity's manifest.
    pub held: bool,
    /// When it disappears, by this device's clock.
    pub expires_at: Option<Timestamp>,
    /// The text that can be searched.
    pub text: String,
    /// Encoded [`qpq_proto::content::Content`].
    pub content: Vec<u8>,
}

impl std::fmt::Debug for MessageRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageRow").field("id", &self.id).field("number", &self.number).finish_non_exhaustive()
    }
}

/// An own message that is on its way, found by its ciphertext.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnRow {
    pub hash: ContentHash,
    pub message: MessageId,
    pub wish: WishRef,
    pub request: u64,
    /// Where the server said that it stands; the log has not said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Seq>,
    /// What it says about another message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<(MessageId, Annotation)>,
}

/// An event with ids instead of names; names are looked up when it is pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    pub at: Timestamp,
    pub conversation: Option<ConversationId>,
    pub kind: EventRowKind,
}

/// What happened, in ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventRowKind {
    Message { sender: IdentityId, id: MessageId },
    Sent { message: MessageId },
    NotSent { message: MessageId, reason: String },
    Joined { by: IdentityId },
    MemberAdded { who: IdentityId, by: IdentityId },
    MemberRemoved { who: IdentityId, by: IdentityId },
    Removed { by: IdentityId },
    Left,
    Renamed { by: IdentityId, name: String },
    RoleChanged { who: IdentityId, by: IdentityId, is_admin: bool },
    KeyChanged { name: UserName, old: IdentityId, new: IdentityId },
    UntrustedDevice { who: IdentityId, device: DeviceId },
    Gap { count: u64, reason: String },
    Refused { what: String, reason: String },
    Edited { sender: IdentityId, id: MessageId },
    Deleted { sender: IdentityId, id: MessageId },
    Reaction { by: IdentityId, sender: IdentityId, id: MessageId, emoji: String, removed: bool },
    Receipt { by: IdentityId, device: DeviceId, is_read: bool, messages: Vec<MessageId> },
    Request { by: IdentityId },
    ExpiryChanged { by: IdentityId, after: Option<u64> },
    DeviceAdded { who: IdentityId, device: DeviceId, name: String },
    DeviceRemoved { who: IdentityId, device: DeviceId, name: String },
}

/// Rows that are older than a field which is nearly always set.
fn yes() -> bool {
    true
}

macro_rules! row {
    ($row:ident, $table:ident, $key:ty, |$k:ident| $bytes:expr, |$r:ident| $of:expr) => {
        impl Row for $row {
            const TABLE: Table = Table::$table;
            type Key = $key;

            fn key_bytes($k: &$key) -> Vec<u8> {
                $bytes
            }

            fn key(&self) -> $key {
                let $r = self;
                $of
            }
        }
    };
}

pub(super) use row;

row!(AccountRow, Account, (), |_key| vec![], |_row| ());
row!(ContactRow, Contacts, IdentityId, |key| key.0.to_vec(), |row| row.identity);
row!(GroupRow, Groups, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(ConversationRow, Conversations, ConversationId, |key| conversation_key(*key), |row| row.id);
row!(OutboxRow, Outbox, u64, |key| key.to_be_bytes().to_vec(), |row| row.id);
row!(WishRow, Wishes, WishRef, |key| wish_key(*key), |row| WishRef { conversation: row.conversation, id: row.id });
row!(JoinRow, Joins, (GroupId, Epoch), |key| group_seq(key.0, Seq(key.1.0)), |row| (row.group, row.epoch));
row!(OwnRow, Own, ContentHash, |key| key.0.to_vec(), |row| row.hash);
row!(BacklogRow, Backlog, (GroupId, Seq), |key| group_seq(key.0, key.1), |row| (row.group, row.entry.seq));
row!(TrackRow, Tracks, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(TransferRow, Transfers, BlobId, |key| key.0.to_vec(), |row| row.blob);
row!(DeviceChangeRow, DeviceChanges, u64, |key| key.to_be_bytes().to_vec(), |row| row.id);
row!(ToldRow, Told, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(RepairRow, Repairs, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(QuarantineRow, Quarantine, (LogId, Seq), |key| log_seq(key.0, key.1), |row| (row.entry.log, row.entry.seq));

fn wish_key(wish: WishRef) -> Vec<u8> {
    [&conversation_key(wish.conversation)[..], &wish.id.to_be_bytes()].concat()
}

/// The bytes that stand for a conversation in keys and in the message table.
pub fn conversation_key(id: ConversationId) -> Vec<u8> {
    match id {
        ConversationId::Group(group) => [&[1], &group.0[..]].concat(),
        ConversationId::Direct(identity) => [&[2], &identity.0[..]].concat(),
    }
}

fn group_seq(group: GroupId, seq: Seq) -> Vec<u8> {
    [&group.0[..], &seq.0.to_be_bytes()].concat()
}

fn log_seq(log: LogId, seq: Seq) -> Vec<u8> {
    match log {
        LogId::Inbox => [&[0][..], &seq.0.to_be_bytes()].concat(),
        LogId::Group(group) => [&[1][..], &group_seq(group, seq)].concat(),
    }
}

/// A number that grows by one with every call, never reused.
pub fn next_number(store: &mut dyn Store, counter: &str) -> Result<u64, StoreError> {
    let next = number(store, counter)? + 1;
    set_number(store, counter, next)?;
    Ok(next)
}

/// The value of a counter, 0 at first.
pub fn number(store: &dyn Store, counter: &str) -> Result<u64, StoreError> {
    store.get(Table::Counters, counter.as_bytes())?.map_or(Ok(0), |bytes| decode(&bytes))
}

/// Sets a counter.
pub fn set_number(store: &mut dyn Store, counter: &str, value: u64) -> Result<(), StoreError> {
    store.put(Table::Counters, counter.as_bytes(), &encode(&value)?)
}

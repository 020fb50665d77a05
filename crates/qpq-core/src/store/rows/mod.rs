//! The rows that the engine keeps. Every one is on disk: fields are added with `#[serde(default)]`, never changed.

mod groups;
mod messages;
mod wishes;

use std::collections::BTreeMap;

use qpq_proto::account::UserName;
use qpq_proto::ids::{BlobId, ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::LogId;
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::groups::*;
pub use self::messages::*;
pub use self::wishes::*;
use super::{Store, StoreError, Table, decode, encode};
use crate::view::{ConversationId, Trust};

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
row!(ClaimRow, Claims, (u64, IdentityId), |key| claim_key(key.0, Some(key.1)), |row| (row.wish, row.identity));
row!(JoinRow, Joins, (GroupId, Epoch), |key| group_seq(key.0, Seq(key.1.0)), |row| (row.group, row.epoch));
row!(OwnRow, Own, ContentHash, |key| key.0.to_vec(), |row| row.hash);
row!(BacklogRow, Backlog, (GroupId, Seq), |key| group_seq(key.0, key.1), |row| (row.group, row.entry.seq));
row!(TrackRow, Tracks, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(TransferRow, Transfers, BlobId, |key| key.0.to_vec(), |row| row.blob);
row!(DeviceChangeRow, DeviceChanges, u64, |key| key.to_be_bytes().to_vec(), |row| row.id);
row!(ToldRow, Told, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(RepairRow, Repairs, GroupId, |key| key.0.to_vec(), |row| row.group);
row!(QuarantineRow, Quarantine, (LogId, Seq), |key| log_seq(key.0, key.1), |row| (row.entry.log, row.entry.seq));

/// Where the claim of one identity for a wish is, or all those for the wish.
pub fn claim_key(wish: u64, identity: Option<IdentityId>) -> Vec<u8> {
    let mut key = wish.to_be_bytes().to_vec();
    key.extend(identity.iter().flat_map(|identity| identity.0));
    key
}

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

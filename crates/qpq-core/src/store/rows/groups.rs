//! MLS groups, and what becomes of them.

use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::stream::Entry;
use qpq_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Row as _, WishKind, WishRef};
use crate::store::{Store, StoreError, decode};

use crate::view::{ConversationId, ConversationState};

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

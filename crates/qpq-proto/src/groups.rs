//! Group requests, their outcomes, and the state that lives in a group's context.

use std::time::Duration;

use capnp::data_list;
use capnp::message::TypedBuilder;
use serde::{Deserialize, Serialize};

use crate::generated::groups_capnp;
use crate::ids::{BlobId, DeviceId, Epoch, GroupId, IdentityId, Seq};
use crate::limits;
use crate::read::{self, Malformed};
use crate::time::Timestamp;

/// The newest format of [`GroupState`].
pub const GROUP_STATE_FORMAT: u16 = 1;

/// A Welcome for one device, sealed to its envelope key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedWelcome {
    pub device: DeviceId,
    #[serde(with = "serde_bytes")]
    pub envelope: Vec<u8>,
}

/// A commit as it is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The epoch that it ends.
    pub expected_epoch: Epoch,
    /// MLSMessage(PublicMessage).
    #[serde(with = "serde_bytes")]
    pub commit: Vec<u8>,
    /// MLSMessage(GroupInfo) after the commit, without the tree.
    #[serde(with = "serde_bytes")]
    pub group_info: Vec<u8>,
    /// One for every device that the commit adds.
    pub welcomes: Vec<SealedWelcome>,
    /// Of a commit from outside: who was leaving according to the [`RejoinInfo`] that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<DeviceId>,
}

impl Commit {
    /// Reads it from the wire.
    pub fn read(reader: groups_capnp::commit::Reader<'_>) -> Result<Self, Malformed> {
        let list = reader.get_welcomes()?;
        read::count("commit.welcomes", list.len(), limits::WELCOMES)?;
        let mut welcomes = Vec::with_capacity(list.len() as usize);
        for welcome in list {
            welcomes.push(SealedWelcome {
                device: DeviceId(read::array("welcome.device", welcome.get_device())?),
                envelope: read::some_bytes("welcome.envelope", welcome.get_envelope(), limits::ENVELOPE)?,
            });
        }
        Ok(Self {
            expected_epoch: Epoch(reader.get_expected_epoch()),
            commit: read::some_bytes("commit.commit", reader.get_commit(), limits::HANDSHAKE)?,
            group_info: read::some_bytes("commit.groupInfo", reader.get_group_info(), limits::HANDSHAKE)?,
            welcomes,
            leaving: read_devices("commit.leaving", reader.get_leaving()?)?,
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: groups_capnp::commit::Builder<'_>) {
        builder.set_expected_epoch(self.expected_epoch.0);
        builder.set_commit(&self.commit);
        builder.set_group_info(&self.group_info);
        let mut welcomes = builder.reborrow().init_welcomes(self.welcomes.len() as u32);
        for (index, welcome) in self.welcomes.iter().enumerate() {
            let mut builder = welcomes.reborrow().get(index as u32);
            builder.set_device(&welcome.device.0);
            builder.set_envelope(&welcome.envelope);
        }
        if !self.leaving.is_empty() {
            write_devices(&self.leaving, builder.init_leaving(self.leaving.len() as u32));
        }
    }
}

fn read_devices(what: &'static str, list: data_list::Reader<'_>) -> Result<Vec<DeviceId>, Malformed> {
    read::count(what, list.len(), limits::WELCOMES)?;
    list.iter().map(|device| Ok(DeviceId(read::array(what, device)?))).collect()
}

fn write_devices(devices: &[DeviceId], mut list: data_list::Builder<'_>) {
    devices.iter().enumerate().for_each(|(index, device)| list.set(index as u32, &device.0));
}

/// A group at its creation: epoch 0 with the creator alone, and the commit that adds the first members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewGroup {
    /// MLSMessage(GroupInfo) of epoch 0.
    #[serde(with = "serde_bytes")]
    pub group_info: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub ratchet_tree: Vec<u8>,
    pub first: Option<Commit>,
}

impl NewGroup {
    /// Reads it from the wire.
    pub fn read(reader: groups_capnp::new_group::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            group_info: read::some_bytes("group.groupInfo", reader.get_group_info(), limits::HANDSHAKE)?,
            ratchet_tree: read::some_bytes("group.ratchetTree", reader.get_ratchet_tree(), limits::HANDSHAKE)?,
            first: reader.has_first().then(|| Commit::read(reader.get_first()?)).transpose()?,
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: groups_capnp::new_group::Builder<'_>) {
        builder.set_group_info(&self.group_info);
        builder.set_ratchet_tree(&self.ratchet_tree);
        if let Some(first) = &self.first {
            first.write(builder.init_first());
        }
    }
}

/// An application message as it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    pub epoch: Epoch,
    /// MLSMessage(PrivateMessage).
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// When the server may forget it even before its retention time.
    pub expires_at: Option<Timestamp>,
    /// Files that it refers to.
    #[serde(default)]
    pub blobs: Vec<BlobId>,
}

impl Post {
    /// Reads it from the wire.
    pub fn read(reader: groups_capnp::post::Reader<'_>) -> Result<Self, Malformed> {
        let expires = reader.get_expires_at_ms();
        let list = reader.get_blobs()?;
        read::count("post.blobs", list.len(), limits::POST_BLOBS)?;
        Ok(Self {
            epoch: Epoch(reader.get_epoch()),
            payload: read::some_bytes("post.payload", reader.get_payload(), limits::POST)?,
            expires_at: (expires > 0).then_some(Timestamp(expires)),
            blobs: list
                .iter()
                .map(|blob| Ok(BlobId(read::array("post.blobs", blob)?)))
                .collect::<Result<_, Malformed>>()?,
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: groups_capnp::post::Builder<'_>) {
        builder.set_epoch(self.epoch.0);
        builder.set_payload(&self.payload);
        builder.set_expires_at_ms(self.expires_at.map_or(0, |at| at.0));
        let mut list = builder.init_blobs(self.blobs.len() as u32);
        self.blobs.iter().enumerate().for_each(|(index, blob)| list.set(index as u32, &blob.0));
    }
}

/// What a device needs to come back into a group by an external commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejoinInfo {
    /// MLSMessage(GroupInfo) of the current epoch, without the tree.
    pub group_info: Vec<u8>,
    pub ratchet_tree: Vec<u8>,
    /// Devices that have posted that they leave, and have not been removed yet.
    pub leaving: Vec<DeviceId>,
}

impl RejoinInfo {
    /// Reads it from the wire.
    pub fn read(reader: groups_capnp::rejoin_info::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            group_info: read::some_bytes("rejoin.groupInfo", reader.get_group_info(), limits::HANDSHAKE)?,
            ratchet_tree: read::some_bytes("rejoin.ratchetTree", reader.get_ratchet_tree(), limits::HANDSHAKE)?,
            leaving: read_devices("rejoin.leaving", reader.get_leaving()?)?,
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: groups_capnp::rejoin_info::Builder<'_>) {
        builder.set_group_info(&self.group_info);
        builder.set_ratchet_tree(&self.ratchet_tree);
        write_devices(&self.leaving, builder.init_leaving(self.leaving.len() as u32));
    }
}

/// A group that an identity is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    pub group: GroupId,
    /// What the asking device has acknowledged of its present stay; 0 for nothing.
    pub acknowledged: Seq,
    /// The asking device itself is in, and not only another one of its identity.
    pub inside: bool,
}

impl Stay {
    /// Reads all of them from the wire.
    pub fn read_list(
        groups: capnp::data_list::Reader<'_>,
        acknowledged: capnp::primitive_list::Reader<'_, u64>,
        inside: capnp::primitive_list::Reader<'_, bool>,
    ) -> Result<Vec<Self>, Malformed> {
        read::count("memberships.groups", groups.len(), limits::POSITIONS)?;
        let acknowledged = acknowledged.iter().chain(std::iter::repeat(0));
        // A server that does not say only names groups that a Welcome leads into.
        let inside = inside.iter().chain(std::iter::repeat(true));
        let stays = groups.iter().zip(acknowledged).zip(inside).map(|((group, seq), inside)| {
            let group = GroupId(read::array("memberships.groups", group)?);
            Ok(Self { group, acknowledged: Seq(seq), inside })
        });
        stays.collect()
    }
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub epoch: Epoch,
    pub seq: Seq,
}

impl Head {
    /// Reads it from the wire.
    pub fn read(reader: groups_capnp::head::Reader<'_>) -> Self {
        Self { epoch: Epoch(reader.get_epoch()), seq: Seq(reader.get_seq()) }
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: groups_capnp::head::Builder<'_>) {
        builder.set_epoch(self.epoch.0);
        builder.set_seq(self.seq.0);
    }
}

/// What came of creating a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It exists now; `first` is the sequence number of its first commit (0 without one).
    Created { first: Seq },
    /// These two already have this direct conversation.
    Exists(GroupId),
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Accepted(Seq),
    /// Another commit ended that epoch first.
    Superseded(Head),
}

/// What came of a post or a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    Accepted(Seq),
    /// The group has moved on: take the commits, encrypt again.
    StaleEpoch(Head),
}

/// Whether a group is a conversation between two, or one with members and a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GroupKind {
    Group,
    Direct,
}

/// Who may do something in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Who {
    Admins,
    Members,
}

/// The group's own state in its MLS context (app-data dictionary). The server reads all of it but the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    pub kind: GroupKind,
    /// Ascending, without duplicates.
    pub admins: Vec<IdentityId>,
    pub add: Who,
    pub remove: Who,
    pub rename: Who,
    /// Nonce and ciphertext; empty for a direct conversation.
    pub name: Vec<u8>,
    /// The key of `name`, wrapped for the members of the epoch before; empty at creation.
    pub name_key: Vec<u8>,
    /// How long messages stay; none for ever.
    pub expires_after: Option<Duration>,
}

impl GroupState {
    /// The bytes in the dictionary.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<groups_capnp::group_state::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(GROUP_STATE_FORMAT);
        builder.set_kind(match self.kind {
            GroupKind::Group => groups_capnp::group_state::Kind::Group,
            GroupKind::Direct => groups_capnp::group_state::Kind::Direct,
        });
        builder.set_add(self.add.into());
        builder.set_remove(self.remove.into());
        builder.set_rename(self.rename.into());
        builder.set_name(&self.name);
        builder.set_name_key(&self.name_key);
        builder.set_expires_after_ms(self.expires_after.map_or(0, |after| after.as_millis() as u64));
        let mut admins = builder.init_admins(self.admins.len() as u32);
        for (index, admin) in self.admins.iter().enumerate() {
            admins.set(index as u32, &admin.0);
        }
        read::to_bytes(&message)
    }

    /// Decodes it, checking every limit and the order of the admins.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<groups_capnp::group_state::Owned>(bytes)?;
        let reader = message.get()?;
        read::format("groupState.format", reader.get_format(), GROUP_STATE_FORMAT)?;
        let list = reader.get_admins()?;
        read::count("groupState.admins", list.len(), limits::ADMINS)?;
        let admins = list
            .iter()
            .map(|admin| read::array("groupState.admins", admin).map(IdentityId))
            .collect::<Result<Vec<_>, _>>()?;
        if !admins.is_sorted_by(|a, b| a < b) {
            return Err(Malformed::new("groupState.admins", "not in ascending order"));
        }
        let expires = reader.get_expires_after_ms();
        if expires > limits::EXPIRY_MS {
            return Err(Malformed::new("groupState.expiresAfter", "too long"));
        }
        Ok(Self {
            kind: match reader.get_kind()? {
                groups_capnp::group_state::Kind::Group => GroupKind::Group,
                groups_capnp::group_state::Kind::Direct => GroupKind::Direct,
            },
            admins,
            add: reader.get_add()?.into(),
            remove: reader.get_remove()?.into(),
            rename: reader.get_rename()?.into(),
            name: read::bytes("groupState.name", reader.get_name(), limits::GROUP_NAME + 64)?,
            name_key: read::bytes("groupState.nameKey", reader.get_name_key(), 128)?,
            expires_after: (expires > 0).then(|| Duration::from_millis(expires)),
        })
    }
}

impl From<Who> for groups_capnp::group_state::Who {
    fn from(who: Who) -> Self {
        match who {
            Who::Admins => Self::Admins,
            Who::Members => Self::Members,
        }
    }
}

impl From<groups_capnp::group_state::Who> for Who {
    fn from(who: groups_capnp::group_state::Who) -> Self {
        match who {
            groups_capnp::group_state::Who::Admins => Self::Admins,
            groups_capnp::group_state::Who::Members => Self::Members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_state_survives_and_refuses_unordered_admins() {
        let mut state = GroupState {
            kind: GroupKind::Group,
            admins: vec![IdentityId([1; 32]), IdentityId([2; 32])],
            add: Who::Members,
            remove: Who::Admins,
            rename: Who::Admins,
            name: vec![1; 40],
            name_key: vec![2; 60],
            expires_after: Some(Duration::from_secs(60)),
        };
        assert_eq!(GroupState::decode(&state.encode()), Ok(state.clone()));
        state.admins.reverse();
        assert!(GroupState::decode(&state.encode()).is_err());
        state.admins = vec![IdentityId([1; 32]); 2];
        assert!(GroupState::decode(&state.encode()).is_err());
    }
}

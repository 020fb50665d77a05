//! What the engine asks of the server, and what it wants to do with the answer.

use qpq_proto::account::{Account, UserName};
use qpq_proto::groups::{Commit, CommitOutcome, CreateOutcome, NewGroup, Post, PostOutcome, RejoinInfo, Stay};
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_trust::commit::read_handshake;
use serde::{Deserialize, Serialize};

use crate::store::rows::WishRef;

/// One request. Durable in the outbox before it is sent, and harmless to repeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    ByName(UserName),
    ByIdentity(IdentityId),
    PublishKeys {
        one_time: Vec<serde_bytes::ByteBuf>,
        last_resort: Vec<serde_bytes::ByteBuf>,
    },
    Claim {
        identity: IdentityId,
        suite: u16,
    },
    Create(NewGroup),
    Commit {
        group: GroupId,
        commit: Commit,
    },
    Post {
        group: GroupId,
        post: Post,
    },
    Leave {
        group: GroupId,
        epoch: Epoch,
        #[serde(with = "serde_bytes")]
        proposal: Vec<u8>,
    },
    Tree {
        group: GroupId,
        epoch: Epoch,
    },
    /// What it takes to come back into a group.
    RejoinInfo(GroupId),
    /// The groups that this identity is in.
    Memberships,
    /// The next manifest of this identity.
    UpdateManifest(serde_bytes::ByteBuf),
}

impl Request {
    /// What comes back as an entry of a group's log when it is accepted.
    pub fn comes_back(&self) -> Option<(GroupId, &[u8])> {
        match self {
            Self::Create(new) => {
                let first = &new.first.as_ref()?.commit;
                let group = read_handshake(first).ok()?.group_id().as_slice().try_into().ok()?;
                Some((group, first))
            }
            Self::Commit { group, commit } => Some((*group, &commit.commit)),
            Self::Post { group, post } => Some((*group, &post.payload)),
            Self::Leave { group, proposal, .. } => Some((*group, proposal)),
            Self::ByName(_)
            | Self::ByIdentity(_)
            | Self::PublishKeys { .. }
            | Self::Claim { .. }
            | Self::Tree { .. }
            | Self::RejoinInfo(_)
            | Self::Memberships
            | Self::UpdateManifest(_) => None,
        }
    }
}

/// What the server answered, other than a refusal.
#[derive(Clone, Debug)]
pub enum Reply {
    Account(Account),
    Stock(u32),
    Packages(Vec<Vec<u8>>),
    Created(CreateOutcome),
    Committed(CommitOutcome),
    Posted(PostOutcome),
    Left(PostOutcome),
    Tree(Vec<u8>),
    RejoinInfo(RejoinInfo),
    Memberships(Vec<Stay>),
    ManifestUpdated {
        /// Another device was faster.
        is_superseded: bool,
    },
}

impl Reply {
    /// Where the server has put what was to come into a group's log.
    pub fn accepted(&self) -> Option<Seq> {
        match self {
            Self::Created(CreateOutcome::Created { first: seq })
            | Self::Committed(CommitOutcome::Accepted(seq))
            | Self::Posted(PostOutcome::Accepted(seq))
            | Self::Left(PostOutcome::Accepted(seq)) => Some(*seq),
            Self::Created(CreateOutcome::Exists(_))
            | Self::Committed(CommitOutcome::Superseded(_))
            | Self::Posted(PostOutcome::StaleEpoch(_))
            | Self::Left(PostOutcome::StaleEpoch(_))
            | Self::Account(_)
            | Self::Stock(_)
            | Self::Packages(_)
            | Self::Tree(_)
            | Self::RejoinInfo(_)
            | Self::Memberships(_)
            | Self::ManifestUpdated { .. } => None,
        }
    }
}

/// Why a request was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The user wants to know who a name is.
    LookUp(UserName),
    /// A group's log waits to know whether a device belongs to an identity.
    Check {
        identity: IdentityId,
        device: DeviceId,
        group: GroupId,
    },
    PublishKeys,
    Claim {
        wish: WishRef,
        identity: IdentityId,
    },
    Create {
        wish: WishRef,
        group: GroupId,
    },
    Commit {
        wish: WishRef,
        group: GroupId,
    },
    Post {
        wish: WishRef,
        group: GroupId,
        hash: ContentHash,
    },
    Leave {
        wish: WishRef,
        group: GroupId,
    },
    Tree {
        group: GroupId,
        epoch: Epoch,
    },
    /// A group is to be mended: what does it take?
    RejoinInfo {
        wish: WishRef,
        group: GroupId,
    },
    /// The external commit.
    Rejoin {
        wish: WishRef,
        group: GroupId,
    },
    /// A group that this device is in without knowing it: what kind of a group is it?
    ComeIn {
        group: GroupId,
        /// This device was in before, as far as the server knows, and had left: it leaves again.
        #[serde(default = "yes")]
        was_in: bool,
    },
    Memberships,
    /// What are the own devices, before they are changed?
    OwnDevices {
        change: u64,
    },
    UpdateManifest {
        change: u64,
    },
    /// Somebody's devices may have changed; a wish may wait to know.
    Refresh {
        wish: Option<WishRef>,
        identity: IdentityId,
    },
}

/// What older versions meant.
fn yes() -> bool {
    true
}

impl Purpose {
    /// The wish that waits for the answer.
    pub fn wish(&self) -> Option<WishRef> {
        match self {
            Self::Claim { wish, .. }
            | Self::Create { wish, .. }
            | Self::Commit { wish, .. }
            | Self::Post { wish, .. }
            | Self::Leave { wish, .. }
            | Self::RejoinInfo { wish, .. }
            | Self::Rejoin { wish, .. } => Some(*wish),
            Self::Refresh { wish, .. } => *wish,
            Self::OwnDevices { .. }
            | Self::UpdateManifest { .. }
            | Self::LookUp(_)
            | Self::Check { .. }
            | Self::PublishKeys
            | Self::Tree { .. }
            | Self::ComeIn { .. }
            | Self::Memberships => None,
        }
    }

    /// The group whose log decides what becomes of it: it does not leave before both ends agree about that log.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Self::Commit { group, .. } | Self::Post { group, .. } | Self::Leave { group, .. } => Some(*group),
            Self::LookUp(_)
            | Self::Check { .. }
            | Self::PublishKeys
            | Self::Claim { .. }
            | Self::Create { .. }
            | Self::Tree { .. }
            | Self::RejoinInfo { .. }
            | Self::Rejoin { .. }
            | Self::ComeIn { .. }
            | Self::OwnDevices { .. }
            | Self::UpdateManifest { .. }
            | Self::Refresh { .. }
            | Self::Memberships => None,
        }
    }
}

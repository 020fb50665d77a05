//! Groups, their rosters and what is appended to them, as rows.

use std::collections::BTreeSet;

use qpq_proto::groups::{Head, SealedWelcome};
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::time::Timestamp;

use super::blob::BlobName;

/// One device in a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    pub device: DeviceId,
    pub identity: IdentityId,
}

/// A validated commit.
#[derive(Clone, Debug)]
pub struct NewCommit {
    pub group: GroupId,
    /// The epoch that it ends.
    pub epoch: Epoch,
    pub hash: ContentHash,
    pub payload: Vec<u8>,
    pub committer: MemberRecord,
    pub joins: Vec<MemberRecord>,
    /// Devices without a leaf afterwards.
    pub removes: Vec<DeviceId>,
    pub welcomes: Vec<SealedWelcome>,
    /// Of the epoch that it leads into, with the digest of that epoch's context.
    pub group_info: Vec<u8>,
    pub context: u64,
    /// The committer comes from outside: its identity is a member, the device itself need not be.
    pub is_external: bool,
    /// Until when it can be replayed: MLS refuses expired key packages however old the commit is.
    pub replayable_until: Option<Timestamp>,
}

/// A validated new group.
#[derive(Clone, Debug)]
pub struct NewGroupRecord {
    pub group: GroupId,
    /// Over the whole request: the same creator repeating it gets the same answer.
    pub request: ContentHash,
    pub creator: MemberRecord,
    /// Names the pair of a direct conversation; there is one group per pair.
    pub pair: Option<[u8; 32]>,
    /// The public state of epoch 0.
    pub state: Vec<u8>,
    /// Of epoch 0, with the digest of its context.
    pub group_info: Vec<u8>,
    pub context: u64,
    pub first: Option<NewCommit>,
}

/// What came of creating a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateResult {
    /// The sequence number of its first commit, 0 without one.
    Created(Seq),
    /// The group of this pair, or one that the same device made before in another way.
    Exists(GroupId),
    /// Another group has this id.
    Taken,
    /// Nothing was stored; the limit's name.
    Quota(&'static str),
}

/// An application message.
#[derive(Clone, Debug)]
pub struct NewPost {
    pub group: GroupId,
    pub sender: DeviceId,
    pub epoch: Epoch,
    pub hash: ContentHash,
    pub payload: Vec<u8>,
    pub expires: Option<Timestamp>,
    /// What it refers to, and how long that is kept for it.
    pub blobs: Vec<BlobName>,
    pub blobs_until: Timestamp,
}

/// A validated proposal to leave.
#[derive(Clone, Debug)]
pub struct NewLeave {
    pub group: GroupId,
    pub sender: DeviceId,
    pub epoch: Epoch,
    pub hash: ContentHash,
    pub payload: Vec<u8>,
}

/// What came of a post or leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostResult {
    Accepted(Seq),
    StaleEpoch(Head),
    /// There is no such group, or the sender is not in it.
    NotMember,
    /// A blob that it refers to is not here.
    BlobMissing,
    /// Nothing was stored; the limit's name.
    Quota(&'static str),
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    Accepted(Seq),
    Superseded(Head),
    /// There is no such group, or the committer is not in it.
    NotMember,
    /// Nothing was stored; the limit's name.
    Quota(&'static str),
}

/// A group and one device's place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub head: Head,
    /// The device is a member now.
    pub is_member: bool,
    /// The device is or was a member.
    pub was_member: bool,
    /// Where the log has the hash that was asked for.
    pub known: Option<Seq>,
    /// Devices that have asked to be removed.
    pub leaving: BTreeSet<DeviceId>,
}

/// What a device of a member needs to come back into a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub head: Head,
    /// None: no commit has brought one yet.
    pub group_info: Option<Vec<u8>>,
    /// Devices that have asked to be removed.
    pub leaving: BTreeSet<DeviceId>,
}

/// A group's public state at one epoch, in the encoding of the service above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub state: Vec<u8>,
}

/// When a device was in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub head: Head,
    /// Ascending and disjoint; empty if it never was a member.
    pub spans: Vec<Span>,
    /// How far the device has come in its last stay; 0 when it has not acknowledged any of it.
    pub acknowledged: Seq,
    /// Digest of the group's context; none before the first commit to a group of an older version.
    pub context: Option<u64>,
}

/// One stay in a group: the entries after `joined`, up to and including `left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub joined: Seq,
    pub left: Option<Seq>,
}

impl Membership {
    /// The next range after `after` that the device may see, as (exclusive start, inclusive end); none when it has
    /// seen all.
    pub fn visible_after(&self, after: Seq) -> Option<(Seq, Seq)> {
        self.spans.iter().find_map(|span| {
            let start = after.max(span.joined);
            let end = span.left.unwrap_or(self.head.seq).min(self.head.seq);
            (start < end).then_some((start, end))
        })
    }

    /// The newest position that the device may ever see as things stand.
    pub fn visible_head(&self) -> Seq {
        self.spans.last().map_or(Seq(0), |span| span.left.unwrap_or(self.head.seq).min(self.head.seq))
    }

    /// Where its last stay begins.
    pub fn joined(&self) -> Seq {
        self.spans.last().map_or(Seq(0), |span| span.joined)
    }

    /// Whether the device is a member now.
    pub fn is_current(&self) -> bool {
        self.spans.last().is_some_and(|span| span.left.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_sees_its_stays_and_nothing_between() {
        let membership = Membership {
            head: Head { epoch: Epoch(9), seq: Seq(20) },
            spans: vec![Span { joined: Seq(2), left: Some(Seq(5)) }, Span { joined: Seq(10), left: None }],
            acknowledged: Seq(0),
            context: None,
        };
        let check = |after, expected: Option<(u64, u64)>| {
            let range = membership.visible_after(Seq(after)).map(|(start, end)| (start.0, end.0));
            assert_eq!(range, expected, "after {after}");
        };
        check(0, Some((2, 5)));
        check(4, Some((4, 5)));
        check(5, Some((10, 20)));
        check(19, Some((19, 20)));
        check(20, None);
        assert_eq!((membership.visible_head(), membership.joined()), (Seq(20), Seq(10)));
        assert!(membership.is_current());
    }
}

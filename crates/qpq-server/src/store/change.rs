//! What those who are connected are told after a commit.

use std::sync::Arc;

use qpq_proto::ids::{DeviceId, GroupId, IdentityId, Seq};

/// Something that open streams or sessions have to know. Of logs only where they end: what is new is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A group's log has more entries than before.
    Group {
        group: GroupId,
        head: Seq,
        /// Who may read it has changed, too.
        roster: bool,
    },
    /// A device's inbox has.
    Inbox { device: DeviceId, head: Seq },
    /// An account has these devices now, and no other.
    Devices { identity: IdentityId, devices: Vec<DeviceId> },
    /// There is no such account any more.
    Purged { identity: IdentityId },
}

/// Called by the store after every commit that changed something, before anybody is answered, in the order of the changes;
/// also when nobody waits for the answer any more. It must be quick and must not call the store.
pub type OnCommit = Arc<dyn Fn(&[Change]) + Send + Sync>;

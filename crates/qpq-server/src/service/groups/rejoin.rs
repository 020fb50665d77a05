//! Coming back: what a device of a member needs for an external commit.

use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{RejoinInfo, Stay};
use qpq_proto::ids::GroupId;

use crate::service::{Caller, Service, refuse};

impl Service {
    /// The group info and tree of the current epoch, for any device of an identity that is in the group.
    pub async fn rejoin_info(&self, caller: &Caller, id: GroupId) -> Result<RejoinInfo, Refusal> {
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        // In the group's turn, so that info and tree are of one epoch.
        let held = self.groups.hold(id).await;
        let back = self.store.way_back(id, caller.identity).await?.ok_or_else(refuse::no_such_group)?;
        let group_info = back.group_info.ok_or_else(|| {
            Refusal::new(Code::NotFound, "nobody has changed the group since the server was updated; any change helps")
        })?;
        let held = self.bring_to(held, id, back.head.epoch).await?;
        let ratchet_tree = self.tree_of(held).await?.to_vec();
        Ok(RejoinInfo { group_info, ratchet_tree, leaving: back.leaving.into_iter().collect() })
    }

    /// The groups that the caller's identity is in.
    pub async fn memberships(&self, caller: &Caller) -> Result<Vec<Stay>, Refusal> {
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        Ok(self.store.groups_of(caller.identity, caller.device).await?)
    }
}

//! Ratchet trees, as of any epoch that is still kept: joiners need the one that their Welcome leads into.

use std::sync::Arc;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::{Epoch, GroupId};
use qpq_proto::mutation::{Mutation, is_on};
use tls_codec::Serialize as _;

use super::cache::Held;
use crate::service::{Caller, Service, refuse};

impl Service {
    /// The encoded ratchet tree at `epoch`, for devices that are or were in the group.
    pub async fn tree(&self, caller: &Caller, id: GroupId, epoch: Epoch) -> Result<Arc<[u8]>, Refusal> {
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        let standing = self.store.standing(id, caller.device, None).await?.ok_or_else(refuse::no_such_group)?;
        if !standing.was_member {
            return Err(refuse::no_such_group());
        }
        let epoch = if is_on(Mutation::NewestTree) { standing.head.epoch } else { epoch };
        if epoch > standing.head.epoch {
            return Err(Refusal::new(Code::NotFound, "the group has not come to that epoch yet"));
        }
        if let Some(tree) = self.groups.trees.get(&(id, epoch)) {
            return Ok(tree);
        }
        let held = self.groups.hold(id).await;
        // Somebody else may have had the same wish.
        if let Some(tree) = self.groups.trees.get(&(id, epoch)) {
            return Ok(tree);
        }
        let is_past = held.as_ref().is_some_and(|tracked| tracked.epoch() > epoch);
        let tree = if is_past {
            // The group in memory stays where it is; the past is rebuilt beside it, in this group's turn.
            let past = Arc::new(tokio::sync::Mutex::new(None)).lock_owned().await;
            self.tree_of(self.bring_to(past, id, epoch).await?).await?
        } else {
            self.tree_of(self.bring_to(held, id, epoch).await?).await?
        };
        self.groups.trees.insert((id, epoch), tree.clone());
        Ok(tree)
    }

    pub(super) async fn tree_of(&self, held: Held) -> Result<Arc<[u8]>, Refusal> {
        let encoded = self
            .pool
            .run(move || held.as_ref().map(|tracked| tracked.group.export_ratchet_tree().tls_serialize_detached()))
            .await?;
        match encoded {
            Some(Ok(tree)) => Ok(tree.into()),
            Some(Err(_)) | None => Err(refuse::internal("a ratchet tree cannot be encoded")),
        }
    }
}

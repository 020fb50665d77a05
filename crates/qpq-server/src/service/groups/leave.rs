//! Leaving: a signed wish, after which the leaver is out; somebody else commits the removal.

use openmls_rust_crypto::RustCrypto;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{GroupKind, PostOutcome};
use qpq_proto::ids::{ContentHash, Epoch, GroupId};
use qpq_proto::limits;
use qpq_trust::{commit, group};

use crate::service::{Caller, Service, refuse};
use crate::store::group::{NewLeave, PostResult};

impl Service {
    /// Ends the caller's membership. Repeating it gives the same answer.
    pub async fn leave(
        &self,
        caller: &Caller,
        id: GroupId,
        epoch: Epoch,
        proposal: Vec<u8>,
    ) -> Result<PostOutcome, Refusal> {
        if proposal.len() > limits::POST {
            return Err(refuse::too_large("a proposal", limits::POST));
        }
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        let hash = ContentHash::of(&proposal);
        let held = self.groups.hold(id).await;
        let standing = self.store.standing(id, caller.device, Some(hash)).await?.ok_or_else(refuse::no_such_group)?;
        match (standing.was_member, standing.known) {
            (true, Some(seq)) => return Ok(PostOutcome::Accepted(seq)),
            (true, None) if standing.is_member => {}
            (_, _) => return Err(refuse::no_such_group()),
        }
        if standing.head.epoch != epoch {
            return Ok(PostOutcome::StaleEpoch(standing.head));
        }
        let held = self.bring_to(held, id, epoch).await?;
        // The lock on the group is held until the store has answered.
        let (_held, checked) = self
            .pool
            .run(move || {
                let checked = match held.as_ref() {
                    Some(tracked) => commit::process_leave(&RustCrypto::default(), &tracked.group, &proposal)
                        .and_then(|leaver| Ok((leaver, group::state(&tracked.group)?.kind, proposal)))
                        .map_err(refuse::untrusted),
                    None => Err(refuse::internal("a held group is empty")),
                };
                (held, checked)
            })
            .await?;
        let (leaver, kind, payload) = checked?;
        if leaver.id.device != caller.device {
            return Err(Refusal::new(Code::Forbidden, "a device leaves for itself only"));
        }
        if kind == GroupKind::Direct {
            return Err(Refusal::new(Code::Forbidden, "nobody leaves a direct conversation"));
        }
        let leave = NewLeave { group: id, sender: caller.device, epoch, hash, payload };
        match self.store.leave(leave, self.clock.now()).await? {
            PostResult::Accepted(seq) => Ok(PostOutcome::Accepted(seq)),
            PostResult::StaleEpoch(head) => Ok(PostOutcome::StaleEpoch(head)),
            PostResult::NotMember => Err(refuse::no_such_group()),
            PostResult::BlobMissing => Err(refuse::internal("a proposal refers to a file")),
            PostResult::Quota(limit) => Err(refuse::quota(limit)),
        }
    }
}

//! Commits: one wins its epoch, everybody else learns where the group stands.

use std::collections::BTreeSet;

use openmls::group::{PublicGroup, StagedCommit};
use openmls_rust_crypto::RustCrypto;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{Commit, CommitOutcome, GroupKind};
use qpq_proto::ids::{ContentHash, DeviceId, GroupId};
use qpq_trust::TrustError;
use qpq_trust::commit::{self, CommitReview};
use qpq_trust::{group, group_info};

use super::cache::{Held, Tracked};
use super::public::State;
use super::welcomes;
use crate::service::{Caller, Service, refuse};
use crate::store::group::{CommitResult, NewCommit};

impl Service {
    /// Ends the group's epoch with this commit, unless another one has. Repeating it gives the same answer.
    pub async fn commit(&self, caller: &Caller, id: GroupId, new: Commit) -> Result<CommitOutcome, Refusal> {
        let outcome = self.try_commit(caller, id, new).await;
        let label = match &outcome {
            Ok(CommitOutcome::Accepted(_)) => "accepted",
            Ok(CommitOutcome::Superseded(_)) => "superseded",
            Err(_) => "refused",
        };
        self.metrics.commits.with_label_values(&[label]).inc();
        outcome
    }

    async fn try_commit(&self, caller: &Caller, id: GroupId, new: Commit) -> Result<CommitOutcome, Refusal> {
        self.check_commit_size(&new)?;
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        let hash = ContentHash::of(&new.commit);
        let held = self.groups.hold(id).await;
        let standing = self.store.standing(id, caller.device, Some(hash)).await?.ok_or_else(refuse::no_such_group)?;
        let is_external = commit::is_external(&new.commit);
        let may_know =
            if is_external { self.store.way_back(id, caller.identity).await?.is_some() } else { standing.was_member };
        if !may_know {
            return Err(refuse::no_such_group());
        }
        if let Some(seq) = standing.known {
            return Ok(CommitOutcome::Accepted(seq));
        }
        if !standing.is_member && !is_external {
            return Err(Refusal::new(Code::Forbidden, "this device is no longer in the group"));
        }
        // Whoever comes in does not read what was posted before, and has to know who is to be removed.
        let knows_leavers = !is_external || standing.leaving == new.leaving.iter().copied().collect();
        if standing.head.epoch != new.expected_epoch || !knows_leavers {
            return Ok(CommitOutcome::Superseded(standing.head));
        }

        let held = self.bring_to(held, id, standing.head.epoch).await?;
        let (mut held, reviewed) = self
            .pool
            .run(move || {
                let reviewed = match held.as_ref() {
                    Some(tracked) => review(&tracked.group, &new, &standing.leaving).map(|reviewed| (reviewed, new)),
                    None => Err(refuse::internal("a held group is empty")),
                };
                (held, reviewed)
            })
            .await?;
        let (Some((staged, review)), new) = reviewed? else {
            // Its sender has not seen that somebody left: what the log holds comes first.
            return Ok(CommitOutcome::Superseded(standing.head));
        };
        if review.committer.id.device != caller.device {
            return Err(Refusal::new(Code::Forbidden, "a device submits its own commits only"));
        }
        self.check_listed(&review.added).await?;
        welcomes::check(&review, &new.welcomes)?;

        let bytes = new.commit.len();
        let record = accepted_record(id, hash, new, &staged, &review);
        match self.store.commit(record, self.clock.now()).await? {
            CommitResult::Accepted(seq) => {
                if let Some(tracked) = held.as_mut() {
                    tracked.replay_bytes += bytes;
                }
                self.merge(held, id, staged).await;
                tracing::debug!(group = %id.short(), %seq, "commit accepted");
                Ok(CommitOutcome::Accepted(seq))
            }
            CommitResult::Superseded(head) => Ok(CommitOutcome::Superseded(head)),
            CommitResult::NotMember => Err(refuse::no_such_group()),
            CommitResult::Quota(limit) => Err(refuse::quota(limit)),
        }
    }

    /// Takes over in memory what the store has accepted, and writes a snapshot when it is time for one. The commit stands
    /// whatever becomes of this: a group that is behind is brought forward when it is needed.
    pub(super) async fn merge(&self, mut held: Held, id: GroupId, staged: StagedCommit) {
        let merged = self
            .pool
            .run(move || {
                let merged = held.as_mut().map(|tracked| tracked.group.merge_commit(&State::default(), staged));
                // The store is right; what cannot be merged is loaded again.
                if let Some(Err(_)) = merged {
                    *held = None;
                }
                held
            })
            .await;
        let Ok(held) = merged else { return };
        self.groups.weigh(id, &held);
        if held.as_ref().is_some_and(Tracked::is_snapshot_due) {
            // If it cannot be written now, the next commit tries again.
            if let Err(refusal) = self.write_snapshot(held, id).await {
                tracing::warn!(group = %id.short(), %refusal, "no snapshot was written");
            }
        }
    }

    pub(super) fn check_commit_size(&self, new: &Commit) -> Result<(), Refusal> {
        let most = self.options.limits.max_commit.0;
        if new.commit.len() > most || new.group_info.len() > most {
            return Err(refuse::too_large("limits.max_commit", most));
        }
        Ok(())
    }
}

type Reviewed = (StagedCommit, CommitReview);

/// None when those who left have to be removed first.
fn review(public: &PublicGroup, new: &Commit, leaving: &BTreeSet<DeviceId>) -> Result<Option<Reviewed>, Refusal> {
    let crypto = RustCrypto::default();
    let (staged, review) = match commit::process(&crypto, public, &new.commit, leaving) {
        Ok(reviewed) => reviewed,
        Err(TrustError::LeaversRemain) => return Ok(None),
        Err(error) => return Err(refuse::untrusted(error)),
    };
    group_info::check(&crypto, public, &new.commit, &staged, &review, &new.group_info).map_err(refuse::untrusted)?;
    if review.before.kind == GroupKind::Direct {
        let roster = group::roster(public).map_err(refuse::untrusted)?;
        let is_stranger = |identity| !roster.iter().any(|leaf| leaf.id.identity == identity);
        if review.added.iter().any(|leaf| is_stranger(leaf.id.identity)) {
            return Err(Refusal::new(Code::Forbidden, "nobody can be added to a direct conversation"));
        }
    }
    Ok(Some((staged, review)))
}

/// What the store has to know of a commit that passed every check.
pub(super) fn accepted_record(
    group: GroupId,
    hash: ContentHash,
    new: Commit,
    staged: &StagedCommit,
    review: &CommitReview,
) -> NewCommit {
    let added = |device| review.added.iter().any(|leaf| leaf.id.device == device);
    NewCommit {
        group,
        epoch: new.expected_epoch,
        hash,
        payload: new.commit,
        committer: welcomes::record(&review.committer),
        joins: review.added.iter().map(welcomes::record).collect(),
        removes: review.removed.iter().map(|leaf| leaf.id.device).filter(|device| !added(*device)).collect(),
        welcomes: new.welcomes,
        group_info: new.group_info,
        context: review.context,
        is_external: review.is_external,
        replayable_until: welcomes::replayable_until(staged),
    }
}

//! New groups, with their first members at once.

use std::collections::BTreeSet;

use openmls::group::{PublicGroup, StagedCommit};
use openmls_rust_crypto::RustCrypto;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{CreateOutcome, GroupKind, NewGroup};
use qpq_proto::ids::{ContentHash, Epoch, GroupId, IdentityId};
use qpq_trust::commit::{self, CommitReview};
use qpq_trust::credential::Leaf;
use qpq_trust::{TrustError, group, group_info};

use super::cache::Tracked;
use super::public::{self, State};
use super::{commit::accepted_record, welcomes};
use crate::service::{Caller, Service, refuse};
use crate::store::group::{CreateResult, NewGroupRecord};

impl Service {
    /// Creates a group, or names the direct conversation that these two already have. Repeating it gives the same answer.
    pub async fn create_group(&self, caller: &Caller, new: NewGroup) -> Result<CreateOutcome, Refusal> {
        self.check_creation_size(&new)?;
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        let request = request_hash(&new);
        let (new, checked) = self.pool.run(move || (check(&new), new)).await.map(|(checked, new)| (new, checked))?;
        let checked = checked.map_err(refuse::untrusted)?;
        if checked.creator.id.device != caller.device {
            return Err(Refusal::new(Code::Forbidden, "a device creates groups in its own name only"));
        }
        let added = checked.first.as_ref().map_or(&[][..], |(_, review)| &review.added);
        self.check_listed(&[&[checked.creator], added].concat()).await?;
        let pair = match checked.kind {
            GroupKind::Group => None,
            GroupKind::Direct => Some(pair_of(checked.creator.id.identity, added)?),
        };

        let Checked { id, creator, tracked, state, context, first, .. } = checked;
        let mut staged = None;
        let first = match (new.first, first) {
            (Some(commit), Some((first, review))) => {
                welcomes::check(&review, &commit.welcomes)?;
                let record = accepted_record(id, ContentHash::of(&commit.commit), commit, &first, &review);
                staged = Some((first, record.payload.len()));
                Some(record)
            }
            (Some(_), None) | (None, _) => None,
        };
        let creator = welcomes::record(&creator);
        let record =
            NewGroupRecord { group: id, request, creator, pair, state, group_info: new.group_info, context, first };
        let mut held = self.groups.hold(id).await;
        match self.store.create_group(record, self.clock.now()).await? {
            CreateResult::Created(first) => {
                // After a repetition the group may be further on; it is brought forward when it is needed.
                if held.is_none() {
                    *held = Some(tracked);
                    if let (Some((staged, bytes)), Some(tracked)) = (staged, held.as_mut()) {
                        tracked.replay_bytes += bytes;
                        self.merge(held, id, staged).await;
                    }
                }
                tracing::debug!(group = %id.short(), "group created");
                Ok(CreateOutcome::Created { first })
            }
            CreateResult::Exists(existing) => Ok(CreateOutcome::Exists(existing)),
            CreateResult::Taken => Err(Refusal::new(Code::Invalid, "a group has this id already")),
            CreateResult::Quota(limit) => Err(refuse::quota(limit)),
        }
    }

    fn check_creation_size(&self, new: &NewGroup) -> Result<(), Refusal> {
        let most = self.options.limits.max_commit.0;
        if new.group_info.len() > most || new.ratchet_tree.len() > most {
            return Err(refuse::too_large("limits.max_commit", most));
        }
        new.first.as_ref().map_or(Ok(()), |first| self.check_commit_size(first))
    }
}

/// A new group that passed every check that needs no store.
struct Checked {
    id: GroupId,
    kind: GroupKind,
    creator: Leaf,
    tracked: Tracked,
    state: Vec<u8>,
    context: u64,
    first: Option<(StagedCommit, CommitReview)>,
}

fn check(new: &NewGroup) -> Result<Checked, TrustError> {
    let crypto = RustCrypto::default();
    let group: PublicGroup = group::new_public_group(&crypto, &State::default(), new)?;
    let [creator] = group::roster(&group)?[..] else {
        return Err(TrustError::Forbidden("a group begins with its creator alone"));
    };
    let first = match &new.first {
        Some(first) if first.expected_epoch != Epoch(0) => {
            return Err(TrustError::Forbidden("the first commit ends epoch 0"));
        }
        Some(first) => {
            let (staged, review) = commit::process(&crypto, &group, &first.commit, &BTreeSet::new())?;
            group_info::check(&crypto, &group, &first.commit, &staged, &review, &first.group_info)?;
            Some((staged, review))
        }
        None => None,
    };
    let state = public::encode(&crypto, &group).map_err(TrustError::mls)?;
    Ok(Checked {
        id: group::id(&group)?,
        kind: group::state(&group)?.kind,
        creator,
        context: group::lineage(group.group_context())?.context,
        tracked: Tracked { group, snapshot_bytes: state.len(), replay_bytes: 0 },
        state,
        first,
    })
}

/// Names a pair of identities in whatever order; the same one twice is a notepad.
fn pair_of(creator: IdentityId, added: &[Leaf]) -> Result<[u8; 32], Refusal> {
    let mut identities: BTreeSet<IdentityId> = added.iter().map(|leaf| leaf.id.identity).collect();
    identities.insert(creator);
    let mut ids = identities.iter();
    match (ids.next(), ids.next(), ids.next()) {
        (Some(one), other, None) => Ok(ContentHash::of(&[&one.0[..], &other.unwrap_or(one).0[..]].concat()).0),
        (_, _, _) => Err(Refusal::new(Code::Invalid, "a direct conversation is between two, or with oneself")),
    }
}

/// Over everything that makes it the same request; Welcomes are sealed anew each time.
fn request_hash(new: &NewGroup) -> ContentHash {
    let first = new.first.as_ref().map_or(&[][..], |first| &first.commit);
    let parts = [&new.group_info[..], &new.ratchet_tree, first].map(|part| ContentHash::of(part).0);
    ContentHash::of(&parts.concat())
}

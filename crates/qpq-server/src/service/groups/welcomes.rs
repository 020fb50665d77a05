//! What a commit needs besides itself: the devices that it adds are listed by their owners, and each gets its Welcome.

use std::collections::BTreeSet;

use openmls::group::StagedCommit;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::SealedWelcome;
use qpq_proto::ids::DeviceId;
use qpq_proto::time::Timestamp;
use qpq_trust::TrustError;
use qpq_trust::commit::CommitReview;
use qpq_trust::credential::Leaf;

use crate::service::{Service, refuse};
use crate::store::group::MemberRecord;

impl Service {
    /// The newest manifest of its identity lists the device of every leaf; the device's id names its key.
    pub(super) async fn check_listed(&self, leaves: &[Leaf]) -> Result<(), Refusal> {
        let devices: Vec<_> = leaves.iter().map(record).collect();
        if devices.is_empty() || self.store.are_listed(devices).await? {
            Ok(())
        } else {
            Err(refuse::untrusted(TrustError::UnlistedDevice))
        }
    }
}

/// Exactly one Welcome for each added device; who comes from outside needs none.
pub fn check(review: &CommitReview, welcomes: &[SealedWelcome]) -> Result<(), Refusal> {
    let added = if review.is_external { &[][..] } else { &review.added };
    let expected: BTreeSet<DeviceId> = added.iter().map(|leaf| leaf.id.device).collect();
    let given: BTreeSet<DeviceId> = welcomes.iter().map(|welcome| welcome.device).collect();
    if expected != given || welcomes.len() != given.len() {
        return Err(Refusal::new(
            Code::Invalid,
            "a commit comes with exactly one Welcome for each device that it adds",
        ));
    }
    Ok(())
}

pub fn record(leaf: &Leaf) -> MemberRecord {
    MemberRecord { device: leaf.id.device, identity: leaf.id.identity }
}

/// When the first of the key packages in a commit expires.
pub fn replayable_until(staged: &StagedCommit) -> Option<Timestamp> {
    staged
        .add_proposals()
        .map(|add| Timestamp(add.add_proposal().key_package().life_time().not_after().saturating_mul(1000)))
        .min()
}

/// The group's past does not reach back that far.
pub fn gone() -> Refusal {
    Refusal::new(Code::NotFound, "the state of that epoch is no longer kept")
}

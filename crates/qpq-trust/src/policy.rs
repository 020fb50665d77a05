//! Roles and rules, as predicates over plain values.

use std::collections::BTreeSet;

use qpq_proto::groups::{GroupKind, GroupState, Who};
use qpq_proto::ids::{DeviceId, IdentityId};

use crate::credential::LeafId;
use crate::error::TrustError;

/// What one commit does, in the terms of the rules.
pub struct Change<'a> {
    pub committer: LeafId,
    /// Identities that have a leaf before the commit.
    pub members: &'a BTreeSet<IdentityId>,
    /// Devices that posted a signed wish to leave.
    pub leaving: &'a BTreeSet<DeviceId>,
    pub added: &'a [LeafId],
    pub removed: &'a [LeafId],
    pub before: &'a GroupState,
    pub after: &'a GroupState,
    /// The committer comes from outside, as a device of a member.
    pub is_external: bool,
}

/// Whether the rules of the group, as they were before the commit, allow it.
///
/// # Errors
/// [`TrustError::Forbidden`] with the rule that it breaks.
pub fn check(change: &Change<'_>) -> Result<(), TrustError> {
    let Change { committer, members, leaving, added, removed, before, after, is_external } = change;
    let who = committer.identity;
    let own = |leaf: &&LeafId| leaf.identity == who;
    if *is_external {
        return check_external(change);
    }

    let otherwise_the_same = GroupState { expires_after: before.expires_after, ..(*after).clone() };
    if before.kind == GroupKind::Direct && **before != otherwise_the_same {
        return Err(TrustError::Forbidden("a direct conversation has no name, roles or rules to change"));
    }
    if !added.is_empty() && leaving.iter().any(|device| !removed.iter().any(|leaf| leaf.device == *device)) {
        return Err(TrustError::LeaversRemain);
    }
    let strangers: BTreeSet<_> = added.iter().map(|leaf| leaf.identity).filter(|who| !members.contains(who)).collect();
    // Its only addition is that of the other one, at its creation.
    if before.kind == GroupKind::Direct && !strangers.is_empty() && (members.len() != 1 || strangers.len() != 1) {
        return Err(TrustError::Forbidden("nobody can be added to a direct conversation"));
    }
    if !added.iter().all(|leaf| own(&leaf)) && before.kind == GroupKind::Group && !may(before, before.add, members, who)
    {
        return Err(TrustError::Forbidden("only admins may add members to this group"));
    }
    for leaf in removed.iter().filter(|leaf| !own(leaf) && !leaving.contains(&leaf.device)) {
        if before.kind == GroupKind::Direct {
            return Err(TrustError::Forbidden("nobody can be removed from a direct conversation"));
        }
        let admin_removed = is_admin(before, members, leaf.identity) && !before.admins.is_empty();
        let needed = if admin_removed { Who::Admins } else { before.remove };
        if !may(before, needed, members, who) {
            return Err(TrustError::Forbidden("only admins may remove members from this group"));
        }
    }
    check_state(before, after, members, who)
}

/// A device comes back, or a new one of a member comes in: for itself alone, changing nothing else. Whoever has asked to
/// leave does not come back by this door.
fn check_external(change: &Change<'_>) -> Result<(), TrustError> {
    let Change { committer, members, leaving, added, removed, before, after, .. } = change;
    let alone = **added == [*committer] && removed.iter().all(|leaf| leaf == committer) && before == after;
    if !members.contains(&committer.identity) || leaving.contains(&committer.device) || !alone {
        return Err(TrustError::Forbidden("from outside, only a device of a member may come in, and only by itself"));
    }
    Ok(())
}

/// Whether `identity` may do what `needed` says. A group whose admins have all left belongs to its members: otherwise
/// nobody could ever manage it again.
pub fn may(state: &GroupState, needed: Who, members: &BTreeSet<IdentityId>, identity: IdentityId) -> bool {
    match needed {
        Who::Members => members.contains(&identity),
        Who::Admins => is_admin(state, members, identity),
    }
}

/// Whether `identity` counts as an admin of the group.
pub fn is_admin(state: &GroupState, members: &BTreeSet<IdentityId>, identity: IdentityId) -> bool {
    let orphaned = !state.admins.iter().any(|admin| members.contains(admin));
    members.contains(&identity) && (orphaned || state.admins.contains(&identity))
}

fn check_state(
    before: &GroupState,
    after: &GroupState,
    members: &BTreeSet<IdentityId>,
    who: IdentityId,
) -> Result<(), TrustError> {
    if before.kind != after.kind {
        return Err(TrustError::Forbidden("the kind of a group never changes"));
    }
    let renamed = before.name != after.name || before.name_key != after.name_key;
    if renamed && !may(before, before.rename, members, who) {
        return Err(TrustError::Forbidden("only admins may rename this group"));
    }
    if before.expires_after != after.expires_after && !may(before, before.rename, members, who) {
        return Err(TrustError::Forbidden("only admins may change how long messages stay in this group"));
    }
    let rules_changed = (before.add, before.remove, before.rename) != (after.add, after.remove, after.rename)
        || before.admins != after.admins;
    if rules_changed && !is_admin(before, members, who) {
        return Err(TrustError::Forbidden("only admins may change roles and rules"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: u8) -> LeafId {
        LeafId { identity: IdentityId([number; 32]), device: DeviceId([number; 16]) }
    }

    fn group(admins: &[u8], who: Who) -> GroupState {
        GroupState {
            kind: GroupKind::Group,
            admins: admins.iter().map(|number| IdentityId([*number; 32])).collect(),
            add: who,
            remove: Who::Admins,
            rename: who,
            name: vec![],
            name_key: vec![],
            expires_after: None,
        }
    }

    /// Members 1, 2 and 3; 3 is leaving.
    fn outcome(committer: u8, added: &[u8], removed: &[u8], before: &GroupState, after: &GroupState) -> bool {
        let members = (1..=3).map(|number| IdentityId([number; 32])).collect();
        let leaves = |numbers: &[u8]| numbers.iter().map(|number| leaf(*number)).collect::<Vec<_>>();
        check(&Change {
            committer: leaf(committer),
            members: &members,
            leaving: &BTreeSet::from([DeviceId([3; 16])]),
            added: &leaves(added),
            removed: &leaves(removed),
            before,
            after,
            is_external: false,
        })
        .is_ok()
    }

    #[test]
    fn from_outside_devices_of_members_come_in_by_themselves() {
        let state = group(&[1], Who::Admins);
        let members: BTreeSet<_> = [1, 3].map(|number| IdentityId([number; 32])).into();
        let outcome = |committer: LeafId, added: &[LeafId], removed: &[LeafId], after: &GroupState| {
            let leaving = BTreeSet::from([DeviceId([3; 16])]);
            let (members, before, is_external) = (&members, &state, true);
            check(&Change { committer, members, leaving: &leaving, added, removed, before, after, is_external }).is_ok()
        };
        let sibling = LeafId { identity: IdentityId([1; 32]), device: DeviceId([7; 16]) };
        assert!(outcome(leaf(1), &[leaf(1)], &[leaf(1)], &state));
        assert!(outcome(sibling, &[sibling], &[], &state));
        assert!(!outcome(leaf(2), &[leaf(2)], &[], &state), "a stranger");
        assert!(!outcome(leaf(3), &[leaf(3)], &[leaf(3)], &state), "a leaver");
        assert!(!outcome(sibling, &[sibling], &[leaf(1)], &state), "somebody else's leaf");
        assert!(!outcome(leaf(1), &[leaf(1)], &[], &GroupState { name: vec![1], ..state.clone() }));
    }

    #[test]
    fn roles_decide() {
        let open = group(&[1], Who::Members);
        let closed = group(&[1], Who::Admins);
        assert!(outcome(2, &[9], &[3], &open, &open));
        assert!(!outcome(2, &[9], &[3], &closed, &closed));
        assert!(outcome(1, &[9], &[3], &closed, &closed));
        assert!(!outcome(1, &[9], &[], &closed, &closed), "nobody is added before the leavers are gone");
        assert!(outcome(1, &[], &[2], &open, &open));
        assert!(!outcome(2, &[], &[1], &open, &open));
        assert!(outcome(2, &[], &[3], &closed, &closed), "anybody may remove a leaver");
        assert!(outcome(2, &[2], &[2, 3], &closed, &closed), "own devices are one's own business");
    }

    #[test]
    fn names_and_roles_have_rules() {
        let open = group(&[1], Who::Members);
        let renamed = GroupState { name: vec![1], ..open.clone() };
        assert!(outcome(2, &[], &[], &open, &renamed));
        let closed = group(&[1], Who::Admins);
        assert!(!outcome(2, &[], &[], &closed, &GroupState { name: vec![1], ..closed.clone() }));
        let promoted = group(&[1, 2], Who::Members);
        assert!(outcome(1, &[], &[], &open, &promoted));
        assert!(!outcome(2, &[], &[], &open, &promoted));
        let direct = GroupState { kind: GroupKind::Direct, ..open.clone() };
        assert!(!outcome(1, &[], &[], &open, &direct));
    }

    #[test]
    fn a_group_without_admins_belongs_to_its_members() {
        let orphaned = group(&[9], Who::Admins);
        assert!(outcome(2, &[8], &[3], &orphaned, &orphaned));
        assert!(outcome(2, &[], &[], &orphaned, &group(&[2], Who::Admins)));
    }

    #[test]
    fn direct_conversations_stay_as_they_are() {
        let direct = GroupState { kind: GroupKind::Direct, ..group(&[], Who::Members) };
        assert!(!outcome(1, &[9], &[3], &direct, &direct));
        assert!(!outcome(1, &[], &[2], &direct, &direct));
        assert!(!outcome(1, &[], &[], &direct, &GroupState { name: vec![1], ..direct.clone() }));
        assert!(outcome(1, &[], &[], &direct, &direct), "a self-update is fine");
    }
}

//! Commits and leaves in a group's log.

use std::collections::BTreeSet;
use std::time::Duration;

use openmls::group::MlsGroup;
use openmls::prelude::{ProcessedMessageContent, Sender};
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{ContentHash, DeviceId, GroupId, IdentityId};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::Entry;
use qpq_trust::TrustError;
use qpq_trust::commit::{CommitReview, read_handshake, review, review_leave, state_updates};
use qpq_trust::credential::Leaf;
use qpq_trust::manifest::Manifest;

use super::ctx::Ctx;
use super::directory::Standing;
use super::log::{Taken, is_of_an_earlier_stay, process};
use crate::crypto::group_name;
use crate::error::Error;
use crate::mls::{Provider, group};
use crate::request::{Purpose, Request};
use crate::store::rows::{EventRowKind, GroupRow, OutboxRow, Row as _, WishKind, WishRow};

impl Ctx<'_> {
    pub(super) fn commit_entry(&mut self, row: &mut GroupRow, entry: &Entry) -> Result<Taken, Error> {
        let leaving: BTreeSet<_> = row.leaving.iter().copied().collect();
        let own = row.pending.filter(|pending| pending.hash == ContentHash::of(&entry.payload));
        let mut mls = self.take_mls(row.group)?;
        let provider = Provider::new(self.crypto, &mut *self.store);
        if let Some(pending) = own {
            let staged = mls.pending_commit().ok_or_else(|| Error::Mls("the pending commit is missing".into()))?;
            let sender = Sender::Member(mls.own_leaf_index());
            let review = review(mls.public_group(), &sender, staged, &leaving)?;
            let name_key = new_name_key(&provider, &mls, row.group, &review)?;
            mls.merge_pending_commit(&provider).map_err(Error::mls)?;
            self.keep_mls(row.group, mls);
            row.pending = None;
            self.committed(row, &review, name_key)?;
            row.save(self.store)?;
            if let Some(wish) = WishRow::load(self.store, &pending.wish)? {
                self.remember_change(row.group, entry.seq, &wish.kind)?;
            }
            self.forget_request(pending.request)?;
            self.settle_reference(pending.wish, Ok(()))?;
            return Ok(Taken::Done);
        }
        let message = read_handshake(&entry.payload)?;
        if is_of_an_earlier_stay(row, &message) {
            self.keep_mls(row.group, mls);
            return Ok(Taken::Done);
        }
        let mut processed = process(&provider, &mut mls, message)?;
        if let ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) = processed.content() {
            let updates = state_updates(mls.app_data_dictionary_updater(), unresolved.app_data_update_proposals())?;
            processed = mls.resolve_app_data_commit(&provider, processed, updates).map_err(Error::mls)?;
        }
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(Error::BadInput("an entry of another kind than it says".into()));
        };
        let review = review(mls.public_group(), &sender, &staged, &leaving)?;
        let name_key = new_name_key(&provider, &mls, row.group, &review)?;
        // A device that its identity does not list has a leaf at most, never a say.
        if self.standing(&review.committer)? == Standing::Unlisted {
            return Err(TrustError::UnlistedDevice.into());
        }
        self.check_leaves(row, &review.added)?;
        if !row.awaiting.is_empty() {
            // The staged commit is dropped; it changed nothing and is processed again when the answers are there.
            self.keep_mls(row.group, mls);
            return Ok(Taken::Waits);
        }
        let over = staged.self_removed();
        if over && review.committer.id.device == self.account.device {
            // It came back by a commit whose keys it does not have any more.
            return Err(Error::BadInput("this device came back, and has forgotten how".into()));
        }
        let provider = Provider::new(self.crypto, &mut *self.store);
        mls.merge_staged_commit(&provider, *staged).map_err(Error::mls)?;
        self.keep_mls(row.group, mls);
        if let Some(pending) = row.pending.take_if(|_| !is_on(Mutation::KeepLostCommit)) {
            // Another commit ended the epoch first: the wish is tried again in the next one.
            row.save(self.store)?;
            self.forget_request(pending.request)?;
        }
        self.committed(row, &review, name_key)?;
        if over && review.committer.id.identity == self.account.identity {
            // Another device of this identity leaves, with all of them.
            return Ok(Taken::Left);
        }
        if over {
            self.event(Some(row.conversation), EventRowKind::Removed { by: review.committer.id.identity })?;
            return Ok(Taken::Over);
        }
        Ok(Taken::Done)
    }

    /// The news of a commit that was merged.
    fn committed(
        &mut self,
        row: &mut GroupRow,
        review: &CommitReview,
        name_key: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        let by = review.committer.id.identity;
        let identities = |leaves: &[Leaf]| leaves.iter().map(|leaf| leaf.id.identity).collect::<BTreeSet<IdentityId>>();
        let (added, removed) = (identities(&review.added), identities(&review.removed));
        let staying = self.device_news(row, review)?;
        // From outside only devices of members come in.
        let is_news = row.kind == GroupKind::Group && !review.is_external;
        for who in added.difference(&removed).filter(|who| is_news && !staying.contains(who)) {
            self.event(Some(row.conversation), EventRowKind::MemberAdded { who: *who, by })?;
        }
        let announced = |who: &IdentityId| {
            review.removed.iter().any(|leaf| leaf.id.identity == *who && row.leaving.contains(&leaf.id.device))
        };
        let me = self.account.identity;
        for who in removed.difference(&added).filter(|who| **who != me && !announced(who) && !staying.contains(who)) {
            self.event(Some(row.conversation), EventRowKind::MemberRemoved { who: *who, by })?;
        }
        row.leaving.retain(|device| !review.removed.iter().any(|leaf| leaf.id.device == *device));
        if review.after.name != review.before.name {
            if let Some(key) = name_key {
                row.name_key = key;
            }
            row.name = group_name::open_name(&row.name_key, row.group, &review.after.name).unwrap_or_default();
            self.event(Some(row.conversation), EventRowKind::Renamed { by, name: row.name.clone() })?;
        }
        if review.after.expires_after != review.before.expires_after {
            row.expires_after = review.after.expires_after.map(|after| after.as_millis() as u64);
            let after = row.expires_after;
            self.event(Some(row.conversation), EventRowKind::ExpiryChanged { by, after })?;
        }
        let admins = |admins: &[IdentityId]| admins.iter().copied().collect::<BTreeSet<_>>();
        let (before, after) = (admins(&review.before.admins), admins(&review.after.admins));
        for who in before.symmetric_difference(&after) {
            let is_admin = after.contains(who);
            self.event(Some(row.conversation), EventRowKind::RoleChanged { who: *who, by, is_admin })?;
        }
        Ok(())
    }

    /// Devices that came to or went from people who were there before and stay; of one's own the manifest tells. Answers who
    /// those people are.
    fn device_news(&mut self, row: &GroupRow, review: &CommitReview) -> Result<BTreeSet<IdentityId>, Error> {
        let mls = self.take_mls(row.group)?;
        let leaves = group::leaves(&mls);
        self.keep_mls(row.group, mls);
        let is_among = |leaf: &Leaf, some: &[Leaf]| some.iter().any(|other| other.id.device == leaf.id.device);
        let before = leaves.iter().filter(|(_, leaf)| !is_among(leaf, &review.added));
        let staying: BTreeSet<_> = before.map(|(_, leaf)| leaf.id.identity).collect();
        let is_news = |leaf: &&Leaf| leaf.id.identity != self.account.identity && staying.contains(&leaf.id.identity);
        let added: Vec<_> =
            review.added.iter().filter(is_news).filter(|leaf| !is_among(leaf, &review.removed)).collect();
        let gone: Vec<_> =
            review.removed.iter().filter(is_news).filter(|leaf| !is_among(leaf, &review.added)).collect();
        for leaf in added {
            let (who, device) = (leaf.id.identity, leaf.id.device);
            let name = self.device_name(who, device)?;
            self.event(Some(row.conversation), EventRowKind::DeviceAdded { who, device, name })?;
        }
        for leaf in gone.into_iter().filter(|leaf| !row.leaving.contains(&leaf.id.device)) {
            let (who, device) = (leaf.id.identity, leaf.id.device);
            let name = self.device_name(who, device)?;
            self.event(Some(row.conversation), EventRowKind::DeviceRemoved { who, device, name })?;
            // It counts as listed until the newer manifest is known.
            self.request(Request::ByIdentity(who), Purpose::Refresh { wish: None, identity: who })?;
        }
        Ok(staying)
    }

    /// What somebody calls a device; empty when that is not known.
    fn device_name(&mut self, who: IdentityId, device: DeviceId) -> Result<String, Error> {
        let contact = self.contact(who)?;
        let listed = Manifest::restore(&contact.manifest).ok();
        let listed = listed.and_then(|manifest| manifest.device(device).map(|record| record.name.clone()));
        Ok(listed.or_else(|| contact.former.get(&device).cloned()).unwrap_or_default())
    }

    /// Whether this is the own leave, whose answer has not come: the log says as much.
    pub(super) fn own_leave(&mut self, row: &GroupRow, entry: &Entry) -> Result<bool, Error> {
        for request in OutboxRow::all(self.store)? {
            if let (Purpose::Leave { wish, group }, Request::Leave { proposal, .. }) =
                (&request.purpose, &request.request)
                && *group == row.group
                && *proposal == entry.payload
            {
                self.forget_request(request.id)?;
                self.settle_reference(*wish, Ok(()))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Somebody leaves: the one whose leaf comes first removes them at once, the others step in later if that one is
    /// not there.
    pub(super) fn leave_entry(&mut self, row: &mut GroupRow, entry: &Entry) -> Result<Taken, Error> {
        let message = read_handshake(&entry.payload)?;
        if is_of_an_earlier_stay(row, &message) {
            return Ok(Taken::Done);
        }
        let mut mls = self.take_mls(row.group)?;
        let processed = process(&self.provider(), &mut mls, message)?;
        let sender = processed.sender().clone();
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            return Err(Error::BadInput("an entry of another kind than it says".into()));
        };
        let leaver = review_leave(mls.public_group(), &sender, proposal.proposal())?;
        let staying = group::leaves(&mls)
            .into_iter()
            .filter(|(_, leaf)| leaf.id.device != leaver.id.device && !row.leaving.contains(&leaf.id.device));
        let rank = staying.take_while(|(_, leaf)| leaf.id.device != self.account.device).count();
        self.keep_mls(row.group, mls);
        if leaver.id.device == self.account.device {
            // A later state of this device has left.
            return Ok(Taken::Left);
        }
        if row.leaving.contains(&leaver.id.device) {
            return Ok(Taken::Done);
        }
        row.leaving.push(leaver.id.device);
        let who = leaver.id.identity;
        if who == self.account.identity {
            // Another device of this identity has left: this one goes with it.
            self.wish(row.conversation, WishKind::Leave, Duration::ZERO)?;
        } else {
            self.event(Some(row.conversation), EventRowKind::MemberRemoved { who, by: who })?;
        }
        let delay = Duration::from_secs(5) * u32::try_from(rank.min(60)).unwrap_or(60);
        self.leavers_wish(row.conversation, delay)?;
        Ok(Taken::Done)
    }
}

/// The key of a new name, unwrapped with the epoch that the commit was made in.
fn new_name_key(
    provider: &Provider<'_>,
    mls: &MlsGroup,
    id: GroupId,
    review: &CommitReview,
) -> Result<Option<[u8; 32]>, Error> {
    if review.after.name_key == review.before.name_key {
        return Ok(None);
    }
    let exporter = group::name_key_exporter(provider, mls)?;
    // A member who wraps garbage harms the name and nothing else.
    Ok(group_name::unwrap_key(&exporter, id, &review.after.name_key).ok().map(|key| *key))
}

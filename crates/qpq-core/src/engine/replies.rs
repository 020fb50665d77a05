//! Answers of the server to requests in the outbox.

use std::time::Duration;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{CommitOutcome, CreateOutcome, Head, PostOutcome};
use qpq_proto::ids::{ContentHash, GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};

use super::Effect;
use super::ctx::Ctx;
use crate::error::Error;
use crate::mls::group;
use crate::request::{Purpose, Reply, Request};
use crate::store::rows::{
    EventRowKind, GroupRow, JoinRow, OutboxRow, OwnRow, PendingCommit, Row as _, WishKind, WishRef, WishRow,
};
use crate::view::{ConversationId, ConversationState, MessageStatus};

impl Ctx<'_> {
    pub(super) fn reply(&mut self, id: u64, result: Result<Reply, Refusal>) -> Result<(), Error> {
        // The answer to a request that was settled in another way, by the log for instance.
        let Some(row) = OutboxRow::load(self.store, &id)? else { return Ok(()) };
        if let Err(refusal) = &result
            && refusal.code.is_retryable()
        {
            return self.retry_later(row, refusal);
        }
        self.forget_request(id)?;
        match (row.purpose, result) {
            (Purpose::LookUp(name), result) => self.looked_up(name, result),
            (Purpose::Check { identity, device, group }, result) => self.checked(id, identity, device, group, result),
            (Purpose::Claim { wish, identity }, Ok(Reply::Packages(packages))) => {
                self.claimed(wish, identity, packages)
            }
            (Purpose::Create { wish, group }, Ok(Reply::Created(outcome))) => self.created(wish, group, outcome),
            (Purpose::Commit { group, .. }, Ok(Reply::Committed(outcome))) => match outcome {
                CommitOutcome::Accepted(seq) => self.commit_accepted(group, id, seq),
                CommitOutcome::Superseded(head) => self.superseded(group, id, head),
            },
            (Purpose::Post { wish, hash, group }, Ok(Reply::Posted(outcome))) => match outcome {
                PostOutcome::Accepted(seq) => {
                    self.connection.accepted.insert(hash);
                    if let Some(mut own) = OwnRow::load(self.store, &hash)? {
                        own.accepted = Some(seq);
                        own.save(self.store)?;
                    }
                    self.confirm_own(hash, seq, wish.conversation).map(|_| ())
                }
                PostOutcome::StaleEpoch(head) => self.stale_post(hash, group, head),
            },
            (Purpose::Leave { wish, group }, Ok(Reply::Left(outcome))) => self.left(wish, group, outcome),
            (Purpose::Tree { group, epoch }, Ok(Reply::Tree(tree))) => self.join(group, epoch, &tree),
            (Purpose::Tree { group, epoch }, Err(refusal)) => self.join_refused(group, epoch, &refusal),
            (Purpose::RejoinInfo { wish, group }, Ok(Reply::RejoinInfo(info))) => self.come_back(wish, group, &info),
            (Purpose::Rejoin { wish, group }, Ok(Reply::Committed(outcome))) => match outcome {
                CommitOutcome::Accepted(seq) => self.rejoin_accepted(group, seq),
                CommitOutcome::Superseded(_) => self.rejoin_superseded(wish, group),
            },
            (Purpose::RejoinInfo { wish, group } | Purpose::Rejoin { wish, group }, Err(refusal)) => {
                self.rejoin_refused(wish, group, &refusal)
            }
            (Purpose::ComeIn { group, was_in }, Ok(Reply::RejoinInfo(info))) => self.come_in(group, &info, was_in),
            (Purpose::OwnDevices { change }, result) => self.own_devices(change, result),
            (Purpose::UpdateManifest { change }, Ok(Reply::ManifestUpdated { is_superseded })) => match &row.request {
                Request::UpdateManifest(manifest) => self.manifest_updated(change, manifest, is_superseded),
                _ => Ok(()),
            },
            (Purpose::UpdateManifest { change }, Err(refusal)) => self.settle_devices(change, Err(refusal.detail)),
            (Purpose::Refresh { wish, identity }, result) => self.refreshed(wish, identity, result),
            (Purpose::Memberships, Ok(Reply::Memberships(groups))) => self.member_of(groups),
            (Purpose::ComeIn { group, .. }, Err(refusal)) => self.stays_out(group, &refusal),
            (Purpose::Memberships, Err(_)) => Ok(()),
            (Purpose::PublishKeys, Ok(_)) => Ok(()),
            (Purpose::PublishKeys, Err(_)) => {
                self.account.keys_published = None;
                Ok(self.account.save(self.store)?)
            }
            // Siblings without key packages come in by themselves.
            (Purpose::Claim { wish, identity }, Err(_)) if identity == self.account.identity => {
                self.claimed(wish, identity, vec![])
            }
            (purpose, Err(refusal)) => self.refused(&purpose, &refusal),
            (_, Ok(_)) => Err(Error::BadInput("an answer of another kind than the question".into())),
        }
    }

    /// A refusal that time heals: the request stays in the outbox.
    fn retry_later(&mut self, mut row: OutboxRow, refusal: &Refusal) -> Result<(), Error> {
        let backoff = Duration::from_millis(500 << row.attempts.min(7));
        row.attempts += 1;
        row.not_before = self.now.after(refusal.retry_after.unwrap_or(backoff));
        Ok(row.save(self.store)?)
    }

    fn created(&mut self, wish: WishRef, group: GroupId, outcome: CreateOutcome) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        match outcome {
            CreateOutcome::Created { .. } => {
                row.state = ConversationState::Active;
                row.save(self.store)?;
                let mut conversation = self.conversation(wish.conversation)?;
                conversation.group = Some(group);
                conversation.save(self.store)?;
                if let Some(start) = WishRow::load(self.store, &wish)? {
                    self.remember_change(group, Seq(0), &start.kind)?;
                }
                self.subscribe(&row)?;
            }
            CreateOutcome::Exists(existing) if existing == group => {
                // This device made it before, was set back, and has made it again: it comes into the first one.
                self.delete_mls(group)?;
                GroupRow::delete(self.store, &group)?;
                if JoinRow::of_group(self.store, group)?.is_empty() {
                    self.request(Request::RejoinInfo(group), Purpose::ComeIn { group, was_in: true })?;
                } else {
                    // Somebody has removed it meanwhile, and added it again: that Welcome has waited for this answer.
                    self.next_join(group)?;
                }
            }
            CreateOutcome::Exists(existing) => {
                // Somebody was faster; the Welcome to that group is in the inbox, and what was to be sent waits for it.
                self.delete_mls(group)?;
                GroupRow::delete(self.store, &group)?;
                let mut conversation = self.conversation(wish.conversation)?;
                if conversation.group.is_none() {
                    conversation.expects = Some(existing);
                    conversation.save(self.store)?;
                }
            }
        }
        if row.pending.is_none() || matches!(outcome, CreateOutcome::Exists(_)) {
            self.settle_reference(wish, Ok(()))?;
        }
        self.touch(wish.conversation);
        Ok(())
    }

    pub(super) fn settle_reference(&mut self, wish: WishRef, result: Result<(), String>) -> Result<(), Error> {
        match WishRow::load(self.store, &wish)? {
            Some(row) => self.settle(&row, result),
            None => Ok(()),
        }
    }

    /// It is merged when it comes back in the log: one order for everybody.
    fn commit_accepted(&mut self, group: GroupId, request: u64, seq: Seq) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        if let Some(pending) = row.pending.as_mut().filter(|pending| pending.request == request) {
            pending.accepted = Some(seq);
            self.connection.accepted.insert(pending.hash);
            row.save(self.store)?;
        }
        Ok(())
    }

    fn superseded(&mut self, group: GroupId, request: u64, head: Head) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        let lost = |pending: &PendingCommit| pending.request == request && !is_on(Mutation::KeepLostCommit);
        if let Some(pending) = row.pending.filter(lost) {
            self.drop_pending(&mut row)?;
            let mls = self.take_mls(group)?;
            let epoch = group::epoch(&mls);
            self.keep_mls(group, mls);
            if epoch == head.epoch && row.cursor >= head.seq && row.leaving.is_empty() {
                // What stands against it, somebody's leave, this device has read over and does not know any more.
                self.lose(&mut row, "somebody's leave never came to this device")?;
            }
            // The same epoch still: what stood against it, somebody's leave, is on its way to us in the log.
            if row.wait_for >= head.epoch
                && let Some(mut wish) = WishRow::load(self.store, &pending.wish)?
            {
                wish.not_before = self.now.after(Duration::from_millis(300));
                wish.save(self.store)?;
            }
        }
        row.wait_for = row.wait_for.max(head.epoch);
        row.save(self.store)?;
        self.touch(row.conversation);
        Ok(())
    }

    /// Gives up the pending commit; the wish behind it stays.
    pub(super) fn drop_pending(&mut self, row: &mut GroupRow) -> Result<(), Error> {
        row.pending = None;
        let mut mls = self.take_mls(row.group)?;
        mls.clear_pending_commit(openmls::prelude::OpenMlsProvider::storage(&self.provider()))?;
        self.keep_mls(row.group, mls);
        Ok(())
    }

    /// An own message is in the log. True when this ciphertext is one of ours.
    pub(super) fn confirm_own(
        &mut self,
        hash: ContentHash,
        seq: Seq,
        conversation: ConversationId,
    ) -> Result<bool, Error> {
        let Some(own) = OwnRow::load(self.store, &hash)? else { return Ok(false) };
        if let Some(mut message) = self.store.message(conversation, self.account.identity, own.message)?
            && message.seq.is_none()
        {
            message.seq = Some(seq);
            message.status = MessageStatus::Sent;
            message.expires_at = self.own_due(&message);
            self.store.update_message(&message)?;
            self.event(Some(conversation), EventRowKind::Sent { message: own.message })?;
            self.effect(Effect::Sent { message: own.message, result: Ok(()) });
        }
        if let Some(wish) = WishRow::load(self.store, &own.wish)? {
            if let (WishKind::Annotate { .. }, Some(group)) = (&wish.kind, self.group_of(conversation)?) {
                self.remember_change(group.group, seq, &wish.kind)?;
            }
            self.settle(&wish, Ok(()))?;
        }
        self.forget_request(own.request)?;
        Ok(true)
    }

    fn stale_post(&mut self, hash: ContentHash, group: GroupId, head: Head) -> Result<(), Error> {
        OwnRow::delete(self.store, &hash)?;
        if let Some(mut row) = GroupRow::load(self.store, &group)? {
            row.wait_for = row.wait_for.max(head.epoch);
            row.save(self.store)?;
            self.touch(row.conversation);
        }
        Ok(())
    }

    fn left(&mut self, wish: WishRef, group: GroupId, outcome: PostOutcome) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        match outcome {
            PostOutcome::Accepted(_) => {
                self.settle_reference(wish, Ok(()))?;
                self.end_group(&mut row, ConversationState::Left)?;
                self.event(Some(row.conversation), EventRowKind::Left)
            }
            PostOutcome::StaleEpoch(head) => {
                row.wait_for = row.wait_for.max(head.epoch);
                Ok(row.save(self.store)?)
            }
        }
    }

    /// A refusal for good.
    fn refused(&mut self, purpose: &Purpose, refusal: &Refusal) -> Result<(), Error> {
        let Some(wish) = purpose.wish() else { return Ok(()) };
        match purpose {
            // Should it be in the log after all, the log will say so.
            Purpose::Post { group, .. } if refusal.code == Code::NotFound => self.doubt(*group)?,
            Purpose::Post { .. } => {}
            Purpose::Create { group, .. } => {
                self.delete_mls(*group)?;
                GroupRow::delete(self.store, group)?;
                let mut conversation = self.conversation(wish.conversation)?;
                // The other one's group may have been joined in the meantime.
                if conversation.group == Some(*group) {
                    conversation.group = None;
                    conversation.save(self.store)?;
                }
            }
            Purpose::Commit { group, .. } => {
                if let Some(mut row) = GroupRow::load(self.store, group)? {
                    if row.pending.is_some_and(|pending| pending.wish == wish) {
                        self.drop_pending(&mut row)?;
                    }
                    row.save(self.store)?;
                }
            }
            Purpose::Claim { .. }
            | Purpose::Leave { .. }
            | Purpose::LookUp(_)
            | Purpose::Check { .. }
            | Purpose::PublishKeys
            | Purpose::RejoinInfo { .. }
            | Purpose::Rejoin { .. }
            | Purpose::ComeIn { .. }
            | Purpose::OwnDevices { .. }
            | Purpose::UpdateManifest { .. }
            | Purpose::Refresh { .. }
            | Purpose::Memberships
            | Purpose::Tree { .. } => {}
        }
        let reason = match (purpose, refusal.code) {
            (Purpose::Claim { .. }, Code::NotFound) => NO_KEY_PACKAGES.to_owned(),
            _ => refusal.detail.clone(),
        };
        self.settle_reference(wish, Err(reason))
    }
}

pub(super) const NO_KEY_PACKAGES: &str = "this user has no key packages on the server; they must come online first";

//! Coming back by an external commit into a group that cannot go on.

use std::time::Duration;

use openmls::group::MlsGroup;
use openmls::prelude::MlsMessageIn;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{Commit, GroupKind, RejoinInfo};
use qpq_proto::ids::{ContentHash, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::{Entry, EntryKind, LogId, digest};
use qpq_trust::TrustError;
use qpq_trust::group as trust_group;
use qpq_trust::suite::Suite;
use tls_codec::DeserializeBytes as _;

use super::ctx::{Ctx, is_followed};
use super::directory::Standing;
use super::drive::Progress;
use crate::error::Error;
use crate::mls::{Provider, group, rejoin};
use crate::request::{Purpose, Request};
use crate::store::rows::{
    BacklogRow, EventRowKind, GroupRow, JoinRow, OutboxRow, OwnRow, QuarantineRow, Rejoin, RepairRow, Row as _,
    ToldRow, WishKind, WishRef, WishRow, conversation_key,
};
use crate::store::{Table, decode};
use crate::view::{ConversationId, ConversationState};

impl Ctx<'_> {
    /// The group cannot go on with the state that this device has.
    pub(super) fn lose(&mut self, row: &mut GroupRow, reason: &str) -> Result<(), Error> {
        row.state = ConversationState::Broken;
        row.awaiting.clear();
        self.forget_operations(row)?;
        let mut repair = self.repair(row.group)?;
        repair.rejoin = Some(Rejoin::because(reason));
        repair.save(self.store)?;
        self.give_up_backlog(row)?;
        self.next_join(row.group)?;
        self.rejoin_wish(row.conversation)
    }

    /// What waits cannot be read before this device is back, nor after.
    pub(super) fn give_up_backlog(&mut self, row: &mut GroupRow) -> Result<(), Error> {
        for (key, bytes) in self.store.scan(Table::Backlog, &row.group.0)? {
            self.store.remove(Table::Backlog, &key)?;
            let waiting: BacklogRow = decode(&bytes)?;
            self.unreadable(row, waiting.entry)?;
        }
        Ok(())
    }

    /// A Welcome has opened the group again before the external commit has. What came in since the epoch that it leads into
    /// can be read now.
    pub(super) fn came_in(&mut self, row: &GroupRow) -> Result<(), Error> {
        let mut repair = self.repair(row.group)?;
        let Some(mut rejoin) = repair.rejoin.take() else { return Ok(()) };
        repair.save(self.store)?;
        for kept in self.quarantined(row.group)? {
            if epoch_of(&kept.entry).is_some_and(|epoch| epoch >= row.joined) {
                QuarantineRow::delete(self.store, &kept.key())?;
                rejoin.lost -= u64::from(kept.entry.kind == EntryKind::Message).min(rejoin.lost);
                BacklogRow { group: row.group, entry: kept.entry }.save(self.store)?;
            }
        }
        self.forget_operations(&mut row.clone())?;
        if rejoin.lost > 0 {
            let gap = EventRowKind::Gap { count: rejoin.lost, reason: rejoin.reason };
            self.event(Some(row.conversation), gap)?;
        }
        self.forget_mended(row.group)?;
        match self.rejoin_wish_of(row.conversation)? {
            Some(wish) => self.settle(&wish, Ok(())),
            None => Ok(()),
        }
    }

    /// Whether this device has a state of the group that is good for something.
    pub(super) fn has_keys(&self, row: &GroupRow) -> Result<bool, Error> {
        match row.state {
            ConversationState::Active => Ok(true),
            // Made here, and not yet on the server; or there without this device knowing anything of it.
            ConversationState::Starting => Ok(self.repair(row.group)?.rejoin.is_none()),
            ConversationState::Left | ConversationState::Removed | ConversationState::Broken => Ok(false),
        }
    }

    /// There is at most one in a conversation.
    fn rejoin_wish(&mut self, conversation: ConversationId) -> Result<(), Error> {
        if self.rejoin_wish_of(conversation)?.is_none() {
            self.wish(conversation, WishKind::Rejoin, Duration::ZERO)?;
        }
        Ok(())
    }

    pub(super) fn rejoin_wish_of(&self, conversation: ConversationId) -> Result<Option<WishRow>, Error> {
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(conversation))? {
            let wish: WishRow = decode(&bytes)?;
            if wish.kind == WishKind::Rejoin {
                return Ok(Some(wish));
            }
        }
        Ok(None)
    }

    /// A broken group of which nobody takes care yet.
    pub(super) fn ensure_mending(&mut self, row: &GroupRow) -> Result<(), Error> {
        let mut repair = self.repair(row.group)?;
        if repair.rejoin.is_none() {
            repair.rejoin = Some(Rejoin::because("a change of the group could not be applied"));
            repair.save(self.store)?;
        }
        self.rejoin_wish(row.conversation)
    }

    /// What the user asks for when something seems wrong: a fresh start in the group.
    pub(super) fn mend(&mut self, conversation: ConversationId) -> Result<super::Answer, Error> {
        let row = self.group_of(conversation)?;
        let Some(mut row) = row.filter(|row| is_followed(row.state)) else {
            return Err(Error::BadInput("there is nothing to mend: this device is not in such a group".into()));
        };
        if row.state == ConversationState::Active {
            self.lose(&mut row, "on the user's wish")?;
            row.save(self.store)?;
        }
        self.ensure_mending(&row)?;
        let mut wish = self.rejoin_wish_of(conversation)?.ok_or_else(|| Error::BadInput("nothing to mend".into()))?;
        wish.not_before = qpq_proto::time::Timestamp::default();
        wish.save(self.store)?;
        self.touch(conversation);
        Ok(super::Answer::Wish(wish.id))
    }

    /// The first step of coming back: asking what it takes.
    pub(super) fn attempt_rejoin(&mut self, wish: &WishRow, reference: WishRef) -> Result<Progress, Error> {
        let Some(row) = self.group_of(wish.conversation)? else { return Ok(Progress::Done) };
        let repair = self.repair(row.group)?;
        let Some(rejoin) = repair.rejoin else { return Ok(Progress::Done) };
        let is_heard = !is_followed(row.state) || self.connection.ready.contains(&row.group);
        if rejoin.commit.is_some() || !is_heard || !row.awaiting.is_empty() {
            return Ok(Progress::Wait);
        }
        let purpose = Purpose::RejoinInfo { wish: reference, group: row.group };
        Ok(Progress::InFlight(vec![self.request(Request::RejoinInfo(row.group), purpose)?]))
    }

    /// The second step: the external commit, into a group that is what it says.
    pub(super) fn come_back(&mut self, wish: WishRef, id: GroupId, info: &RejoinInfo) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &id)? else { return Ok(()) };
        let mut repair = self.repair(id)?;
        if repair.rejoin.is_some() && !JoinRow::of_group(self.store, id)?.is_empty() {
            // What came in since then can be read with the Welcome only.
            return self.rejoin_later(wish, repair, "a Welcome has come, and is used first".into());
        }
        let Some(rejoin) = &mut repair.rejoin else { return Ok(()) };
        if rejoin.members.is_empty()
            && let Ok(mls) = self.take_mls(id)
        {
            rejoin.members = identities(&mls);
        }
        self.delete_mls(id)?;
        let provider = Provider::new(self.crypto, &mut *self.store);
        let built = rejoin::build(&provider, &self.myself, id, info);
        let checked = built.and_then(|way| self.examine(&mut row, &way.group).map(|is_known| (way, is_known)));
        let way = match checked {
            Ok((way, true)) => way,
            Ok((_, false)) => {
                // Asked again when the directory has answered.
                self.delete_mls(id)?;
                repair.save(self.store)?;
                row.save(self.store)?;
                self.touch(wish.conversation);
                return Ok(());
            }
            Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
            Err(error) => {
                self.delete_mls(id)?;
                return self.rejoin_later(wish, repair, error.to_string());
            }
        };
        rejoin.commit = Some(ContentHash::of(&way.commit));
        rejoin.leaving.clone_from(&info.leaving);
        repair.save(self.store)?;
        self.keep_mls(id, way.group);
        let (commit, group_info) = (way.commit, way.group_info);
        let (welcomes, leaving) = (vec![], info.leaving.clone());
        let commit = Commit { expected_epoch: way.epoch, commit, group_info, welcomes, leaving };
        let request = self.request(Request::Commit { group: id, commit }, Purpose::Rejoin { wish, group: id })?;
        let mut conversation = self.conversation(wish.conversation)?;
        conversation.in_flight = vec![request];
        Ok(conversation.save(self.store)?)
    }

    /// Whether this device may come back into what the server calls the group. The tree is the server's word, signed by some leaf
    /// in it; whatever this device says afterwards, all leaves can read. So each must be a device that its owner lists, and
    /// the group must be of the kind, and a direct conversation between the two, that it was. False: the directory is
    /// asked about some of them.
    fn examine(&mut self, row: &mut GroupRow, mls: &MlsGroup) -> Result<bool, Error> {
        Suite::try_from(mls.ciphersuite())?;
        let state = trust_group::state(mls.public_group())?;
        let leaves = trust_group::roster(mls.public_group())?;
        if self.conversation_of(state.kind, row.group, &leaves)? != row.conversation {
            return Err(Error::BadInput("the server offers another group in the place of this one".into()));
        }
        self.check_leaves(row, &leaves)?;
        for leaf in &leaves {
            if self.standing(leaf)? == Standing::Unlisted {
                // Next time the directory is asked anew.
                self.store.remove(Table::Unlisted, &leaf.id.device.0)?;
                return Err(TrustError::UnlistedDevice.into());
            }
        }
        Ok(row.awaiting.is_empty())
    }

    /// Somebody else was faster.
    pub(super) fn rejoin_superseded(&mut self, wish: WishRef, group: GroupId) -> Result<(), Error> {
        self.delete_mls(group)?;
        let repair = self.repair(group)?;
        self.rejoin_later(wish, repair, "others changed the group at the same time".into())
    }

    /// The server has it; the log will say so too.
    pub(super) fn rejoin_accepted(&mut self, group: GroupId, seq: Seq) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        let mut repair = self.repair(group)?;
        if let Some(rejoin) = &mut repair.rejoin {
            rejoin.accepted = Some(seq);
            self.connection.accepted.extend(rejoin.commit);
            repair.save(self.store)?;
        }
        // Out of nothing: what the log has before the commit was for this device, and cannot be read any more.
        if row.state == ConversationState::Starting {
            row.state = ConversationState::Broken;
            row.save(self.store)?;
            self.subscribe(&row)?;
        }
        Ok(())
    }

    pub(super) fn rejoin_refused(&mut self, wish: WishRef, group: GroupId, refusal: &Refusal) -> Result<(), Error> {
        // Before it is over, what the log has up to there is read and counted.
        let row = GroupRow::load(self.store, &group)?;
        let is_read = row.is_none_or(|row| !is_followed(row.state)) || self.connection.ready.contains(&group);
        match refusal.code {
            Code::NotFound | Code::Forbidden if is_read => self.gone(group),
            _ => {
                let repair = self.repair(group)?;
                self.rejoin_later(wish, repair, refusal.detail.clone())
            }
        }
    }

    /// Tried again after a pause that grows and differs from device to device.
    fn rejoin_later(&mut self, wish: WishRef, mut repair: RepairRow, reason: String) -> Result<(), Error> {
        let Some(rejoin) = &mut repair.rejoin else { return Ok(()) };
        let longest = 250_u64 << rejoin.attempts.min(10);
        rejoin.attempts += 1;
        let was_submitted = rejoin.commit.take().is_some();
        rejoin.accepted = None;
        rejoin.trouble = Some(reason);
        repair.save(self.store)?;
        if was_submitted {
            // A Welcome that waited for it.
            self.next_join(repair.group)?;
        }
        if let Some(mut row) = WishRow::load(self.store, &wish)? {
            // Different for each attempt and device, and no accident: what happens can be repeated.
            let attempt = [self.account.name.as_str().as_bytes(), &self.now.0.to_be_bytes()].concat();
            let spread = digest(ContentHash::of(&attempt)) % 1024;
            let pause = longest * (1 + spread) / 1024;
            row.not_before = self.now.after(Duration::from_millis(pause));
            row.save(self.store)?;
        }
        self.touch(wish.conversation);
        Ok(())
    }

    /// What comes in while the group is broken: the own commit that mends it, or something that cannot be read.
    pub(super) fn unreadable(&mut self, row: &mut GroupRow, entry: Entry) -> Result<(), Error> {
        let mut repair = self.repair(row.group)?;
        let hash = ContentHash::of(&entry.payload);
        if repair.rejoin.as_ref().is_some_and(|rejoin| rejoin.commit == Some(hash)) {
            return self.rejoined(row, repair);
        }
        if entry.kind == EntryKind::Message {
            if self.confirm_own(hash, entry.seq, row.conversation)? {
                return Ok(OwnRow::delete(self.store, &hash)?);
            }
            if let Some(rejoin) = &mut repair.rejoin {
                rejoin.lost += 1;
                repair.save(self.store)?;
            }
        }
        let reason = "it came while the group was being mended".into();
        Ok(QuarantineRow { entry, reason, plaintext: None }.save(self.store)?)
    }

    /// This device is back: everything from here on can be read again.
    fn rejoined(&mut self, row: &mut GroupRow, mut repair: RepairRow) -> Result<(), Error> {
        let Some(rejoin) = repair.rejoin.take() else { return Ok(()) };
        repair.save(self.store)?;
        let mls = self.take_mls(row.group)?;
        let state = trust_group::state(mls.public_group())?;
        let members = identities(&mls);
        row.joined = group::epoch(&mls);
        self.connection.forget_doubts(row.group);
        self.keep_mls(row.group, mls);
        row.state = ConversationState::Active;
        row.leaving = rejoin.leaving;
        row.refreshed = self.now;
        row.save(self.store)?;
        if rejoin.members.is_empty() {
            self.begun_by_strangers(row, &members)?;
        }
        self.tell_members(row, &rejoin.members, &members)?;
        if rejoin.lost > 0 {
            let gap = EventRowKind::Gap { count: rejoin.lost, reason: rejoin.reason };
            self.event(Some(row.conversation), gap)?;
        }
        self.forget_mended(row.group)?;
        if let Some(wish) = self.rejoin_wish_of(row.conversation)? {
            self.settle(&wish, Ok(()))?;
        }
        for obsolete in JoinRow::of_group(self.store, row.group)?.iter().filter(|join| join.epoch <= row.joined) {
            JoinRow::delete(self.store, &obsolete.key())?;
        }
        self.learn_state(row, &state)?;
        ToldRow::delete(self.store, &row.group)?;
        self.remove_former_siblings(row)?;
        if !row.leaving.is_empty() {
            self.leavers_wish(row.conversation, Duration::from_secs(30))?;
        }
        self.make_up(row)
    }

    /// Nobody comes in unseen, not even while this device was out. Who did it is not known.
    fn tell_members(&mut self, row: &GroupRow, before: &[IdentityId], after: &[IdentityId]) -> Result<(), Error> {
        if row.kind == GroupKind::Direct {
            return Ok(());
        }
        if before.is_empty() {
            return self.event(Some(row.conversation), EventRowKind::Joined { by: self.account.identity });
        }
        for who in after.iter().filter(|who| !before.contains(who)) {
            self.event(Some(row.conversation), EventRowKind::MemberAdded { who: *who, by: *who })?;
        }
        for who in before.iter().filter(|who| !after.contains(who)) {
            self.event(Some(row.conversation), EventRowKind::MemberRemoved { who: *who, by: *who })?;
        }
        Ok(())
    }

    /// Handshakes that could not be applied are of no use any more; messages stay.
    fn forget_mended(&mut self, group: GroupId) -> Result<(), Error> {
        for row in self.quarantined(group)? {
            if row.entry.kind != EntryKind::Message {
                QuarantineRow::delete(self.store, &row.key())?;
            }
        }
        Ok(())
    }

    /// What is in quarantine of one group, in the order of its log.
    fn quarantined(&self, group: GroupId) -> Result<Vec<QuarantineRow>, Error> {
        let all = QuarantineRow::all(self.store)?;
        Ok(all.into_iter().filter(|row| row.entry.log == LogId::Group(group)).collect())
    }

    /// Takes requests about the group's log out of the outbox, and with them the commit that is pending.
    pub(super) fn forget_operations(&mut self, row: &mut GroupRow) -> Result<(), Error> {
        for request in OutboxRow::all(self.store)? {
            let mends = matches!(&request.purpose,
                Purpose::RejoinInfo { group, .. } | Purpose::Rejoin { group, .. } if *group == row.group);
            if mends || request.purpose.group() == Some(row.group) {
                self.forget_request(request.id)?;
            }
        }
        if row.pending.is_some() && row.state == ConversationState::Active {
            self.drop_pending(row)?;
        }
        row.pending = None;
        Ok(())
    }
}

/// The epoch that an entry of a group's log was made in.
pub(super) fn epoch_of(entry: &Entry) -> Option<Epoch> {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&entry.payload).ok()?;
    let message = message.try_into_protocol_message().ok()?;
    Some(Epoch(message.epoch().as_u64()))
}

/// Who is in a group.
pub(super) fn identities(mls: &MlsGroup) -> Vec<IdentityId> {
    let mut identities: Vec<_> = group::leaves(mls).into_iter().map(|(_, leaf)| leaf.id.identity).collect();
    identities.sort_unstable();
    identities.dedup();
    identities
}

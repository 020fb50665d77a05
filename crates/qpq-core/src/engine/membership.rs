//! Which groups this device is in, as the server sees it: those that it knows nothing of, and those that it is not in any more.

use std::time::Duration;

use qpq_proto::code::Refusal;
use qpq_proto::groups::{RejoinInfo, Stay};
use qpq_proto::ids::{GroupId, Seq};
use qpq_trust::group as trust_group;
use qpq_trust::suite::Suite;

use super::ctx::{Ctx, is_followed};
use super::set_back::LOOKING_AROUND;
use crate::error::Error;
use crate::mls::{Provider, rejoin};
use crate::request::{Purpose, Request};
use crate::store::rows::{EventRowKind, GroupRow, JoinRow, Row as _, ToldRow, WishKind, WishRow, number, set_number};
use crate::view::{ConversationId, ConversationState};

impl Ctx<'_> {
    /// The server says that this device is not in the group any more.
    pub(super) fn gone(&mut self, group: GroupId) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        let mut repair = self.repair(group)?;
        if matches!(row.conversation, ConversationId::Direct(_)) && row.state != ConversationState::Starting {
            // These two go on, in another group.
            return self.start_again(&row, repair.owed);
        }
        let lost = repair.rejoin.take().map_or(0, |rejoin| rejoin.lost);
        repair.set_back = None;
        repair.save(self.store)?;
        if let Some(wish) = self.rejoin_wish_of(row.conversation)? {
            WishRow::delete(self.store, &wish.key())?;
        }
        let is_shown = self.conversation(row.conversation)?.last_number > 0;
        if row.state == ConversationState::Starting && !is_shown {
            return self.discard_group(row);
        }
        if lost > 0 {
            let reason = "this device is no longer in the group".into();
            self.event(Some(row.conversation), EventRowKind::Gap { count: lost, reason })?;
        }
        // Nobody can tell by whom.
        if row.state != ConversationState::Starting {
            self.event(Some(row.conversation), EventRowKind::Removed { by: self.account.identity })?;
        }
        self.end_group(&mut row, ConversationState::Removed)
    }

    /// Groups that this identity is in, says the server: those that this device knows nothing of, and those whose end the
    /// server has forgotten. Unless something was set back, a Welcome is on its way.
    pub(super) fn member_of(&mut self, stays: Vec<Stay>) -> Result<(), Error> {
        let is_set_back = number(self.store, LOOKING_AROUND)? > 0;
        set_number(self.store, LOOKING_AROUND, 0)?;
        self.not_member_of(&stays, is_set_back)?;
        for Stay { group, acknowledged, inside } in stays {
            let is_unknown = GroupRow::load(self.store, &group)?.is_none_or(|row| is_over(row.state))
                && JoinRow::of_group(self.store, group)?.is_empty();
            let was_in = is_set_back || acknowledged > Seq(0);
            // Where only a sibling is, no Welcome is on its way.
            if is_unknown && (was_in || !inside) {
                self.request(Request::RejoinInfo(group), Purpose::ComeIn { group, was_in: was_in && inside })?;
            }
        }
        Ok(())
    }

    /// The server says that this device is not in a group in which it counts itself. The log tells who removed it, and is on its way
    /// if so: the question is asked before anything is believed.
    pub(super) fn doubt(&mut self, group: GroupId) -> Result<(), Error> {
        if self.connection.ready.contains(&group) {
            self.connection.doubted.insert(group);
            self.ask_memberships()?;
        }
        Ok(())
    }

    /// A restored server has forgotten that this device came in, and still has an earlier stay of it: nothing else tells that.
    fn not_member_of(&mut self, stays: &[Stay], is_set_back: bool) -> Result<(), Error> {
        let mut groups = std::mem::take(&mut self.connection.doubted);
        if is_set_back {
            groups.extend(self.connection.asked.iter().flatten());
        }
        for group in groups {
            let is_in = stays.iter().any(|stay| stay.group == group);
            if !is_in && let Some(row) = GroupRow::load(self.store, &group)?.filter(|row| is_followed(row.state)) {
                // Who removed it may be on its way in the log.
                self.connection.refuted.insert(group);
                self.subscribe(&row)?;
            }
        }
        Ok(())
    }

    /// Everything in the logs has been read, and in some groups nobody has removed this device: the server has forgotten that it
    /// came in.
    pub(super) fn believe_refuted(&mut self) -> Result<(), Error> {
        for group in std::mem::take(&mut self.connection.refuted) {
            let is_in = |row: &GroupRow| is_followed(row.state) && row.awaiting.is_empty();
            if GroupRow::load(self.store, &group)?.is_some_and(|row| is_in(&row)) {
                self.gone(group)?;
            }
        }
        Ok(())
    }

    /// The server does not let this device in after all. What was to be done in a group that it made and has forgotten will
    /// never be done.
    pub(super) fn stays_out(&mut self, group: GroupId, refusal: &Refusal) -> Result<(), Error> {
        match GroupRow::load(self.store, &group)? {
            None => self.fail_all(ConversationId::Group(group), &refusal.detail),
            Some(_) => Ok(()),
        }
    }

    /// A group that this device is in, or a sibling, and does not count itself in. Whoever has left it leaves it again.
    pub(super) fn come_in(&mut self, id: GroupId, info: &RejoinInfo, was_in: bool) -> Result<(), Error> {
        let known = GroupRow::load(self.store, &id)?;
        if known.as_ref().is_some_and(|row| !is_over(row.state)) || !JoinRow::of_group(self.store, id)?.is_empty() {
            return Ok(());
        }
        let provider = Provider::new(self.crypto, &mut *self.store);
        // Only to look at it; the commit is made anew when its turn comes.
        let way = match rejoin::build(&provider, &self.myself, id, info) {
            Ok(way) => way,
            Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
            Err(_) => return Ok(()),
        };
        self.delete_mls(id)?;
        let public = way.group.public_group();
        let (Ok(state), Ok(suite), Ok(leaves)) =
            (trust_group::state(public), Suite::try_from(public.ciphersuite()), trust_group::roster(public))
        else {
            return Ok(());
        };
        let Ok(conversation) = self.conversation_for(state.kind, id, &leaves) else { return Ok(()) };
        let mut row = GroupRow::unknown(id, conversation, state.kind, suite.number(), self.now);
        if let Some(known) = &known {
            (row.name, row.name_key, row.cursor) = (known.name.clone(), known.name_key, known.cursor);
        }
        let told = ToldRow::load(self.store, &id)?.filter(|_| known.is_none());
        if let Some(told) = &told {
            row.name_key = told.name_key;
        }
        row.save(self.store)?;
        let mut shown = self.conversation(conversation)?;
        shown.group = Some(id);
        if let Some(told) = told {
            (shown.is_muted, shown.requested_by) = (told.is_muted, told.requested_by);
            // What the history brings keeps its numbers, and has been read.
            shown.last_number = shown.last_number.max(told.last_number);
            shown.read_number = shown.read_number.max(told.last_number);
        }
        shown.save(self.store)?;
        self.ensure_mending(&row)?;
        self.give_up_backlog(&mut row)?;
        if was_in && known.is_some_and(|known| known.state == ConversationState::Left) {
            self.wish(conversation, WishKind::Leave, Duration::ZERO)?;
        }
        Ok(())
    }
}

/// Whether this device is not in the group any more.
fn is_over(state: ConversationState) -> bool {
    match state {
        ConversationState::Left | ConversationState::Removed => true,
        ConversationState::Starting | ConversationState::Active | ConversationState::Broken => false,
    }
}

//! Noticing that server or device were set back to an older state, and saying and doing again what the server has forgotten.

use std::time::Duration;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::{Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, Lineage, LogId, Subscribed};
use qpq_trust::group as trust_group;

use super::Followed;
use super::ctx::{Ctx, INBOX_CURSOR, INBOX_NEWEST, INBOX_TAKEN, is_followed};
use super::rejoin::identities;
use crate::error::Error;
use crate::request::{Purpose, Request};
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{
    Done, EventRowKind, GroupRow, JoinRow, OutboxRow, Owed, OwnRow, RepairRow, Row as _, SetBack, WishKind, WishRow,
    conversation_key, number, set_number,
};
use crate::store::{Table, decode};
use crate::view::{ConversationId, ConversationState, MessageStatus};

impl Ctx<'_> {
    /// Server and device have told each other how far they have come in a log.
    pub(super) fn subscribed(
        &mut self,
        log: LogId,
        after: Seq,
        result: Result<Subscribed, Refusal>,
    ) -> Result<(), Error> {
        match (log, result) {
            (LogId::Inbox, Ok(subscribed)) => self.inbox_subscribed(after, &subscribed),
            (LogId::Group(group), Ok(subscribed)) => self.group_subscribed(group, after, &subscribed),
            (LogId::Group(group), Err(refusal)) if refusal.code == Code::NotFound => self.forgotten(group),
            // It is asked again over the next connection.
            (_, Err(_)) => Ok(()),
        }
    }

    /// Everything that waited in the logs has been taken: what follows is news.
    pub(super) fn caught_up(&mut self) -> Result<(), Error> {
        self.connection.ready = self.connection.subscribed.keys().copied().collect();
        // What was accepted and is not where it was said to be.
        for group in self.connection.ready.clone() {
            if let Some(mut row) =
                GroupRow::load(self.store, &group)?.filter(|row| is_followed(row.state) && row.awaiting.is_empty())
            {
                let cursor = row.cursor;
                self.repeat_lost(&mut row, |seq, _| seq <= cursor)?;
            }
        }
        self.believe_refuted()?;
        self.use_waiting_welcomes()?;
        if self.connection.asked.is_none() {
            self.ask_memberships()?;
        }
        for repair in RepairRow::all(self.store)? {
            if let Some(row) = GroupRow::load(self.store, &repair.group)? {
                self.touch(row.conversation);
            }
        }
        self.touch_all()
    }

    /// A Welcome waits until the log has brought the end of the stay before it. Where a restored server has forgotten that
    /// stay, its end never comes.
    fn use_waiting_welcomes(&mut self) -> Result<(), Error> {
        for waiting in JoinRow::all(self.store)? {
            let Some(mut row) = GroupRow::load(self.store, &waiting.group)? else { continue };
            if row.state == ConversationState::Active
                && row.awaiting.is_empty()
                && self.connection.ready.contains(&waiting.group)
            {
                self.lose(&mut row, "the server was set back to an older state")?;
                row.save(self.store)?;
            }
        }
        Ok(())
    }

    fn inbox_subscribed(&mut self, after: Seq, subscribed: &Subscribed) -> Result<(), Error> {
        let cursor = self.inbox_cursor()?;
        if subscribed.from < after {
            // What was accepted by then has been taken.
            let newest = number(self.store, INBOX_NEWEST)?;
            set_number(self.store, INBOX_TAKEN, newest)?;
            set_number(self.store, INBOX_CURSOR, subscribed.from.0)?;
            self.look_around()
        } else if subscribed.acknowledged > cursor {
            // The server has forgotten what this device once had.
            set_number(self.store, INBOX_CURSOR, subscribed.acknowledged.0)?;
            self.look_around()
        } else {
            Ok(())
        }
    }

    /// After a set-back: which groups is this device in, and are there key packages whose keys it has?
    pub(super) fn look_around(&mut self) -> Result<(), Error> {
        // Of a set-back each group tells.
        if number(self.store, LOOKING_AROUND)? == 0 {
            set_number(self.store, LOOKING_AROUND, 1)?;
            self.account.keys_published = None;
            self.renew_key_packages()?;
        }
        // Otherwise when the logs have been read, which may bring the end of some.
        if self.connection.asked.is_some() { self.ask_memberships() } else { Ok(()) }
    }

    /// Asked on every connection: a device that was set back to before all of its groups has nothing else to notice it by.
    pub(super) fn ask_memberships(&mut self) -> Result<(), Error> {
        self.connection.asked = Some(self.connection.ready.clone());
        if !OutboxRow::all(self.store)?.iter().any(|row| row.purpose == Purpose::Memberships) {
            self.request(Request::Memberships, Purpose::Memberships)?;
        }
        Ok(())
    }

    fn group_subscribed(&mut self, group: GroupId, after: Seq, subscribed: &Subscribed) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        let followed = Followed { joined: subscribed.joined, is_new: row.cursor == Seq(0) && !row.was_in };
        self.connection.subscribed.insert(group, followed);
        self.repeat_lost(&mut row, |seq, is_news| seq > subscribed.head && !is_news)?;
        let is_set_back = subscribed.from < after;
        if is_set_back {
            self.server_set_back(&mut row, subscribed.from)?;
        }
        if row.state == ConversationState::Active {
            if subscribed.acknowledged > row.cursor && !is_set_back {
                // What it sends from this state, others would take for a repetition, or worse.
                self.device_set_back(&mut row)?;
            } else if self.is_fork(&row, subscribed.lineage)? {
                self.must_come_back(&mut row, "the server was set back to an older state")?;
            }
        }
        if let Some(there) = subscribed.lineage
            && row.wait_for > there.epoch
        {
            // A server that was restored since has told of an epoch that it has not come to again.
            row.wait_for = there.epoch;
            row.save(self.store)?;
        }
        let bound = |row: &OutboxRow| row.purpose.group() == Some(group) && !is_on(Mutation::ForgetOutbox);
        for request in OutboxRow::all(self.store)?.into_iter().filter(bound) {
            if is_on(Mutation::EncryptAgain) && matches!(request.purpose, Purpose::Post { .. }) {
                self.forget_request(request.id)?;
                self.connection.ready.insert(group);
                continue;
            }
            self.effect(super::Effect::Request { id: request.id, request: request.request });
        }
        self.touch(row.conversation);
        Ok(())
    }

    /// Own messages and commits that were accepted, and that the log has not shown yet: those in places where they cannot be,
    /// the server has forgotten.
    fn repeat_lost(&mut self, row: &mut GroupRow, is_lost: impl Fn(Seq, bool) -> bool) -> Result<(), Error> {
        for own in OwnRow::all(self.store)?.into_iter().filter(|own| own.wish.conversation == row.conversation) {
            let is_news = self.connection.accepted.contains(&own.hash);
            if own.accepted.is_some_and(|seq| is_lost(seq, is_news)) {
                OwnRow::delete(self.store, &own.hash)?;
                self.say_again(row.conversation, own.message)?;
                self.annotate_again(row, own.accepted)?;
            }
        }
        if let Some(pending) = row.pending
            && pending.accepted.is_some_and(|seq| is_lost(seq, self.connection.accepted.contains(&pending.hash)))
        {
            self.drop_pending(row)?;
            row.save(self.store)?;
            self.touch(row.conversation);
        }
        let mut repair = self.repair(row.group)?;
        if let Some(rejoin) = &mut repair.rejoin
            && rejoin.accepted.is_some_and(|seq| {
                is_lost(seq, rejoin.commit.is_some_and(|hash| self.connection.accepted.contains(&hash)))
            })
        {
            (rejoin.commit, rejoin.accepted) = (None, None);
            repair.save(self.store)?;
            self.touch(row.conversation);
        }
        Ok(())
    }

    /// An accepted change of a message that the server has forgotten.
    fn annotate_again(&mut self, row: &GroupRow, accepted: Option<Seq>) -> Result<(), Error> {
        let mut track = self.track(row.group)?;
        let is_it = |done: &Done| Some(done.seq) == accepted && matches!(done.kind, WishKind::Annotate { .. });
        if let Some(index) = track.done.iter().position(is_it) {
            let done = track.done.remove(index);
            track.save(self.store)?;
            self.wish(row.conversation, done.kind, Duration::ZERO)?;
        }
        Ok(())
    }

    fn say_again(&mut self, conversation: ConversationId, id: MessageId) -> Result<(), Error> {
        let Some(mut message) = self.store.message(conversation, self.account.identity, id)? else { return Ok(()) };
        let (by, kind, at) = (self.account.identity, NoteKind::SaidBefore, self.now);
        NoteRow { conversation, message: id, by, kind, at }.save(self.store)?;
        (message.seq, message.status) = (None, MessageStatus::Waiting);
        self.store.update_message(&message)?;
        self.wish(conversation, WishKind::Send { message: id }, Duration::ZERO)?;
        Ok(())
    }

    /// Whether the group has gone another way than this device: an epoch that the server has not come to yet, or another one
    /// of the same number. A way that parts later shows when its commits cannot be applied.
    fn is_fork(&mut self, row: &GroupRow, there: Option<Lineage>) -> Result<bool, Error> {
        let Some(there) = there else { return Ok(false) };
        let Ok(mls) = self.take_mls(row.group) else { return Ok(true) };
        let here = trust_group::lineage(mls.public_group().group_context());
        self.keep_mls(row.group, mls);
        let here = here?;
        Ok(here.epoch > there.epoch || (here.epoch == there.epoch && here.context != there.context))
    }

    /// The server does not have what this device has taken: its log is read again from where both agree.
    fn server_set_back(&mut self, row: &mut GroupRow, from: Seq) -> Result<(), Error> {
        self.forget_operations(row)?;
        let mut track = self.track(row.group)?;
        let mut repair = self.repair(row.group)?;
        let mut set_back = SetBack {
            until: row.cursor,
            taken_at: track.last_at,
            rejoin: None,
            messages: self.own_messages_after(row.conversation, from)?,
            changes: track.done.iter().filter(|done| done.seq > from).cloned().collect(),
        };
        if let Some(earlier) = repair.set_back.take() {
            set_back.until = set_back.until.max(earlier.until);
            set_back.rejoin = earlier.rejoin;
            set_back.messages.extend(earlier.messages);
            set_back.changes.extend(earlier.changes);
        }
        repair.set_back = Some(set_back);
        if let Some(rejoin) = &mut repair.rejoin {
            (rejoin.commit, rejoin.accepted) = (None, None);
        }
        repair.save(self.store)?;
        track.back_to(from);
        track.save(self.store)?;
        // Epochs are counted anew from there: none of them belongs to an earlier stay for having a lower number.
        (row.cursor, row.wait_for, row.joined) = (from, Epoch(0), Epoch(0));
        Ok(row.save(self.store)?)
    }

    /// Others have seen more of this device than it knows itself: there may be groups that it has forgotten, too.
    fn device_set_back(&mut self, row: &mut GroupRow) -> Result<(), Error> {
        self.look_around()?;
        self.must_come_back(row, "this device was set back to an older state")
    }

    /// The log is read as far as it can be read; then this device comes back with a fresh leaf, before it says anything.
    fn must_come_back(&mut self, row: &mut GroupRow, reason: &str) -> Result<(), Error> {
        self.forget_operations(row)?;
        let mut repair = self.repair(row.group)?;
        match &mut repair.set_back {
            Some(set_back) => set_back.rejoin = Some(reason.to_owned()),
            none => *none = Some(SetBack::because(reason)),
        }
        repair.save(self.store)?;
        Ok(row.save(self.store)?)
    }

    /// A message that says to be of this very device, which knows nothing of it. While catching up that means that the device
    /// was set back; later it can only be a forgery, for who sent it is not signed where others cannot read it.
    pub(super) fn own_unknown(&mut self, row: &mut GroupRow) -> Result<(), Error> {
        if self.connection.ready.contains(&row.group) {
            return Err(Error::BadInput("a message in the name of this device that it did not send".into()));
        }
        self.device_set_back(row)?;
        let gap =
            EventRowKind::Gap { count: 1, reason: "a message that was sent before this device was set back".into() };
        self.event(Some(row.conversation), gap)
    }

    fn own_messages_after(&self, conversation: ConversationId, after: Seq) -> Result<Vec<(Seq, MessageId)>, Error> {
        let messages = self.store.messages(conversation, None, MOST_REPEATED, None)?;
        let own = messages
            .into_iter()
            .filter(|message| message.sender == self.account.identity && message.device == self.account.device);
        Ok(own.filter_map(|message| Some((message.seq?, message.id))).filter(|(seq, _)| *seq > after).collect())
    }

    /// Whether an entry that is read again was taken before; then it is ticked off.
    pub(super) fn taken_before(&mut self, entry: &Entry, repair: &mut Option<RepairRow>) -> Result<bool, Error> {
        let Some(repair) = repair else { return Ok(false) };
        let Some(set_back) = &mut repair.set_back else { return Ok(false) };
        if entry.seq > set_back.until || entry.at > set_back.taken_at {
            return Ok(false);
        }
        set_back.messages.retain(|(seq, _)| *seq != entry.seq);
        set_back.changes.retain(|done| done.seq != entry.seq);
        repair.save(self.store)?;
        Ok(true)
    }

    /// The log has been read up to its end: has the group gone another way?
    pub(super) fn finish_set_back(&mut self, group: GroupId) -> Result<(), Error> {
        let (Some(mut row), Some(mut repair)) =
            (GroupRow::load(self.store, &group)?, RepairRow::load(self.store, &group)?)
        else {
            return Ok(());
        };
        if !row.awaiting.is_empty() {
            return Ok(());
        }
        let Some(set_back) = repair.set_back.take() else { return Ok(()) };
        repair.owed.messages.extend(set_back.messages.into_iter().map(|(_, id)| id));
        repair.owed.changes.extend(set_back.changes.into_iter().map(|done| done.kind));
        repair.save(self.store)?;
        if row.state != ConversationState::Active {
            return Ok(());
        }
        match set_back.rejoin {
            Some(reason) => {
                self.lose(&mut row, &reason)?;
                row.save(self.store)?;
            }
            None => self.make_up(&row)?,
        }
        Ok(())
    }

    /// Says and does again what the server has forgotten. Who has seen it, knows it by its id.
    pub(super) fn make_up(&mut self, row: &GroupRow) -> Result<(), Error> {
        let Some(mut repair) = RepairRow::load(self.store, &row.group)? else { return Ok(()) };
        let owed = std::mem::take(&mut repair.owed);
        if repair.rejoin.is_none() && repair.set_back.is_none() {
            RepairRow::delete(self.store, &row.group)?;
        } else {
            repair.save(self.store)?;
        }
        for id in owed.messages {
            self.say_again(row.conversation, id)?;
        }
        for kind in owed.changes {
            self.wish(row.conversation, kind, Duration::ZERO)?;
        }
        Ok(())
    }

    /// The server knows nothing of a group that this device is in: it was set back to before the group, or before this
    /// device came in. Whoever made it makes it again; the others wait to be added again.
    pub(super) fn forgotten(&mut self, group: GroupId) -> Result<(), Error> {
        let Some(row) = GroupRow::load(self.store, &group)?.filter(|row| is_followed(row.state)) else {
            return Ok(());
        };
        let own = self.own_messages_after(row.conversation, Seq(0))?;
        let track = self.track(group)?;
        let owed = Owed {
            messages: own.into_iter().map(|(_, id)| id).collect(),
            changes: track.done.iter().map(|done| done.kind.clone()).filter(|kind| !is_start(kind)).collect(),
        };
        let is_creator = track.done.iter().any(|done| is_start(&done.kind));
        let is_direct = matches!(row.conversation, ConversationId::Direct(_));
        if is_creator || is_direct {
            self.start_again(&row, owed)
        } else {
            self.gone(group)?;
            let mut repair = self.repair(group)?;
            repair.owed = owed;
            Ok(repair.save(self.store)?)
        }
    }

    pub(super) fn start_again(&mut self, row: &GroupRow, owed: Owed) -> Result<(), Error> {
        let members = self.members_known(row)?;
        RepairRow { group: row.group, set_back: None, rejoin: None, owed }.save(self.store)?;
        let mut row = row.clone();
        self.forget_operations(&mut row)?;
        self.delete_mls(row.group)?;
        GroupRow::delete(self.store, &row.group)?;
        let mut track = self.track(row.group)?;
        track.back_to(Seq(0));
        track.done.clear();
        track.save(self.store)?;
        let mut conversation = self.conversation(row.conversation)?;
        conversation.group = None;
        conversation.save(self.store)?;
        self.start_wish(&row, members)?;
        self.make_up(&row)
    }

    /// Who was in a group, besides this identity.
    fn members_known(&mut self, row: &GroupRow) -> Result<Vec<IdentityId>, Error> {
        let me = self.account.identity;
        if let ConversationId::Direct(with) = row.conversation {
            return Ok([with].into_iter().filter(|who| *who != me).collect());
        }
        let mut members = match self.take_mls(row.group) {
            Ok(mls) => identities(&mls),
            Err(Error::Mls(_)) => self.repair(row.group)?.rejoin.map_or(vec![], |rejoin| rejoin.members),
            Err(error) => return Err(error),
        };
        members.retain(|identity| *identity != me);
        Ok(members)
    }

    /// The wish to make the group: the one that is still there when its first commit has not come back, for that knows
    /// whom it was to add. Key packages that were claimed for it are used up.
    fn start_wish(&mut self, row: &GroupRow, members: Vec<IdentityId>) -> Result<(), Error> {
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(row.conversation))? {
            let wish: WishRow = decode(&bytes)?;
            if is_start(&wish.kind) {
                self.forget_claims(wish.id)?;
                self.touch(row.conversation);
                return Ok(());
            }
        }
        let (suite, name) = (row.suite, row.name.clone());
        self.wish(row.conversation, WishKind::Start { suite, name, members }, Duration::ZERO)?;
        Ok(())
    }
}

fn is_start(kind: &WishKind) -> bool {
    matches!(kind, WishKind::Start { .. })
}

/// Own messages that are said again at most.
const MOST_REPEATED: usize = 10_000;

/// The counter that is 1 from a set-back until it is known which groups this device is in.
pub(super) const LOOKING_AROUND: &str = "looking around";

//! Mending: noticing that server or device were set back, and coming back into a group that cannot go on.

use std::time::Duration;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{Commit, RejoinInfo};
use qpq_proto::ids::{ContentHash, GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, EntryKind, Lineage, LogId, Subscribed};
use qpq_trust::credential::Leaf;
use qpq_trust::group as trust_group;
use qpq_trust::suite::Suite;

use super::commands::random;
use super::ctx::{Ctx, INBOX_CURSOR, INBOX_NEWEST, INBOX_TAKEN, is_followed};
use super::drive::Progress;
use crate::error::Error;
use crate::mls::{Provider, group, rejoin};
use crate::request::{Purpose, Request};
use crate::store::rows::{
    BacklogRow, EventRowKind, GroupRow, JoinRow, OutboxRow, OwnRow, QuarantineRow, Rejoin, RepairRow, Row as _,
    SetBack, WishKind, WishRef, WishRow, conversation_key, number, set_number,
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
        self.connection.ready = self.connection.subscribed.clone();
        for repair in RepairRow::all(self.store)? {
            if let Some(row) = GroupRow::load(self.store, &repair.group)? {
                self.touch(row.conversation);
            }
        }
        self.touch_all()
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
        self.account.keys_published = None;
        self.renew_key_packages()?;
        if !OutboxRow::all(self.store)?.iter().any(|row| row.purpose == Purpose::Memberships) {
            self.request(Request::Memberships, Purpose::Memberships)?;
        }
        Ok(())
    }

    fn group_subscribed(&mut self, group: GroupId, after: Seq, subscribed: &Subscribed) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        self.connection.subscribed.insert(group);
        let is_set_back = subscribed.from < after;
        if is_set_back {
            self.server_set_back(&mut row, subscribed.from)?;
        }
        if row.state == ConversationState::Active {
            if subscribed.acknowledged > row.cursor && !is_set_back {
                // What it sends from this state, others would take for a repetition, or worse.
                self.must_come_back(&mut row, "this device was set back to an older state")?;
            } else if self.is_fork(&row, subscribed.lineage)? {
                self.must_come_back(&mut row, "the server was set back to an older state")?;
            }
        }
        let bound = |row: &OutboxRow| row.purpose.group() == Some(group) && !is_on(Mutation::ForgetOutbox);
        for request in OutboxRow::all(self.store)?.into_iter().filter(bound) {
            if is_on(Mutation::EncryptAgain) && matches!(request.purpose, Purpose::Post { .. }) {
                self.forget_request(request.id)?;
                continue;
            }
            self.effect(super::Effect::Request { id: request.id, request: request.request });
        }
        self.touch(row.conversation);
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
            rejoin.commit = None;
        }
        repair.save(self.store)?;
        track.back_to(from);
        track.save(self.store)?;
        (row.cursor, row.wait_for) = (from, qpq_proto::ids::Epoch(0));
        Ok(row.save(self.store)?)
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
        self.must_come_back(row, "this device was set back to an older state")?;
        let gap =
            EventRowKind::Gap { count: 1, reason: "a message that was sent before this device was set back".into() };
        self.event(Some(row.conversation), gap)
    }

    fn own_messages_after(
        &self,
        conversation: ConversationId,
        after: Seq,
    ) -> Result<Vec<(Seq, qpq_proto::ids::MessageId)>, Error> {
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
            if let Some(mut message) = self.store.message(row.conversation, self.account.identity, id)? {
                (message.seq, message.status) = (None, MessageStatus::Waiting);
                self.store.update_message(&message)?;
                self.wish(row.conversation, WishKind::Send { message: id }, Duration::ZERO)?;
            }
        }
        for kind in owed.changes {
            self.wish(row.conversation, kind, Duration::ZERO)?;
        }
        Ok(())
    }

    /// The group cannot go on with the state that this device has.
    pub(super) fn lose(&mut self, row: &mut GroupRow, reason: &str) -> Result<(), Error> {
        row.state = ConversationState::Broken;
        row.awaiting.clear();
        self.forget_operations(row)?;
        let mut repair = self.repair(row.group)?;
        repair.rejoin = Some(Rejoin::because(reason));
        repair.save(self.store)?;
        for (key, bytes) in self.store.scan(Table::Backlog, &row.group.0)? {
            self.store.remove(Table::Backlog, &key)?;
            let waiting: BacklogRow = decode(&bytes)?;
            self.unreadable(row, waiting.entry)?;
        }
        self.next_join(row.group)?;
        self.rejoin_wish(row.conversation)
    }

    /// A Welcome has opened the group again before the external commit has.
    pub(super) fn came_in(&mut self, row: &GroupRow) -> Result<(), Error> {
        let mut repair = self.repair(row.group)?;
        let Some(rejoin) = repair.rejoin.take() else { return Ok(()) };
        repair.save(self.store)?;
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

    /// There is at most one in a conversation.
    fn rejoin_wish(&mut self, conversation: ConversationId) -> Result<(), Error> {
        if self.rejoin_wish_of(conversation)?.is_none() {
            self.wish(conversation, WishKind::Rejoin, Duration::ZERO)?;
        }
        Ok(())
    }

    fn rejoin_wish_of(&self, conversation: ConversationId) -> Result<Option<WishRow>, Error> {
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
        if rejoin.commit.is_some() || !is_heard {
            return Ok(Progress::Wait);
        }
        let purpose = Purpose::RejoinInfo { wish: reference, group: row.group };
        Ok(Progress::InFlight(vec![self.request(Request::RejoinInfo(row.group), purpose)?]))
    }

    /// The second step: the external commit.
    pub(super) fn come_back(&mut self, wish: WishRef, id: GroupId, info: &RejoinInfo) -> Result<(), Error> {
        let mut repair = self.repair(id)?;
        let Some(rejoin) = &mut repair.rejoin else { return Ok(()) };
        self.delete_mls(id)?;
        let provider = Provider::new(self.crypto, &mut *self.store);
        let way = match rejoin::build(&provider, &self.myself, id, info) {
            Ok(way) => way,
            Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
            Err(error) => return self.rejoin_later(wish, repair, error.to_string()),
        };
        rejoin.commit = Some(ContentHash::of(&way.commit));
        rejoin.leaving.clone_from(&info.leaving);
        repair.save(self.store)?;
        self.keep_mls(id, way.group);
        let (commit, group_info) = (way.commit, way.group_info);
        let commit = Commit { expected_epoch: way.epoch, commit, group_info, welcomes: vec![] };
        let request = self.request(Request::Commit { group: id, commit }, Purpose::Rejoin { wish, group: id })?;
        let mut conversation = self.conversation(wish.conversation)?;
        conversation.in_flight = vec![request];
        Ok(conversation.save(self.store)?)
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
        // Out of nothing: the log begins with the commit.
        if row.state == ConversationState::Starting {
            row.state = ConversationState::Broken;
            row.cursor = Seq(seq.0.saturating_sub(1));
            row.save(self.store)?;
            self.subscribe(&row)?;
        }
        Ok(())
    }

    pub(super) fn rejoin_refused(&mut self, wish: WishRef, group: GroupId, refusal: &Refusal) -> Result<(), Error> {
        match refusal.code {
            Code::NotFound | Code::Forbidden => self.gone(group),
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
        rejoin.commit = None;
        rejoin.trouble = Some(reason);
        repair.save(self.store)?;
        if let Some(mut row) = WishRow::load(self.store, &wish)? {
            let [a, b] = random::<2>()?;
            let pause = longest * (1 + u64::from(u16::from_be_bytes([a, b]))) / 65_536;
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
        let leaves: Vec<Leaf> = group::leaves(&mls).into_iter().map(|(_, leaf)| leaf).collect();
        let state = trust_group::state(mls.public_group())?;
        row.suite = Suite::try_from(mls.ciphersuite())?.number();
        row.joined = group::epoch(&mls);
        self.keep_mls(row.group, mls);
        row.state = ConversationState::Active;
        row.leaving = rejoin.leaving;
        row.refreshed = self.now;
        self.check_leaves(row, &leaves)?;
        row.save(self.store)?;
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
        self.learn_name(row, &state.name)?;
        if !row.leaving.is_empty() {
            self.leavers_wish(row.conversation, Duration::from_secs(30))?;
        }
        self.make_up(row)
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

    /// What is in quarantine of one group.
    pub(super) fn quarantined(&self, group: GroupId) -> Result<Vec<QuarantineRow>, Error> {
        let all = QuarantineRow::all(self.store)?;
        Ok(all.into_iter().filter(|row| row.entry.log == LogId::Group(group)).collect())
    }

    /// The server says that this device is not in the group any more.
    fn gone(&mut self, group: GroupId) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        let mut repair = self.repair(group)?;
        let lost = repair.rejoin.take().map_or(0, |rejoin| rejoin.lost);
        repair.set_back = None;
        repair.save(self.store)?;
        if let Some(wish) = self.rejoin_wish_of(row.conversation)? {
            WishRow::delete(self.store, &wish.key())?;
        }
        if row.state == ConversationState::Starting {
            return self.discard_group(row);
        }
        let reason = "this device is no longer in the group".into();
        self.event(Some(row.conversation), EventRowKind::Gap { count: lost, reason })?;
        // Should it be added again, that may be to another group of the same name and number.
        row.cursor = Seq(0);
        let mut track = self.track(group)?;
        track.back_to(Seq(0));
        track.save(self.store)?;
        self.end_group(&mut row, ConversationState::Removed)
    }

    /// The server knows nothing of a group that this device is in: it was set back to before the group, or before this
    /// device came in. Whoever made it makes it again; the others wait to be added again.
    fn forgotten(&mut self, group: GroupId) -> Result<(), Error> {
        let Some(row) = GroupRow::load(self.store, &group)?.filter(|row| is_followed(row.state)) else {
            return Ok(());
        };
        let mut repair = self.repair(group)?;
        let own = self.own_messages_after(row.conversation, Seq(0))?;
        repair.owed.messages = own.into_iter().map(|(_, id)| id).collect();
        let track = self.track(group)?;
        repair.owed.changes = track.done.iter().map(|done| done.kind.clone()).filter(|kind| !is_start(kind)).collect();
        repair.save(self.store)?;
        let is_creator = track.done.iter().any(|done| is_start(&done.kind));
        let is_direct = matches!(row.conversation, ConversationId::Direct(_));
        if is_creator || is_direct { self.start_again(&row) } else { self.gone(group) }
    }

    fn start_again(&mut self, row: &GroupRow) -> Result<(), Error> {
        let mls = self.take_mls(row.group)?;
        let mut members: Vec<_> = group::leaves(&mls).into_iter().map(|(_, leaf)| leaf.id.identity).collect();
        members.sort_unstable();
        members.dedup();
        members.retain(|identity| *identity != self.account.identity);
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
        let name = row.name.clone();
        self.wish(row.conversation, WishKind::Start { suite: row.suite, name, members }, Duration::ZERO)?;
        self.make_up(&row)
    }

    /// Groups that this identity is in, says the server.
    pub(super) fn member_of(&mut self, groups: Vec<GroupId>) -> Result<(), Error> {
        for group in groups {
            if GroupRow::load(self.store, &group)?.is_none() {
                self.request(Request::RejoinInfo(group), Purpose::ComeIn { group })?;
            }
        }
        Ok(())
    }

    /// A group that this device is in, or a sibling, and has never heard of.
    pub(super) fn come_in(&mut self, id: GroupId, info: &RejoinInfo) -> Result<(), Error> {
        if GroupRow::load(self.store, &id)?.is_some() {
            return Ok(());
        }
        let provider = Provider::new(self.crypto, &mut *self.store);
        // Only to look at it; the commit is made anew when its turn comes.
        let way = match rejoin::build(&provider, &self.myself, id, info) {
            Ok(way) => way,
            Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
            Err(_) => return Ok(()),
        };
        let state = trust_group::state(way.group.public_group())?;
        let suite = Suite::try_from(way.group.ciphersuite())?.number();
        let leaves: Vec<Leaf> = group::leaves(&way.group).into_iter().map(|(_, leaf)| leaf).collect();
        self.delete_mls(id)?;
        let Ok(conversation) = self.conversation_for(state.kind, id, &leaves) else { return Ok(()) };
        let row = GroupRow::unknown(id, conversation, state.kind, suite, self.now);
        row.save(self.store)?;
        let mut known = self.conversation(conversation)?;
        known.group = Some(id);
        known.save(self.store)?;
        self.ensure_mending(&row)
    }

    /// Takes requests about the group's log out of the outbox, and with them the commit that is pending.
    fn forget_operations(&mut self, row: &mut GroupRow) -> Result<(), Error> {
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

fn is_start(kind: &WishKind) -> bool {
    matches!(kind, WishKind::Start { .. })
}

/// Own messages that are said again at most.
const MOST_REPEATED: usize = 10_000;

//! Wishes become operations: one after the other in each conversation, again when superseded, until confirmed or
//! refused for good.

use std::time::Duration;

use qpq_proto::account::ServerHello;
use qpq_proto::ids::{GroupId, MessageId};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::LogId;
use qpq_proto::time::Timestamp;
use qpq_trust::key_package::CLOCK_SKEW;

use super::ctx::{Ctx, is_followed};
use super::{Connection, Effect};
use crate::error::Error;
use crate::mls::group;
use crate::request::Purpose;
use crate::store::Table;
use crate::store::decode;
use crate::store::encode;
use crate::store::rows::{
    ConversationRow, EventRowKind, GroupRow, OutboxRow, RepairRow, Row as _, WishKind, WishRef, WishRow,
    conversation_key, number, set_number,
};
use crate::view::{ConversationId, ConversationState, MessageStatus};

/// How far a wish has come.
pub(super) enum Progress {
    /// Nothing is left to do.
    Done,
    /// These requests must be answered first.
    InFlight(Vec<u64>),
    /// Something else must happen first: an epoch, a Welcome, a connection.
    Wait,
    /// It never will be.
    Refused(String),
}

impl Ctx<'_> {
    pub(super) fn connected(&mut self, hello: ServerHello) -> Result<(), Error> {
        let difference = i128::from(hello.now.0) - i128::from(self.now.0);
        let difference = if hello.now == Timestamp::default() { 0 } else { difference };
        let is_clock_off = difference.unsigned_abs() / 1000 >= u128::from(CLOCK_SKEW / 2);
        let ahead = believable(difference);
        *self.connection = Connection { online: true, ahead, is_clock_off, ..Connection::default() };
        let is_restored = ![0, hello.incarnation].contains(&self.account.incarnation);
        if self.account.domain != hello.domain
            || !self.account.registered
            || self.account.incarnation != hello.incarnation
        {
            self.account.domain = hello.domain;
            self.account.incarnation = hello.incarnation;
            self.account.registered = true;
            self.account.save(self.store)?;
        }
        // What concerns the log of a group waits until both ends agree about that log.
        let unbound = |row: &OutboxRow| row.purpose.group().is_none() && !is_on(Mutation::ForgetOutbox);
        for row in OutboxRow::all(self.store)?.into_iter().filter(unbound) {
            self.effect(Effect::Request { id: row.id, request: row.request });
        }
        self.renew_key_packages()?;
        if is_restored {
            self.look_around()?;
        }
        let after = self.inbox_cursor()?;
        self.effect(Effect::Subscribe { log: LogId::Inbox, after, known: vec![] });
        for row in GroupRow::all(self.store)? {
            if row.awaiting.is_empty() || row.joined_by.is_none() {
                self.subscribe(&row)?;
            }
            if row.state == ConversationState::Broken {
                self.ensure_mending(&row)?;
            }
            self.refresh_when_due(&row)?;
        }
        set_number(self.store, UPKEEP, self.now.0)?;
        self.touch_all()
    }

    pub(super) fn tick(&mut self) -> Result<(), Error> {
        self.expire()?;
        if !self.connection.online {
            return Ok(());
        }
        for mut row in OutboxRow::all(self.store)? {
            let may_leave = row.purpose.group().is_none_or(|group| self.connection.subscribed.contains_key(&group));
            let due = row.attempts > 0 && row.not_before <= self.now && may_leave && !is_on(Mutation::ForgetRetry);
            if due {
                // Until the next refusal it counts as on its way.
                row.not_before = Timestamp(u64::MAX);
                row.save(self.store)?;
                self.effect(Effect::Request { id: row.id, request: row.request });
            }
        }
        // A connection may last for months.
        if self.now.since(Timestamp(number(self.store, UPKEEP)?)) > UPKEEP_EVERY {
            set_number(self.store, UPKEEP, self.now.0)?;
            self.renew_key_packages()?;
            for row in GroupRow::all(self.store)? {
                self.refresh_when_due(&row)?;
            }
        }
        self.touch_all()
    }

    pub(super) fn touch_all(&mut self) -> Result<(), Error> {
        // Very many may wait in one conversation.
        for row in ConversationRow::all(self.store)? {
            if !self.store.scan_first(Table::Wishes, &conversation_key(row.id), 1)?.is_empty() {
                self.touch(row.id);
            }
        }
        Ok(())
    }

    /// Carries out what can be carried out now, in every conversation that something happened in.
    pub fn drive_touched(&mut self) -> Result<(), Error> {
        if self.connection.online {
            for conversation in self.take_touched() {
                self.drive(conversation)?;
            }
        }
        Ok(())
    }

    fn drive(&mut self, id: ConversationId) -> Result<(), Error> {
        let Some(mut conversation) = ConversationRow::load(self.store, &id)? else { return Ok(()) };
        if let Some(group) = conversation.group.filter(|group| self.connection.ready.contains(group)) {
            self.finish_set_back(group)?;
            conversation = self.conversation(id)?;
        }
        while conversation.in_flight.is_empty() {
            let Some(wish) = self.next_wish(id)? else { return Ok(()) };
            let reference = WishRef { conversation: id, id: wish.id };
            let progress = match self.attempt(&wish, reference) {
                Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
                // What others published or the server answered does not fit: this wish fails, and nothing else.
                Err(error) => {
                    self.undo_attempt(id)?;
                    Progress::Refused(error.to_string())
                }
                Ok(progress) => progress,
            };
            match progress {
                Progress::Done => self.settle(&wish, Ok(()))?,
                Progress::Wait => return Ok(()),
                Progress::Refused(reason) => self.settle(&wish, Err(reason))?,
                Progress::InFlight(requests) => {
                    conversation = self.conversation(id)?;
                    conversation.in_flight = requests;
                    conversation.save(self.store)?;
                }
            }
        }
        Ok(())
    }

    /// A commit that was staged and never left must not stand in the way of the next one.
    fn undo_attempt(&mut self, id: ConversationId) -> Result<(), Error> {
        match self.group_of(id)? {
            Some(mut row) if row.pending.is_none() => self.drop_pending(&mut row),
            Some(_) | None => Ok(()),
        }
    }

    /// The first wish whose time has come. Nothing goes before what all others need: a group, and a way into it.
    fn next_wish(&self, id: ConversationId) -> Result<Option<WishRow>, Error> {
        let mut next = None;
        // A thousand messages may wait. Where nothing goes before them, the first one whose time has come is near the beginning.
        let most = if self.may_have_urgent(id)? { usize::MAX } else { FEW_WISHES };
        let mut found = self.store.scan_first(Table::Wishes, &conversation_key(id), most)?;
        if found.len() == most && !self.is_any_due(&found)? {
            found = self.store.scan(Table::Wishes, &conversation_key(id))?;
        }
        for (_, bytes) in found {
            let wish: WishRow = decode(&bytes)?;
            if matches!(wish.kind, WishKind::Start { .. } | WishKind::Rejoin) {
                return Ok(Some(wish).filter(|wish| wish.not_before <= self.now));
            }
            if next.is_none() && wish.not_before <= self.now {
                next = Some(wish);
            }
        }
        Ok(next)
    }

    fn is_any_due(&self, wishes: &[(Vec<u8>, Vec<u8>)]) -> Result<bool, Error> {
        for (_, bytes) in wishes {
            if decode::<WishRow>(bytes)?.not_before <= self.now {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there may be a wish that goes before all others: to make the group, or to come back into it.
    fn may_have_urgent(&self, id: ConversationId) -> Result<bool, Error> {
        let group = ConversationRow::load(self.store, &id)?.and_then(|row| row.group);
        let Some(group) = group else { return Ok(true) };
        let is_active = GroupRow::load(self.store, &group)?.is_some_and(|row| row.state == ConversationState::Active);
        Ok(!is_active || RepairRow::load(self.store, &group)?.is_some())
    }

    fn attempt(&mut self, wish: &WishRow, reference: WishRef) -> Result<Progress, Error> {
        if wish.kind == WishKind::Rejoin {
            return self.attempt_rejoin(wish, reference);
        }
        let row = self.group_of(wish.conversation)?;
        if let WishKind::Start { suite, name, members } = &wish.kind {
            return match row {
                // Until the commit that adds the members has come back, they are not in.
                Some(row) if row.pending.is_some_and(|pending| pending.wish == reference) => Ok(Progress::Wait),
                Some(row) if row.state != ConversationState::Starting => Ok(Progress::Done),
                // The server has such a group, and this device comes into it.
                Some(row) if !self.has_keys(&row)? => Ok(Progress::Done),
                Some(_) => Ok(Progress::Wait),
                None => self.start_group(wish, reference, *suite, name, members),
            };
        }
        let Some(mut row) = row else { return Ok(Progress::Wait) };
        match row.state {
            ConversationState::Left => return Ok(Progress::Refused("you left this group".into())),
            ConversationState::Removed => return Ok(Progress::Refused("you were removed from this group".into())),
            ConversationState::Starting | ConversationState::Broken => return Ok(Progress::Wait),
            ConversationState::Active => {}
        }
        if row.pending.is_some() || !row.awaiting.is_empty() || !self.connection.ready.contains(&row.group) {
            return Ok(Progress::Wait);
        }
        let Ok(mls) = self.take_mls(row.group) else {
            self.lose(&mut row, "the keys of the group are missing on this device")?;
            row.save(self.store)?;
            return Ok(Progress::Wait);
        };
        let behind = group::epoch(&mls) < row.wait_for;
        self.keep_mls(row.group, mls);
        if behind {
            return Ok(Progress::Wait);
        }
        if self.is_kept_quiet(wish)? {
            return Ok(Progress::Done);
        }
        match &wish.kind {
            WishKind::Start { .. } | WishKind::Rejoin => Ok(Progress::Done),
            WishKind::Send { message } => self.post(row, reference, *message),
            WishKind::Tell { content } => self.tell(row, reference, content),
            WishKind::Annotate { message, what } => self.annotate(&row, reference, *message, what),
            WishKind::Receipt { is_read, messages } => self.receipt(&row, reference, *is_read, messages),
            WishKind::Leave => {
                // Whoever leaves, leaves with all devices; the others cannot do it for themselves while they are away.
                let devices = self.siblings_in(row.group)?;
                if devices.is_empty() {
                    return self.leave(row, reference);
                }
                let id = self.wish(wish.conversation, WishKind::RemoveOwn { devices }, Duration::ZERO)?;
                let reference = WishRef { conversation: wish.conversation, id };
                let siblings = WishRow::load(self.store, &reference)?.ok_or_else(just_stored)?;
                self.commit(row, &siblings, reference)
            }
            WishKind::Add { .. } if !row.leaving.is_empty() => {
                // Whoever is added could not know why they go: first the leavers, then the newcomers.
                let leavers = self.leavers_wish(wish.conversation, Duration::ZERO)?;
                let reference = WishRef { conversation: wish.conversation, id: leavers.id };
                self.commit(row, &leavers, reference)
            }
            WishKind::Add { .. }
            | WishKind::Remove { .. }
            | WishKind::Rename { .. }
            | WishKind::SetAdmin { .. }
            | WishKind::SetExpiry { .. }
            | WishKind::UpdateKey
            | WishKind::RemoveOwn { .. }
            | WishKind::RemoveLeavers => self.commit(row, wish, reference),
        }
    }

    /// What the engine wishes by itself is not done where the user has not accepted a stranger's conversation, or has blocked the
    /// other one: whoever watches would learn that somebody is there.
    fn is_kept_quiet(&mut self, wish: &WishRow) -> Result<bool, Error> {
        let id = wish.conversation;
        match &wish.kind {
            WishKind::Receipt { .. } => Ok(!self.tells_others(id)?),
            WishKind::Tell { .. } | WishKind::UpdateKey | WishKind::RemoveLeavers => self.is_untouched(id),
            WishKind::Start { .. }
            | WishKind::Send { .. }
            | WishKind::Add { .. }
            | WishKind::Remove { .. }
            | WishKind::Leave
            | WishKind::Rename { .. }
            | WishKind::SetAdmin { .. }
            | WishKind::SetExpiry { .. }
            | WishKind::Annotate { .. }
            | WishKind::RemoveOwn { .. }
            | WishKind::Rejoin => Ok(false),
        }
    }

    /// The wish to carry out leaves; there is at most one in a conversation.
    pub(super) fn leavers_wish(&mut self, id: ConversationId, delay: Duration) -> Result<WishRow, Error> {
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(id))? {
            let wish: WishRow = decode(&bytes)?;
            if wish.kind == WishKind::RemoveLeavers {
                return Ok(wish);
            }
        }
        let wish = self.wish(id, WishKind::RemoveLeavers, delay)?;
        let reference = WishRef { conversation: id, id: wish };
        WishRow::load(self.store, &reference)?.ok_or_else(just_stored)
    }

    /// Ends a wish, one way or the other.
    pub(super) fn settle(&mut self, wish: &WishRow, result: Result<(), String>) -> Result<(), Error> {
        WishRow::delete(self.store, &wish.key())?;
        self.forget_claims(wish.id)?;
        if let WishKind::Send { message } = wish.kind {
            if let Err(reason) = &result {
                self.fail_message(wish.conversation, message, reason)?;
            }
            return Ok(());
        }
        if let Err(reason) = &result {
            self.store.put(Table::Refusals, &wish.id.to_be_bytes(), &encode(reason)?)?;
            // What the engine wished for itself is nobody's news.
            if is_the_users(&wish.kind) {
                let what = describe(&wish.kind).to_owned();
                self.event(Some(wish.conversation), EventRowKind::Refused { what, reason: reason.clone() })?;
            }
            if matches!(wish.kind, WishKind::Start { .. }) {
                self.fail_all(wish.conversation, reason)?;
            }
        }
        self.effect(Effect::Settled { wish: wish.id, result });
        Ok(())
    }

    /// A conversation that cannot be made: nothing in it will ever be sent.
    pub(super) fn fail_all(&mut self, id: ConversationId, reason: &str) -> Result<(), Error> {
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(id))? {
            let wish: WishRow = decode(&bytes)?;
            self.settle(&wish, Err(reason.to_owned()))?;
        }
        Ok(())
    }

    fn fail_message(&mut self, id: ConversationId, message: MessageId, reason: &str) -> Result<(), Error> {
        if let Some(mut row) = self.store.message(id, self.account.identity, message)? {
            row.status = MessageStatus::Failed(reason.to_owned());
            self.store.update_message(&row)?;
        }
        self.store.put(Table::Refusals, &message.0, &encode(&reason)?)?;
        self.event(Some(id), EventRowKind::NotSent { message, reason: reason.to_owned() })?;
        self.effect(Effect::Sent { message, result: Err(reason.to_owned()) });
        Ok(())
    }

    /// Post-compromise security: each device refreshes its leaf about once a week, at a moment of its own.
    fn refresh_when_due(&mut self, row: &GroupRow) -> Result<(), Error> {
        if !is_followed(row.state) || self.now.since(row.refreshed) < REFRESH_EVERY {
            return Ok(());
        }
        let mut row = row.clone();
        row.refreshed = self.now;
        row.save(self.store)?;
        let [a, b] = super::commands::random::<2>()?;
        let delay = Duration::from_secs(u64::from(u16::from_be_bytes([a, b])) % 3600);
        self.wish(row.conversation, WishKind::UpdateKey, delay)?;
        Ok(())
    }

    /// A wish that waits for the removal of leavers is dropped with the group. What the server has forgotten cannot be said
    /// again.
    pub(super) fn end_group(&mut self, row: &mut GroupRow, state: ConversationState) -> Result<(), Error> {
        if let Some(repair) = RepairRow::load(self.store, &row.group)? {
            RepairRow::delete(self.store, &row.group)?;
            let forgotten = repair.set_back.into_iter().flat_map(|set_back| set_back.messages).map(|(_, id)| id);
            for message in forgotten.chain(repair.owed.messages) {
                self.fail_message(
                    row.conversation,
                    message,
                    "the server has forgotten it, and you are not in the group",
                )?;
            }
        }
        row.state = state;
        row.pending = None;
        row.awaiting.clear();
        row.save(self.store)?;
        self.delete_mls(row.group)?;
        self.forget_requests(row.group)?;
        // A Welcome to come back may have overtaken the end.
        if !is_on(Mutation::ForgetEarlyWelcome) {
            self.next_join(row.group)?;
        }
        Ok(())
    }

    fn forget_requests(&mut self, group: GroupId) -> Result<(), Error> {
        for row in OutboxRow::all(self.store)? {
            let concerned = match &row.purpose {
                Purpose::Create { group: of, .. }
                | Purpose::Commit { group: of, .. }
                | Purpose::Post { group: of, .. }
                | Purpose::Leave { group: of, .. }
                | Purpose::RejoinInfo { group: of, .. }
                | Purpose::Rejoin { group: of, .. }
                | Purpose::Check { group: of, .. } => *of == group,
                Purpose::LookUp(_)
                | Purpose::PublishKeys
                | Purpose::Claim { .. }
                | Purpose::Tree { .. }
                | Purpose::ComeIn { .. }
                | Purpose::OwnDevices { .. }
                | Purpose::UpdateManifest { .. }
                | Purpose::Refresh { .. }
                | Purpose::Memberships => false,
            };
            if concerned {
                self.forget_request(row.id)?;
            }
        }
        Ok(())
    }

    /// Takes a request out of the outbox, and off the list of what its conversation waits for.
    pub(super) fn forget_request(&mut self, id: u64) -> Result<(), Error> {
        let Some(row) = OutboxRow::load(self.store, &id)? else { return Ok(()) };
        OutboxRow::delete(self.store, &id)?;
        if let Some(wish) = row.purpose.wish()
            && let Some(mut conversation) = ConversationRow::load(self.store, &wish.conversation)?
        {
            conversation.in_flight.retain(|request| *request != id);
            conversation.save(self.store)?;
            self.touch(wish.conversation);
        }
        Ok(())
    }
}

/// A server that says to be years away is not believed: its clock decides when messages disappear.
fn believable(ahead: i128) -> i64 {
    i64::try_from(ahead).ok().filter(|ahead| ahead.unsigned_abs() <= MOST_AHEAD).unwrap_or(0)
}

/// Ten days, in milliseconds.
const MOST_AHEAD: u64 = 10 * 24 * 3600 * 1000;

/// Whether the user wished it, and not the engine for itself.
pub(super) fn is_the_users(kind: &WishKind) -> bool {
    !matches!(
        kind,
        WishKind::RemoveLeavers
            | WishKind::Rejoin
            | WishKind::Tell { .. }
            | WishKind::Receipt { .. }
            | WishKind::RemoveOwn { .. }
    )
}

fn just_stored() -> Error {
    Error::BadInput("a wish that was just stored".into())
}

fn describe(kind: &WishKind) -> &'static str {
    match kind {
        WishKind::Start { .. } => "starting the conversation",
        WishKind::Send { .. } => "sending",
        WishKind::Add { .. } => "adding members",
        WishKind::Remove { .. } => "removing a member",
        WishKind::Leave => "leaving",
        WishKind::Rename { .. } => "renaming",
        WishKind::SetAdmin { .. } => "changing a role",
        WishKind::UpdateKey => "refreshing the keys",
        WishKind::RemoveLeavers => "removing those who left",
        WishKind::Rejoin => "coming back",
        WishKind::Tell { .. } => "telling the group's name",
        WishKind::Annotate { .. } => "changing a message",
        WishKind::Receipt { .. } => "confirming messages",
        WishKind::SetExpiry { .. } => "changing how long messages stay",
        WishKind::RemoveOwn { .. } => "removing a device of yours",
    }
}

/// Wishes that are looked at before all are: receipts that are being gathered may come first.
const FEW_WISHES: usize = 4;

/// The counter that holds when keys were last looked after.
const UPKEEP: &str = "upkeep";
const UPKEEP_EVERY: Duration = Duration::from_secs(3600);
const REFRESH_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);

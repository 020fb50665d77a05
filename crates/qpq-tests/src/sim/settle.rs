//! The end: the network heals, everything must come to rest in a bounded time, and then everything must agree.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use qpq_core::engine::Query;
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::{ConversationRow, GroupRow, JoinRow, MessageRow, OutboxRow, Row as _, WishRow};
use qpq_core::store::{Store as _, Table};
use qpq_core::view::{ConversationState, GroupInfo, MessageStatus};
use qpq_proto::ids::{GroupId, IdentityId, MessageId, Seq};
use qpq_proto::stream::EntryKind;
use qpq_server::store::group::Span;

use super::agenda::{Event, SECOND};
use super::oracle::{Log, group_of, is_within};
use super::world::World;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Users act, and harm is done.
    Storm,
    /// Nothing new happens; until this time everything must have come to rest.
    Calm {
        until: u64,
    },
    /// Everybody has written once more, to see that every group still works.
    Proof {
        until: u64,
    },
    Over,
}

impl World {
    /// The storm is over.
    pub(super) fn heal(&mut self) {
        self.tell(format_args!("the storm is over"));
        self.plan.heal();
        self.network.borrow_mut().heal();
        for device in &mut self.devices {
            device.away_until = 0;
        }
        let now = self.agenda.micros();
        for index in 0..self.devices.len() {
            self.agenda.after(SECOND, Event::Start(index));
        }
        self.phase = Phase::Calm { until: now + PATIENCE };
        self.agenda.after(LOOK, Event::Look);
    }

    /// Has everything come to rest?
    pub(super) fn look(&mut self) -> Result<()> {
        let (Phase::Calm { until } | Phase::Proof { until }) = self.phase else { return Ok(()) };
        match self.unrest()? {
            Some(what) if self.agenda.micros() > until => bail!("the network is quiet, and {what}"),
            Some(_) => {}
            None if matches!(self.phase, Phase::Calm { .. }) => {
                self.tell(format_args!("everything is quiet; everybody writes once more"));
                self.check_all()?;
                for index in 0..self.devices.len() {
                    for conversation in self.conversations(index)? {
                        self.send(index, conversation)?;
                    }
                }
                self.phase = Phase::Proof { until: self.agenda.micros() + PATIENCE };
            }
            None => {
                self.check_all()?;
                self.phase = Phase::Over;
            }
        }
        self.agenda.after(LOOK, Event::Look);
        Ok(())
    }

    /// What is still under way.
    fn unrest(&mut self) -> Result<Option<String>> {
        let now = self.agenda.now();
        for device in &mut self.devices {
            let name = device.account.name.to_string();
            // A device may not have noticed yet that its connection is gone.
            let is_served = device.link.is_some_and(|link| self.sessions.borrow().contains_key(&link));
            if !device.engine.is_online() || !device.news.is_empty() || !is_served {
                return Ok(Some(format!("{name} is not connected")));
            }
            if device.subscriptions == 0 || device.caught_up != device.subscriptions {
                let (some, all) = (device.caught_up, device.subscriptions);
                return Ok(Some(format!("{name} has caught up with {some} of {all} logs")));
            }
            if let Some(wish) = WishRow::all(&device.store)?.first() {
                let row = group_of(&device.store, wish.conversation)?;
                let row = row.map(|group| GroupRow::load(&device.store, &group)).transpose()?.flatten();
                let group = row.map(|row| (row.state, row.pending.is_some(), row.awaiting, row.wait_for));
                return Ok(Some(format!("{name} still has the wish {:?}; its group: {group:?}", wish.kind)));
            }
            if let Some(request) = OutboxRow::all(&device.store)?.first() {
                return Ok(Some(format!("{name} waits for an answer to {:?}", request.purpose)));
            }
            if !JoinRow::all(&device.store)?.is_empty() {
                return Ok(Some(format!("{name} has a Welcome that waits")));
            }
            if !Query::new(&mut device.store).is_quiet(now)? {
                return Ok(Some(format!("{name} is not quiet")));
            }
        }
        for (group, log) in &self.oracle.logs {
            for (index, (device, spans)) in self.devices.iter().zip(&log.spans).enumerate() {
                let Some(span) = spans.last() else { continue };
                let last = span.left.unwrap_or(Seq(log.entries.len() as u64));
                let row = GroupRow::load(&device.store, group)?;
                let is_active = row.as_ref().is_some_and(|row| row.state == ConversationState::Active);
                if span.left.is_none() && !is_active {
                    let state = row.map(|row| row.state);
                    return Ok(Some(format!("{} is not yet in group {}: {state:?}", device.name(), log.number)));
                }
                // Whoever was just added has nothing to read but the end of the stay before, and whoever left reads no further.
                let before = spans.iter().rev().nth(1).and_then(|span| span.left).filter(|left| !log.is_leave(*left));
                let last = if last == span.joined { before.unwrap_or_default() } else { last };
                if last == Seq(0) || span.left.is_some_and(|left| log.is_leave(left)) {
                    continue;
                }
                // What was over before the device was set back, it need not know any more.
                if row.is_none() && span.left.is_some() && self.oracle.is_excused(index) {
                    continue;
                }
                // Whoever was removed while it could not read on was told so by the server; and whoever has left does not
                // care how a server ends the stay that was set back to before that.
                let is_out = |row: &GroupRow| matches!(row.state, ConversationState::Removed | ConversationState::Left);
                let knows = row.as_ref().is_some_and(is_out);
                if knows && self.oracle.is_excused(index) {
                    continue;
                }
                let cursor = row.map_or(Seq(0), |row| row.cursor);
                if cursor < last {
                    let name = device.name();
                    return Ok(Some(format!("{name} is at {cursor} of {last} in log {}", log.number)));
                }
            }
        }
        Ok(None)
    }

    fn check_all(&mut self) -> Result<()> {
        let groups: Vec<_> = self.oracle.logs.iter().map(|(group, log)| (log.number, *group)).collect();
        for (number, group) in groups {
            self.check_agreement(group).with_context(|| format!("group {number}"))?;
            for index in 0..self.devices.len() {
                let name = self.devices[index].account.name.clone();
                self.check_history(index, group).with_context(|| format!("{name} in group {number}"))?;
            }
        }
        for index in 0..self.devices.len() {
            self.check_own(index).with_context(|| format!("{}'s own messages", self.devices[index].name()))?;
        }
        Ok(())
    }

    /// All members agree with each other and with the server about who is in, which epoch it is and what it is called.
    fn check_agreement(&mut self, group: GroupId) -> Result<()> {
        let log = self.oracle.logs.get(&group).context("a log")?;
        let commits = log.entries.iter().filter(|entry| entry.kind == EntryKind::Commit).count() as u64;
        let members: Vec<usize> = (0..self.devices.len()).filter(|index| is_current(&log.spans[*index])).collect();
        let expected: BTreeSet<IdentityId> =
            members.iter().map(|index| self.devices[*index].account.identity).collect();
        let mut first: Option<(String, String)> = None;
        for index in 0..self.devices.len() {
            let device = &mut self.devices[index];
            let name = device.account.name.to_string();
            let row = GroupRow::load(&device.store, &group)?;
            let is_active = row.as_ref().is_some_and(|row| row.state == ConversationState::Active);
            ensure!(is_active == members.contains(&index), "{name} is a member: {is_active}, says the device");
            let Some(row) = row.filter(|_| is_active) else { continue };
            let info = Query::new(&mut device.store).group_info(row.conversation)?.context("a group")?;
            ensure!(info.epoch.0 == commits, "{name} is in epoch {} of {commits}", info.epoch);
            let roster: BTreeSet<_> = info.members.iter().map(|member| member.contact.identity).collect();
            ensure!(roster == expected, "{name} has {} members, the server {}", roster.len(), expected.len());
            // A name whose key nobody has any more who is left stays unknown to whoever came back without it, until the
            // next rename.
            let may_be_lost = (0..self.devices.len()).any(|index| self.oracle.is_excused(index));
            let facts = facts(&info, if may_be_lost { "" } else { &row.name });
            match &first {
                Some((other, theirs)) => ensure!(facts == *theirs, "{name} has {facts}, {other} has {theirs}"),
                None => first = Some((name, facts)),
            }
        }
        Ok(())
    }

    /// Every message of the log is shown, once and in order, where it was for this device.
    fn check_history(&self, index: usize, group: GroupId) -> Result<()> {
        let device = &self.devices[index];
        let log = self.oracle.logs.get(&group).context("a log")?;
        let Some(row) = GroupRow::load(&device.store, &group)? else {
            // What was over before the device was set back, it need not know any more.
            let is_over = self.oracle.excuses.set_back.contains(&index) && !is_current(&log.spans[index]);
            ensure!(log.spans[index].is_empty() || is_over, "it is unknown on this device");
            return Ok(());
        };
        let rows = device.store.messages(row.conversation, None, usize::MAX, None)?;
        let shown: Vec<Place> = rows.iter().filter_map(|message| Some((message.seq?, message.id))).collect();
        if self.oracle.excuses.is_server_set_back {
            return self.check_after_set_back(index, group, &rows);
        }
        for (seq, _) in &shown {
            ensure!(is_within(&log.spans[index], *seq), "{seq} is shown, and was not for this device");
        }
        for span in &log.spans[index] {
            let is_own = |id: &MessageId| self.oracle.written.get(id).is_some_and(|written| written.by == index);
            let excused = check_span(log, *span, &shown, self.hole(index, group, &row), is_own)?;
            if self.oracle.excuses.is_unheard_of(index, group, *span) {
                continue;
            }
            let told = self.oracle.seen[index].gaps;
            ensure!(excused <= told, "{excused} messages are missing, and the user was told of {told}");
        }
        Ok(())
    }

    /// Which entries may be missing: those from the cursor of the backup up to the moment when the device was in again.
    fn hole(&self, index: usize, group: GroupId, row: &GroupRow) -> Option<(Seq, Seq)> {
        let excuses = &self.oracle.excuses;
        // What a device asked for just before, and has forgotten, may have reached the server after it was set back; and
        // whom it adds with a key package that it has used before cannot open the Welcome.
        let unnoticed = (!excuses.set_back.is_empty()).then_some((Seq(0), Seq(0)));
        let (from, to) = excuses.holes.get(&(index, group)).copied().or(unnoticed)?;
        let log = self.oracle.logs.get(&group)?;
        let commits = (1..).zip(&log.entries).filter(|(_, entry)| entry.kind == EntryKind::Commit);
        let joined = commits.map(|(seq, _)| Seq(seq)).nth((row.joined.0 as usize).saturating_sub(1)).unwrap_or(to);
        // Who was removed meanwhile never came back in.
        let is_out = row.state == ConversationState::Removed;
        let end = if is_out { Seq(log.entries.len() as u64) } else { joined };
        Some((from, to.max(end)))
    }

    /// Places in the log mean nothing any more; but whatever is in it is shown, once.
    fn check_after_set_back(&self, index: usize, group: GroupId, rows: &[MessageRow]) -> Result<()> {
        let log = self.oracle.logs.get(&group).context("a log")?;
        let entries = (1..).map(Seq).zip(&log.entries);
        // Whoever left, or was removed before the server forgot it, does not care for what others wrote until it was done again.
        let stays = log.spans[index].iter().filter(|span| span.left.is_none());
        let stays: Vec<Span> = stays.copied().collect();
        let missing: Vec<&str> = entries
            .filter(|(seq, _)| is_within(&stays, *seq))
            .filter_map(|(_, entry)| entry.message)
            .filter(|id| rows.iter().all(|row| row.id != *id))
            .filter_map(|id| Some(self.oracle.written.get(&id)?.text.as_str()))
            .collect();
        let told = self.oracle.seen[index].gaps;
        ensure!(
            missing.len() as u64 <= told,
            "{missing:?} are missing, and the user was told of {told}; its stays are {stays:?}"
        );
        Ok(())
    }

    /// Everything that its user wrote was either sent, and is in a log, or refused, and is in none.
    fn check_own(&self, index: usize) -> Result<()> {
        let device = &self.devices[index];
        let seen = &self.oracle.seen[index];
        let account = &device.account;
        for (id, written) in self.oracle.written.iter().filter(|(_, written)| written.by == index) {
            if self.oracle.excuses.forgotten.contains(id) {
                continue;
            }
            let row = find(&device.store, account.identity, *id)?;
            let Some(row) = row else { bail!("{:?} is gone", written.text) };
            let place = self.oracle.logs.values().flat_map(|log| &log.entries).any(|entry| entry.message == Some(*id));
            match row.status.clone() {
                MessageStatus::Sent => {
                    let is_forgotten = self.oracle.excuses.is_server_set_back && cannot_repeat(&device.store, &row)?;
                    ensure!(place || is_forgotten, "{:?} counts as sent, and is in no log", written.text);
                    // Of what a set-back server has forgotten the oracle does not know any more that it was said.
                    let is_known = place && !self.oracle.excuses.is_server_set_back;
                    ensure!(!is_known || seen.sent.contains_key(id), "that {:?} is sent was never said", written.text);
                }
                MessageStatus::Failed(reason) => {
                    ensure!(
                        !place || self.oracle.is_excused(index),
                        "{:?} counts as refused ({reason}), and is in a log",
                        written.text
                    );
                }
                other => bail!("{:?} is {other:?}", written.text),
            }
        }
        let quarantined = device.store.scan(Table::Quarantine, &[])?.len();
        ensure!(quarantined == 0 || self.oracle.is_excused(index), "{quarantined} entries are in quarantine");
        Ok(())
    }
}

/// A message and where it stands in its log.
type Place = (Seq, MessageId);

/// Gives how many messages of it are missing, and may be.
fn check_span(
    log: &Log,
    span: Span,
    shown: &[Place],
    hole: Option<(Seq, Seq)>,
    is_own: impl Fn(&MessageId) -> bool,
) -> Result<u64> {
    let all = (1..).map(Seq).zip(&log.entries).filter_map(|(seq, entry)| Some((seq, entry.message?)));
    // Whoever was set back says again what it does not know to have said.
    let earlier = |place: &Place| shown.iter().any(|known| known.1 == place.1 && known.0 < place.0);
    let mut expected: Vec<Place> = all.filter(|place| is_within(&[span], place.0) && !earlier(place)).collect();
    let mut shown: Vec<Place> = shown.iter().filter(|(seq, _)| is_within(&[span], *seq)).copied().collect();
    let all = expected.len();
    if let Some((from, to)) = hole {
        let there = shown.clone();
        expected.retain(|place| !(place.0 > from && place.0 <= to) || there.contains(place));
    }
    let mut excused = (all - expected.len()) as u64;
    // Whoever left does not care any more for what others wrote just before.
    if span.left.is_some_and(|left| log.is_leave(left)) {
        excused = 0;
        expected.retain(|(_, id)| !is_own(id));
        shown.retain(|(_, id)| !is_own(id));
        expected.truncate(shown.len());
    }
    if let Some((missing, _)) = expected.iter().find(|message| !shown.contains(message)) {
        bail!("{missing} is missing");
    }
    ensure!(expected == shown, "what is shown is not what the log says: {} for {}", shown.len(), expected.len());
    Ok(excused)
}

/// Whether a message cannot be said again, for this device is not in the group.
fn cannot_repeat(store: &MemoryStore, message: &MessageRow) -> Result<bool> {
    let group = group_of(store, message.conversation)?;
    let row = group.map(|group| GroupRow::load(store, &group)).transpose()?.flatten();
    Ok(row.is_some_and(|row| matches!(row.state, ConversationState::Left | ConversationState::Removed)))
}

fn find(store: &MemoryStore, sender: IdentityId, id: MessageId) -> Result<Option<MessageRow>> {
    for conversation in ConversationRow::all(store)? {
        if let Some(row) = store.message(conversation.id, sender, id)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

fn is_current(spans: &[Span]) -> bool {
    spans.last().is_some_and(|span| span.left.is_none())
}

fn facts(info: &GroupInfo, name: &str) -> String {
    let members = info.members.iter().map(|member| (member.contact.identity.short(), member.is_admin, member.devices));
    format!("{name:?} {:?} {:?}", info.epoch, members.collect::<BTreeSet<_>>())
}

/// Longer than anything waits: for the removal of somebody who left, a pause before a connection, a repetition.
const PATIENCE: u64 = 900 * SECOND;
const LOOK: u64 = 5 * SECOND;

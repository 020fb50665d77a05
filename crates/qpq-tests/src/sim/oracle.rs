//! The oracle: knows what the server has accepted and who wrote what, and looks at everything that a device shows the
//! moment it is committed.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use qpq_core::engine::{Answer, Effect};
use qpq_core::request::Request;
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::{ConversationRow, EventRow, EventRowKind, GroupRow, OwnRow, Row as _, number};
use qpq_core::store::{Store as _, decode};
use qpq_core::view::ConversationId;
use qpq_proto::ids::{ContentHash, DeviceId, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::stream::{EntryKind, LogId, Position};
use qpq_server::store::Store as _;
use qpq_server::store::change::Change;
use qpq_server::store::group::Span;
use qpq_server::store::log::ReadLimit;
use qpq_server::store::sqlcipher::SqlCipherStore;

use super::disaster::Excuses;
use super::tasks::at_once;
use super::world::World;

/// What is true.
pub struct Oracle {
    devices: Vec<DeviceId>,
    pub logs: BTreeMap<GroupId, Log>,
    /// Ciphertexts that a device wants to post, by their hash.
    posted: HashMap<ContentHash, MessageId>,
    /// Who wrote what.
    pub written: HashMap<MessageId, Written>,
    /// The text of the command that is being carried out.
    pub writing: Option<String>,
    pub seen: Vec<Seen>,
    pub excuses: Excuses,
    /// Reasons why wishes were refused, and how often.
    pub refusals: BTreeMap<String, u64>,
}

/// A message as its author wrote it.
pub struct Written {
    pub by: usize,
    pub text: String,
}

/// The log of one group, as far as it ever came.
pub struct Log {
    /// Groups are counted in the order in which the server got to know them.
    pub number: usize,
    pub entries: Vec<LogEntry>,
    /// When each device was a member.
    pub spans: Vec<Vec<Span>>,
}

impl Log {
    /// Whether somebody said there that they leave.
    pub fn is_leave(&self, seq: Seq) -> bool {
        self.entries.get(seq.0 as usize - 1).is_some_and(|entry| entry.kind == EntryKind::Proposal)
    }
}

/// One entry; the first has number 1.
pub struct LogEntry {
    pub kind: EntryKind,
    pub hash: ContentHash,
    pub message: Option<MessageId>,
}

/// What one device has shown its user so far.
#[derive(Clone, Default)]
pub struct Seen {
    /// Events up to here were looked at.
    position: u64,
    /// Where each message of others that was announced stands in the log.
    shown: HashMap<MessageId, Seq>,
    /// The newest message of others that was announced, by group.
    newest: HashMap<GroupId, Seq>,
    /// Own messages that the user was told are sent, and where they stand.
    pub sent: BTreeMap<MessageId, (GroupId, Seq)>,
    /// Own messages that the user was told will never be sent.
    pub failed: BTreeMap<MessageId, String>,
    /// How many entries its user was told are missing.
    pub gaps: u64,
}

impl Seen {
    /// The logs are shorter than they were.
    pub fn forget_places(&mut self, logs: &BTreeMap<GroupId, Log>) {
        self.newest.clear();
        let exists = |group: &GroupId, seq: &Seq| logs.get(group).is_some_and(|log| seq.0 <= log.entries.len() as u64);
        self.sent.retain(|_, (group, seq)| exists(group, seq));
    }
}

impl Oracle {
    pub fn new(devices: Vec<DeviceId>) -> Self {
        let seen = devices.iter().map(|_| Seen::default()).collect();
        Self {
            devices,
            logs: BTreeMap::new(),
            posted: HashMap::new(),
            written: HashMap::new(),
            writing: None,
            seen,
            excuses: Excuses::default(),
            refusals: BTreeMap::new(),
        }
    }

    /// How a log is called in the trace: 0 is an inbox.
    pub fn log_number(&self, log: LogId) -> usize {
        match log {
            LogId::Inbox => 0,
            LogId::Group(group) => self.logs.get(&group).map_or(UNKNOWN, |log| log.number),
        }
    }

    /// Takes over what the server has written since the last time.
    pub fn follow(&mut self, store: &SqlCipherStore, changes: &[Change]) -> Result<()> {
        for change in changes {
            if let Change::Group { group, head, roster } = change {
                self.follow_group(store, *group, *head, *roster)?;
            }
        }
        Ok(())
    }

    fn follow_group(&mut self, store: &SqlCipherStore, group: GroupId, head: Seq, roster: bool) -> Result<()> {
        let number = self.logs.len() + 1;
        let is_new = !self.logs.contains_key(&group);
        let log = self.logs.entry(group).or_insert_with(|| Log { number, entries: vec![], spans: vec![] });
        while (log.entries.len() as u64) < head.0 {
            let after = Seq(log.entries.len() as u64);
            let limit = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
            let batch = at_once(store.read_group(group, after, head, limit)).context("a slow store")??;
            ensure!(!batch.entries.is_empty(), "log {} has a hole after {after}", log.number);
            for entry in batch.entries {
                let (seq, hash) = (entry.seq, ContentHash::of(&entry.payload));
                let next = log.entries.len() as u64 + 1;
                ensure!(seq.0 == next, "log {} goes from {} to {seq}", log.number, next - 1);
                let posted = self.posted.get(&hash).copied();
                // Members also say things to each other that are not for people.
                let message = posted.filter(|id| self.written.contains_key(id));
                ensure!(log.entries.iter().all(|old| old.hash != hash), "log {} repeats itself at {seq}", log.number);
                if entry.kind == EntryKind::Message {
                    posted.with_context(|| format!("nobody wrote {seq} of log {}", log.number))?;
                    let is_same = |old: &LogEntry| message.is_some() && old.message == message;
                    // Whoever was set back, or finds the server set back, says again what may have been lost.
                    let may_repeat = self.excuses.is_server_set_back || !self.excuses.set_back.is_empty();
                    if let Some(earlier) = log.entries.iter().position(is_same).filter(|_| !may_repeat) {
                        bail!("log {} has one message twice: at {} and {seq}", log.number, earlier + 1);
                    }
                }
                self.excuses.look_at(group, seq, hash, self.devices.len());
                log.entries.push(LogEntry { kind: entry.kind, hash, message });
            }
        }
        if roster || is_new {
            log.spans = read_spans(&self.devices, store, group)?;
        }
        Ok(())
    }

    /// Reads anew who is in which group.
    pub fn read_spans(&mut self, store: &SqlCipherStore) -> Result<()> {
        for (group, log) in &mut self.logs {
            log.spans = read_spans(&self.devices, store, *group)?;
        }
        Ok(())
    }

    /// Whether something may be missing on this device, if it says so.
    pub fn is_excused(&self, index: usize) -> bool {
        let excuses = &self.excuses;
        let is_victim = !excuses.set_back.is_empty() || excuses.holes.keys().any(|(device, _)| *device == index);
        excuses.is_server_set_back || is_victim
    }

    /// A device says that it has stored this much: the server may forget it now.
    pub fn check_acknowledgement(&self, index: usize, store: &MemoryStore, positions: &[Position]) -> Result<()> {
        if self.is_excused(index) {
            return Ok(());
        }
        for position in positions {
            let stored = match position.log {
                LogId::Inbox => Seq(number(store, "inbox")?),
                LogId::Group(group) => GroupRow::load(store, &group)?.map_or(Seq(0), |row| row.cursor),
            };
            ensure!(
                position.seq <= stored,
                "device {index} acknowledges {} of log {} and has stored {stored}",
                position.seq,
                self.log_number(position.log)
            );
        }
        Ok(())
    }

    fn check_message(&mut self, index: usize, store: &MemoryStore, event: &Shown) -> Result<()> {
        let row = store.message(event.conversation, event.sender, event.id)?.context("an event without a message")?;
        let group = group_of(store, event.conversation)?.context("a message without a group")?;
        if self.excuses.is_server_set_back {
            // Its place may be from before; that it is shown once still holds.
            let seq = row.seq.unwrap_or_default();
            ensure!(self.seen[index].shown.insert(event.id, seq).is_none(), "device {index} shows a message twice");
            return Ok(());
        }
        let log = self.logs.get(&group).context("a message in a group without a log")?;
        let seq = row.seq.context("somebody else's message without a place in the log")?;
        let at = format!("{seq} of log {}", log.number);
        let entry = log.entries.get(seq.0 as usize - 1).with_context(|| format!("{at} is not in the log"))?;
        ensure!(entry.message == Some(event.id), "{at} is another message");
        let written = self.written.get(&event.id).with_context(|| format!("nobody wrote {at}"))?;
        ensure!(written.text == row.text, "{at} says {:?}, and was written as {:?}", row.text, written.text);
        ensure!(self.devices.get(written.by) == Some(&row.device), "{at} is shown as somebody else's");
        ensure!(is_within(&log.spans[index], seq), "device {index} shows {at}, and was not a member then");
        let seen = &mut self.seen[index];
        ensure!(seen.shown.insert(event.id, seq).is_none(), "device {index} shows {at} twice");
        let newest = seen.newest.entry(group).or_default();
        ensure!(seq > *newest, "device {index} shows {at} after {newest}");
        *newest = seq;
        Ok(())
    }

    fn check_sent(&mut self, index: usize, store: &MemoryStore, message: MessageId, id: ConversationId) -> Result<()> {
        let group = group_of(store, id)?.context("a sent message without a group")?;
        let by = qpq_core::store::rows::AccountRow::load(store, &())?.context("an account")?.identity;
        let seq = store.message(id, by, message)?.and_then(|row| row.seq).context("sent, and without a place")?;
        if self.excuses.is_server_set_back {
            // The answer may be from before.
            self.seen[index].sent.insert(message, (group, seq));
            return Ok(());
        }
        let log = self.logs.get(&group).context("sent to a group without a log")?;
        let entry = log.entries.get(seq.0 as usize - 1);
        let is_there = entry.is_some_and(|entry| entry.message == Some(message));
        ensure!(is_there, "device {index} says it sent {seq} of log {}, which is not there", log.number);
        let twice = self.seen[index].sent.insert(message, (group, seq)).is_some();
        ensure!(!twice, "device {index} says twice that it sent {seq} of log {}", log.number);
        Ok(())
    }
}

struct Shown {
    conversation: ConversationId,
    sender: IdentityId,
    id: MessageId,
}

impl World {
    /// A transaction of a device was committed: what does its user get to see?
    pub(super) fn committed(&mut self, index: usize, effects: &[Effect]) -> Result<()> {
        let store = &self.devices[index].store;
        for effect in effects {
            match effect {
                Effect::Request { request: Request::Post { post, .. }, .. } => {
                    let hash = ContentHash::of(&post.payload);
                    if let Some(own) = OwnRow::load(store, &hash)? {
                        self.oracle.posted.insert(hash, own.message);
                    }
                }
                Effect::Answer(Answer::Message { id, .. }) => {
                    let text = self.oracle.writing.take().context("a message that nobody wrote")?;
                    self.oracle.written.insert(*id, Written { by: index, text });
                }
                _ => {}
            }
        }
        let events = store.events(self.oracle.seen[index].position, usize::MAX)?;
        for (position, bytes) in events {
            self.oracle.seen[index].position = position;
            self.look_at(index, decode(&bytes)?)?;
        }
        Ok(())
    }

    fn look_at(&mut self, index: usize, event: EventRow) -> Result<()> {
        let (oracle, store) = (&mut self.oracle, &self.devices[index].store);
        let name = self.devices[index].account.name.as_str();
        match (event.conversation, event.kind) {
            (Some(conversation), EventRowKind::Message { sender, id }) => {
                oracle.check_message(index, store, &Shown { conversation, sender, id })?;
            }
            (Some(conversation), EventRowKind::Sent { message }) => {
                oracle.check_sent(index, store, message, conversation)?;
            }
            (_, EventRowKind::NotSent { message, reason }) => {
                oracle.seen[index].failed.insert(message, reason.clone());
                *oracle.refusals.entry(format!("a message: {reason}")).or_default() += 1;
            }
            (_, EventRowKind::Refused { what, reason }) => {
                *oracle.refusals.entry(format!("{what}: {reason}")).or_default() += 1;
                self.trace.line(self.agenda.micros(), format_args!("  {name} is refused {what}: {reason}"));
            }
            (_, EventRowKind::Gap { count, reason }) if oracle.is_excused(index) => {
                oracle.seen[index].gaps += count;
                self.trace.line(self.agenda.micros(), format_args!("  {name} has a gap of {count}: {reason}"));
            }
            (_, EventRowKind::Gap { count, reason }) => bail!("{name} has a gap of {count}: {reason}"),
            (_, EventRowKind::UntrustedDevice { .. }) => bail!("{name} distrusts a device"),
            (_, EventRowKind::KeyChanged { .. }) => bail!("{name} sees a changed key"),
            (None, EventRowKind::Message { .. } | EventRowKind::Sent { .. }) => bail!("a message in no conversation"),
            (
                _,
                EventRowKind::Joined { .. }
                | EventRowKind::MemberAdded { .. }
                | EventRowKind::MemberRemoved { .. }
                | EventRowKind::Removed { .. }
                | EventRowKind::Left
                | EventRowKind::Renamed { .. }
                | EventRowKind::RoleChanged { .. }
                | EventRowKind::Edited { .. }
                | EventRowKind::Deleted { .. }
                | EventRowKind::Reaction { .. }
                | EventRowKind::Receipt { .. }
                | EventRowKind::Request { .. }
                | EventRowKind::ExpiryChanged { .. }
                | EventRowKind::DeviceAdded { .. }
                | EventRowKind::DeviceRemoved { .. },
            ) => {}
        }
        Ok(())
    }
}

fn read_spans(devices: &[DeviceId], store: &SqlCipherStore, group: GroupId) -> Result<Vec<Vec<Span>>> {
    let spans = devices.iter().map(|device| {
        let membership = at_once(store.membership(group, *device)).context("a slow store")??;
        Ok(membership.context("a log without a group")?.spans)
    });
    spans.collect()
}

/// The group that a conversation runs in.
pub fn group_of(store: &MemoryStore, id: ConversationId) -> Result<Option<GroupId>> {
    Ok(ConversationRow::load(store, &id)?.and_then(|row| row.group))
}

/// Whether somebody with these stays may see this entry.
pub fn is_within(spans: &[Span], seq: Seq) -> bool {
    spans.iter().any(|span| seq > span.joined && span.left.is_none_or(|left| seq <= left))
}

/// The number of a log that the server has never told about.
const UNKNOWN: usize = 999;

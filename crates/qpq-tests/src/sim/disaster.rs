//! What no order of events explains: a device is set back to an older backup of itself, the server to an older snapshot, or a
//! member posts a commit that nobody can apply. Not everything that was promised can be kept then; what can is said where
//! it is checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use qpq_core::request::Request;
use qpq_core::store::Store as _;
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::{ConversationRow, GroupRow, Row as _};
use qpq_proto::ids::{ContentHash, GroupId, MessageId, Seq};
use qpq_server::store::group::Span;

use super::agenda::{Event, SECOND};
use super::oracle::Seen;
use super::server::Files;
use super::world::World;

/// A copy of a device's disk.
pub struct Backup {
    store: MemoryStore,
    seen: Seen,
}

/// A copy of the server's files, and how long the logs were.
pub struct Snapshot {
    files: Files,
    heads: BTreeMap<GroupId, u64>,
}

/// What disasters excuse.
#[derive(Default)]
pub struct Excuses {
    /// What a device wrote after its backup: it does not know of it any more.
    pub forgotten: HashSet<MessageId>,
    /// By device and group: entries after the first and up to the second position may be missing, with a gap that counts them.
    pub holes: BTreeMap<(usize, GroupId), (Seq, Seq)>,
    /// Commits that were spoilt on their way.
    pub poisoned: HashSet<ContentHash>,
    /// Whether a commit is to be spoilt, by its hash before that: who repeats it sends the same once more.
    spoils: HashMap<ContentHash, bool>,
    /// By device and group: where a backup that the device was set back to ended, and how long the log was at that moment.
    restores: Vec<(usize, GroupId, Seq, Seq)>,
    /// Devices that were set back.
    pub set_back: HashSet<usize>,
    /// The server was set back: positions in logs from before mean nothing any more.
    pub is_server_set_back: bool,
}

impl Excuses {
    /// A commit is in a log: was it spoilt? Then everybody loses the group until they come back in.
    pub fn look_at(&mut self, group: GroupId, seq: Seq, hash: ContentHash, devices: usize) {
        if self.poisoned.contains(&hash) {
            for index in 0..devices {
                self.holes.entry((index, group)).or_insert((Seq(seq.0 - 1), seq));
            }
        }
    }

    /// Whether a stay began and ended between a backup of the device and the moment when it was set back to that.
    pub fn is_unheard_of(&self, index: usize, group: GroupId, span: Span) -> bool {
        self.restores.iter().any(|(device, of, cursor, end)| {
            (*device, *of) == (index, group) && *cursor <= span.joined && span.left.is_some_and(|left| left <= *end)
        })
    }
}

impl World {
    /// Spoils a commit, perhaps: its last bytes are the membership tag, which is for the members alone to check.
    pub(super) fn spoil(&mut self, request: &mut Request) {
        let Request::Commit { commit, .. } = request else { return };
        let (random, chance, excuses) = (&mut self.random, self.plan.poisons, &mut self.oracle.excuses);
        let decided = excuses.spoils.entry(ContentHash::of(&commit.commit));
        if *decided.or_insert_with(|| random.chance(chance))
            && let Some(last) = commit.commit.last_mut()
        {
            *last ^= 1;
            excuses.poisoned.insert(ContentHash::of(&commit.commit));
            self.tell(format_args!("  the commit is spoilt"));
        }
    }

    /// Makes a copy of something, or goes back to one.
    pub(super) fn set_back(&mut self, index: usize) -> Result<()> {
        if self.plan.device_restores > 0 && self.random.chance(COPIES) {
            let (store, seen) = (self.devices[index].store.clone(), self.oracle.seen[index].clone());
            self.devices[index].backup = Some(Backup { store, seen });
        }
        if self.plan.server_restores > 0 && self.random.chance(COPIES) && self.server.running.is_some() {
            let heads = self.oracle.logs.iter().map(|(group, log)| (*group, log.entries.len() as u64)).collect();
            self.snapshot = Some(Snapshot { files: self.server.copy()?, heads });
        }
        if self.random.chance(self.plan.device_restores)
            && let Some(backup) = self.devices[index].backup.take()
        {
            self.set_device_back(index, backup)?;
        }
        if self.random.chance(self.plan.server_restores)
            && let Some(snapshot) = self.snapshot.take()
        {
            self.set_server_back(&snapshot)?;
        }
        Ok(())
    }

    fn set_device_back(&mut self, index: usize, backup: Backup) -> Result<()> {
        self.tell_of(index, format_args!("is set back to a backup"));
        self.kill(index);
        let (device, oracle) = (&mut self.devices[index], &mut self.oracle);
        device.store = backup.store;
        oracle.seen[index] = backup.seen;
        oracle.excuses.set_back.insert(index);
        for (id, _) in oracle.written.iter().filter(|(_, written)| written.by == index) {
            let conversations = ConversationRow::all(&device.store)?;
            let knows = |row: &ConversationRow| device.store.message(row.id, device.account.identity, *id);
            if conversations.iter().all(|row| matches!(knows(row), Ok(None))) {
                oracle.excuses.forgotten.insert(*id);
            }
        }
        for (group, log) in &oracle.logs {
            let cursor = GroupRow::load(&device.store, group)?.map_or(Seq(0), |row| row.cursor);
            let end = Seq(log.entries.len() as u64);
            oracle.excuses.restores.push((index, *group, cursor, end));
            let hole = oracle.excuses.holes.entry((index, *group)).or_insert((cursor, cursor));
            hole.0 = hole.0.min(cursor);
            hole.1 = end.max(hole.1);
        }
        Ok(())
    }

    fn set_server_back(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.tell(format_args!("the server is set back to a snapshot"));
        self.stop_server();
        self.server.put_back(&snapshot.files)?;
        let oracle = &mut self.oracle;
        oracle.excuses.is_server_set_back = true;
        oracle.logs.retain(|group, _| snapshot.heads.contains_key(group));
        for (group, log) in &mut oracle.logs {
            log.entries.truncate(snapshot.heads.get(group).map_or(0, |head| *head as usize));
        }
        for seen in &mut oracle.seen {
            seen.forget_places(&oracle.logs);
        }
        self.server.start(None)?;
        if let Some(running) = &self.server.running {
            oracle.read_spans(&running.store)?;
        }
        self.server.running = None;
        self.agenda.after(SECOND, Event::ServerStart);
        Ok(())
    }
}

/// Of a thousand actions, so many make a copy.
const COPIES: u64 = 60;

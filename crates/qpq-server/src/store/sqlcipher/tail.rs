//! The newest entries of groups in memory, so that a thousand online devices do not cost a thousand reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::stream::{Entry, LogId};

use crate::store::log::{Batch, ReadLimit};

/// A cache of entries that are on disk. Bounded by their bytes: what was appended first goes first.
#[derive(Default)]
pub struct Tail(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// In the order of each log, possibly with gaps.
    by_group: HashMap<GroupId, VecDeque<Arc<Entry>>>,
    /// All of them, oldest first, and those that were erased since.
    order: VecDeque<(GroupId, Seq, usize)>,
    bytes: usize,
}

impl Tail {
    /// Takes over what a transaction did.
    pub fn apply(&self, appended: Vec<Arc<Entry>>, erased: &[(GroupId, Seq)]) {
        let mut entries = self.entries();
        for entry in appended {
            entries.append(entry);
        }
        for (group, seq) in erased {
            entries.erase(*group, *seq);
        }
    }

    /// The entries right after `after`, if the first of them is here.
    pub fn read(&self, group: GroupId, after: Seq, upto: Seq, limit: ReadLimit) -> Option<Batch> {
        let entries = self.entries();
        let log = entries.by_group.get(&group)?;
        let first = log.partition_point(|entry| entry.seq <= after);
        let (mut batch, mut bytes) = (Batch { entries: Vec::new(), reached: after }, 0);
        for entry in log.range(first..) {
            let is_next = entry.seq.0 == batch.reached.0 + 1 && entry.seq <= upto;
            let is_full = batch.entries.len() >= limit.entries || (!batch.entries.is_empty() && bytes >= limit.bytes);
            if !is_next || is_full {
                break;
            }
            bytes += entry.payload.len();
            batch.reached = entry.seq;
            batch.entries.push(entry.clone());
        }
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// A panic while it was held cannot have left more than a missing entry.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn append(&mut self, entry: Arc<Entry>) {
        let LogId::Group(group) = entry.log else { return };
        if entry.payload.len() > LARGEST {
            return;
        }
        let size = entry.payload.len() + OVERHEAD;
        self.bytes += size;
        self.order.push_back((group, entry.seq, size));
        self.by_group.entry(group).or_default().push_back(entry);
        while self.bytes > CAPACITY {
            let Some((group, seq, size)) = self.order.pop_front() else { return };
            self.bytes -= size;
            self.erase(group, seq);
        }
    }

    fn erase(&mut self, group: GroupId, seq: Seq) {
        let Some(log) = self.by_group.get_mut(&group) else { return };
        // The oldest one mostly, which makes room for a new one.
        if log.front().is_some_and(|entry| entry.seq == seq) {
            log.pop_front();
        } else if let Ok(index) = log.binary_search_by_key(&seq, |entry| entry.seq) {
            log.remove(index);
        }
        if log.is_empty() {
            self.by_group.remove(&group);
        }
    }
}

/// Bytes for all groups together.
const CAPACITY: usize = 64 * 1024 * 1024;

/// Larger ones are read from disk: a single commit must not drive out everybody's messages.
const LARGEST: usize = 256 * 1024;

/// What an entry costs besides its payload.
const OVERHEAD: usize = 200;

#[cfg(test)]
mod tests {
    use qpq_proto::stream::EntryKind;
    use qpq_proto::time::Timestamp;

    use super::*;

    const ALL: ReadLimit = ReadLimit { entries: usize::MAX, bytes: usize::MAX };

    fn entry(group: u8, seq: u64, length: usize) -> Arc<Entry> {
        let log = LogId::Group(GroupId([group; 16]));
        Arc::new(Entry { log, seq: Seq(seq), at: Timestamp(0), kind: EntryKind::Message, payload: vec![0; length] })
    }

    fn read(tail: &Tail, group: u8, after: u64, upto: u64) -> Vec<u64> {
        let batch = tail.read(GroupId([group; 16]), Seq(after), Seq(upto), ALL);
        batch.map_or_else(Vec::new, |batch| batch.entries.iter().map(|entry| entry.seq.0).collect())
    }

    #[test]
    fn reads_stop_at_gaps_and_at_the_end() {
        let tail = Tail::default();
        let large = entry(1, 4, LARGEST + 1);
        tail.apply(vec![entry(1, 2, 1), entry(2, 9, 1), entry(1, 3, 1), large, entry(1, 5, 1), entry(1, 6, 1)], &[]);
        assert_eq!(read(&tail, 1, 1, 9), [2, 3]);
        assert_eq!(read(&tail, 1, 4, 5), [5]);
        assert_eq!(read(&tail, 1, 0, 9), [] as [u64; 0]);
        assert_eq!(read(&tail, 2, 8, 9), [9]);
        tail.apply(vec![], &[(GroupId([1; 16]), Seq(2)), (GroupId([2; 16]), Seq(9)), (GroupId([3; 16]), Seq(1))]);
        assert_eq!(read(&tail, 1, 1, 9), [] as [u64; 0]);
        assert_eq!(read(&tail, 1, 2, 9), [3]);
        assert_eq!(read(&tail, 2, 8, 9), [] as [u64; 0]);
    }

    #[test]
    fn the_oldest_make_room() {
        let tail = Tail::default();
        let fitting = (CAPACITY / (LARGEST + OVERHEAD)) as u64;
        tail.apply((1..=fitting + 3).map(|seq| entry(1, seq, LARGEST)).collect(), &[]);
        assert_eq!(read(&tail, 1, 2, fitting + 3), [] as [u64; 0]);
        assert_eq!(read(&tail, 1, 3, fitting + 3).len() as u64, fitting);
        assert!(tail.entries().bytes <= CAPACITY);
        assert_eq!(tail.entries().order.len() as u64, fitting);
    }
}

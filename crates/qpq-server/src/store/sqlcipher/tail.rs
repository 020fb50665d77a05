//! The newest entries of groups in memory, so that a thousand online devices do not cost a thousand reads.

use std::sync::Arc;

use moka::sync::Cache;
use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::stream::{Entry, LogId};

use crate::store::log::{Batch, ReadLimit};

/// A cache of entries that are on disk; bounded by their bytes.
pub struct Tail {
    entries: Cache<(GroupId, Seq), Arc<Entry>>,
}

impl Tail {
    pub fn new() -> Self {
        let weigh =
            |_: &(GroupId, Seq), entry: &Arc<Entry>| u32::try_from(entry.payload.len() + OVERHEAD).unwrap_or(u32::MAX);
        Self { entries: Cache::builder().weigher(weigh).max_capacity(CAPACITY).build() }
    }

    /// Takes over what a transaction did.
    pub fn apply(&self, appended: Vec<Arc<Entry>>, erased: &[(GroupId, Seq)]) {
        for entry in appended {
            if let (LogId::Group(group), true) = (entry.log, entry.payload.len() <= LARGEST) {
                self.entries.insert((group, entry.seq), entry);
            }
        }
        for key in erased {
            self.entries.invalidate(key);
        }
    }

    /// The entries right after `after`, if the first of them is here.
    pub fn read(&self, group: GroupId, after: Seq, upto: Seq, limit: ReadLimit) -> Option<Batch> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut reached = after;
        while reached < upto && entries.len() < limit.entries && (entries.is_empty() || bytes < limit.bytes) {
            let seq = Seq(reached.0 + 1);
            let Some(entry) = self.entries.get(&(group, seq)) else { break };
            bytes += entry.payload.len();
            reached = seq;
            entries.push(entry);
        }
        (!entries.is_empty()).then_some(Batch { entries, reached })
    }
}

/// Bytes for all groups together.
const CAPACITY: u64 = 64 * 1024 * 1024;

/// Larger ones are read from disk: a single commit must not drive out everybody's messages.
const LARGEST: usize = 256 * 1024;

/// What an entry costs besides its payload.
const OVERHEAD: usize = 200;

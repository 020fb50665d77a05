//! The transaction that a job of the writer runs in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::Arc;

use qpq_proto::ids::{ContentHash, GroupId, Seq};
use qpq_proto::stream::Entry;
use rusqlite::Connection;

use crate::store::StoreError;
use crate::store::change::Change;

use super::groups::{self, GroupRow};
use super::repeats::Repeats;

/// Derefs to the connection; collects what is to be told after the commit.
pub struct Tx<'c> {
    connection: &'c Connection,
    repeats: &'c Repeats,
    /// Groups that are being posted to: a hundred posts in a row write the group's row once.
    posting: RefCell<HashMap<GroupId, GroupRow>>,
    pending: RefCell<Pending>,
}

/// What becomes true with the commit.
#[derive(Default)]
pub struct Pending {
    pub changes: Vec<Change>,
    /// Entries of groups, for the cache of newest entries.
    pub appended: Vec<Arc<Entry>>,
    /// Entries that were erased and must leave that cache.
    pub erased: Vec<(GroupId, Seq)>,
}

impl<'c> Tx<'c> {
    pub fn new(connection: &'c Connection, repeats: &'c Repeats) -> Self {
        Self { connection, repeats, posting: RefCell::default(), pending: RefCell::default() }
    }

    pub fn repeats(&self) -> &Repeats {
        self.repeats
    }

    /// Where a group stands that is being posted to.
    pub fn posting(&self, group: GroupId) -> Result<Option<GroupRow>, StoreError> {
        match self.posting.borrow_mut().entry(group) {
            Place::Occupied(known) => Ok(Some(*known.get())),
            Place::Vacant(vacant) => Ok(groups::find(self, group)?.map(|row| *vacant.insert(row))),
        }
    }

    /// A message is in the table of entries at `seq`; the group's row follows with [`settle`](Self::settle). Cannot fail.
    pub fn posted(&self, group: GroupId, hash: ContentHash, entry: Entry) {
        let seq = entry.seq;
        if let Some(row) = self.posting.borrow_mut().get_mut(&group) {
            row.head.seq = seq;
            row.kept += 1;
            self.repeats.add(row.id, hash, seq);
        }
        self.appended(entry);
        self.changed(Change::Group { group, head: seq, roster: false });
    }

    /// Writes the rows of the groups that were posted to: before other jobs read them, and before the commit.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.posting.take().values().try_for_each(|row| groups::write_head(self, row))
    }

    pub fn changed(&self, change: Change) {
        self.pending.borrow_mut().changes.push(change);
    }

    pub fn appended(&self, entry: Entry) {
        self.pending.borrow_mut().appended.push(Arc::new(entry));
    }

    pub fn erased(&self, group: GroupId, seq: Seq) {
        self.pending.borrow_mut().erased.push((group, seq));
    }

    /// Where to return to when a job fails.
    pub fn mark(&self) -> Mark {
        let pending = self.pending.borrow();
        Mark { changes: pending.changes.len(), appended: pending.appended.len(), erased: pending.erased.len() }
    }

    pub fn undo_to(&self, mark: &Mark) {
        let mut pending = self.pending.borrow_mut();
        pending.changes.truncate(mark.changes);
        pending.appended.truncate(mark.appended);
        pending.erased.truncate(mark.erased);
    }

    pub fn into_pending(self) -> Pending {
        self.pending.into_inner()
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// The lengths of a [`Pending`].
pub struct Mark {
    changes: usize,
    appended: usize,
    erased: usize,
}

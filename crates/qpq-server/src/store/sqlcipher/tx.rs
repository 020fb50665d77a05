//! The transaction that a job of the writer runs in.

use std::cell::RefCell;
use std::sync::Arc;

use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::stream::Entry;
use rusqlite::Connection;

use crate::store::log::Grown;

/// Derefs to the connection; collects what is to be told after the commit.
pub struct Tx<'c> {
    connection: &'c Connection,
    pending: RefCell<Pending>,
}

/// What becomes true with the commit.
#[derive(Default)]
pub struct Pending {
    pub grown: Vec<Grown>,
    /// Entries of groups, for the cache of newest entries.
    pub appended: Vec<Arc<Entry>>,
    /// Entries that were erased and must leave that cache.
    pub erased: Vec<(GroupId, Seq)>,
}

impl<'c> Tx<'c> {
    pub fn new(connection: &'c Connection) -> Self {
        Self { connection, pending: RefCell::default() }
    }

    pub fn grown(&self, grown: Grown) {
        self.pending.borrow_mut().grown.push(grown);
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
        Mark { grown: pending.grown.len(), appended: pending.appended.len(), erased: pending.erased.len() }
    }

    pub fn undo_to(&self, mark: &Mark) {
        let mut pending = self.pending.borrow_mut();
        pending.grown.truncate(mark.grown);
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
    grown: usize,
    appended: usize,
    erased: usize,
}

//! Which messages the logs have, so that a repeated post is recognised. An index in the order of hashes would do, but
//! costs every post a page of its own to read, encrypt and flush; memory does not.
//!
//! A group's hashes are loaded when it is first posted to. That a hash is missing here is certain, because the writer
//! is the only one who appends and adds what it appends. That it is here is only a hint (a transaction may have been
//! rolled back, an entry swept), which the log confirms.

use std::cell::RefCell;
use std::collections::HashMap;

use qpq_proto::ids::{ContentHash, Seq};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;

use super::row;

/// The messages of the groups that were posted to last.
pub struct Repeats {
    groups: RefCell<Groups>,
    capacity: usize,
}

#[derive(Default)]
struct Groups {
    by_number: HashMap<i64, Group>,
    /// Messages of all groups together.
    messages: usize,
    /// Grows with every use.
    clock: u64,
}

/// Where the log of one group has messages, by the beginning of their hash.
struct Group {
    seqs: HashMap<u64, Seq>,
    used: u64,
}

impl Repeats {
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { groups: RefCell::default(), capacity }
    }

    /// Where the log has the message with this hash.
    pub fn find(&self, connection: &Connection, group_no: i64, hash: ContentHash) -> Result<Option<Seq>, StoreError> {
        let Some(hint) = self.hint(connection, group_no, hash)? else {
            return Ok(None);
        };
        let mut confirm = connection.prepare_cached("SELECT 1 FROM log WHERE id = ?1 AND hash = ?2")?;
        if confirm.exists(params![row::entry_id(group_no, hint), hash.0])? {
            return Ok(Some(hint));
        }
        search(connection, group_no, hash)
    }

    /// The log of a group that was asked for before has one more message.
    pub fn add(&self, group_no: i64, hash: ContentHash, seq: Seq) {
        let groups = &mut *self.groups.borrow_mut();
        if let Some(group) = groups.by_number.get_mut(&group_no) {
            groups.messages += usize::from(group.seqs.insert(beginning(hash), seq).is_none());
        }
    }

    /// Forgets a group, to load it again when it is needed.
    pub fn forget(&self, group_no: i64) {
        self.groups.borrow_mut().remove(group_no);
    }

    /// Forgets the groups that were not used for longest, if there are too many messages. The last one used stays however
    /// large it is.
    pub fn trim(&self) {
        let groups = &mut *self.groups.borrow_mut();
        if groups.messages <= self.capacity {
            return;
        }
        let mut by_use: Vec<_> = groups.by_number.iter().map(|(number, group)| (group.used, *number)).collect();
        by_use.sort_unstable();
        by_use.pop();
        for (_, number) in by_use {
            if groups.messages <= self.capacity / 2 {
                break;
            }
            groups.remove(number);
        }
    }

    fn hint(&self, connection: &Connection, group_no: i64, hash: ContentHash) -> Result<Option<Seq>, StoreError> {
        let groups = &mut *self.groups.borrow_mut();
        groups.clock += 1;
        let group = match groups.by_number.entry(group_no) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let seqs = load(connection, group_no)?;
                groups.messages += seqs.len();
                vacant.insert(Group { seqs, used: 0 })
            }
        };
        group.used = groups.clock;
        Ok(group.seqs.get(&beginning(hash)).copied())
    }
}

impl Groups {
    fn remove(&mut self, group_no: i64) {
        if let Some(group) = self.by_number.remove(&group_no) {
            self.messages -= group.seqs.len();
        }
    }
}

/// About 0.3 µs per message.
fn load(connection: &Connection, group_no: i64) -> Result<HashMap<u64, Seq>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT seq, hash FROM log INDEXED BY log_messages WHERE group_no = ?1 AND kind = 0 ORDER BY seq",
    )?;
    let rows = select
        .query_map([group_no], |row| Ok((beginning(ContentHash(row::id(row, 1)?)), Seq(row::number(row, 0)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reads all hashes of a group: for the rare case that a hint was wrong.
fn search(connection: &Connection, group_no: i64, hash: ContentHash) -> Result<Option<Seq>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT seq FROM log INDEXED BY log_messages WHERE group_no = ?1 AND kind = 0 AND hash = ?2")?;
    Ok(select.query_row(params![group_no, hash.0], |row| row::number(row, 0).map(Seq)).optional()?)
}

/// Enough to tell messages apart; two that begin alike cost a search.
fn beginning(hash: ContentHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Messages, of up to 40 bytes each.
const CAPACITY: usize = 1_000_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn log() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for migration in super::super::MIGRATIONS {
            connection.execute_batch(migration.sql).unwrap();
        }
        for group in 1..=3 {
            let sql = "INSERT INTO groups (id, group_id, creator, request, created) VALUES (?1, ?1, x'', x'', 0)";
            connection.execute(sql, [group]).unwrap();
        }
        connection
    }

    fn hash(beginning: u8, end: u8) -> ContentHash {
        let mut hash = [beginning; 32];
        hash[31] = end;
        ContentHash(hash)
    }

    fn append(connection: &Connection, group_no: i64, seq: u64, hash: ContentHash) {
        connection
            .execute(
                "INSERT INTO log (id, group_no, seq, kind, epoch, at, hash) VALUES (?1, ?2, ?3, 0, 0, 0, ?4)",
                params![row::entry_id(group_no, Seq(seq)), group_no, row::integer(seq), hash.0],
            )
            .unwrap();
    }

    #[test]
    fn what_is_loaded_and_what_is_added_is_found() {
        let (connection, repeats) = (log(), Repeats::new());
        append(&connection, 1, 1, hash(1, 1));
        let find = |group, hash| repeats.find(&connection, group, hash).unwrap();
        assert_eq!(find(1, hash(1, 1)), Some(Seq(1)));
        assert_eq!(find(1, hash(2, 2)), None);
        append(&connection, 1, 2, hash(2, 2));
        repeats.add(1, hash(2, 2), Seq(2));
        assert_eq!(find(1, hash(2, 2)), Some(Seq(2)));
        assert_eq!(find(2, hash(2, 2)), None);
    }

    #[test]
    fn hints_that_are_wrong_do_no_harm() {
        let (connection, repeats) = (log(), Repeats::new());
        let find = |hash| repeats.find(&connection, 1, hash).unwrap();
        assert_eq!(find(hash(1, 1)), None);
        repeats.add(1, hash(1, 1), Seq(1));
        assert_eq!(find(hash(1, 1)), None, "rolled back");
        append(&connection, 1, 1, hash(1, 1));
        append(&connection, 1, 2, hash(1, 2));
        repeats.add(1, hash(1, 2), Seq(2));
        assert_eq!(find(hash(1, 1)), Some(Seq(1)), "two that begin alike");
        assert_eq!(find(hash(1, 2)), Some(Seq(2)));
        assert_eq!(find(hash(1, 3)), None);
    }

    #[test]
    fn groups_that_are_forgotten_are_loaded_again() {
        let (connection, repeats) = (log(), Repeats::with_capacity(4));
        for group in 1..=3 {
            for seq in 1..=3 {
                append(&connection, group, seq, hash(seq as u8, 0));
            }
        }
        for group in [1, 2, 3, 1] {
            assert_eq!(repeats.find(&connection, group, hash(2, 0)).unwrap(), Some(Seq(2)));
            repeats.trim();
            assert!(repeats.groups.borrow().messages <= 4);
        }
        repeats.forget(1);
        assert_eq!(repeats.groups.borrow().messages, 0);
        assert_eq!(repeats.find(&connection, 1, hash(3, 0)).unwrap(), Some(Seq(3)));
    }
}

//! The logs of groups.

use std::sync::Arc;

use qpq_proto::groups::Head;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, EntryKind, LogId, Mark, digest};
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::change::Change;
use crate::store::group::{NewLeave, NewPost, PostResult};
use crate::store::log::{Batch, LogPosition, ReadLimit};

use super::groups::{self, GroupRow};
use super::members;
use super::row::{self, Number};
use super::tx::Tx;
use super::{Quotas, blobs, inbox};

/// What is appended, besides where.
pub struct Appended {
    pub kind: EntryKind,
    /// The epoch that it belongs to, or that it ends.
    pub epoch: Epoch,
    pub hash: ContentHash,
    pub payload: Vec<u8>,
    pub expires: Option<Timestamp>,
}

/// Changes everything or nothing unless it refers to blobs: the last statement is the only one that writes.
pub fn post(tx: &Tx<'_>, post: NewPost, quotas: &Quotas, now: Timestamp) -> Result<PostResult, StoreError> {
    let Some(group) = tx.posting(post.group)? else {
        return Ok(PostResult::NotMember);
    };
    // First of all: whoever repeats a post because the answer was lost may have been removed in the meantime.
    if let Some(seq) = tx.repeats().find(tx, group.id, post.hash)?.filter(|_| !is_on(Mutation::NoDeduplication)) {
        return Ok(PostResult::Accepted(seq));
    }
    if let Some(obstacle) = obstacle(tx, &group, post.sender, post.epoch, quotas)? {
        return Ok(obstacle);
    }
    if !blobs::refer(tx, &post.blobs, post.blobs_until, now)? {
        return Ok(PostResult::BlobMissing);
    }
    let entry = Appended {
        kind: EntryKind::Message,
        epoch: post.epoch,
        hash: post.hash,
        payload: post.payload,
        expires: post.expires,
    };
    let seq = insert(tx, &group, &entry, now)?;
    tx.posted(post.group, entry.hash, entry.at(post.group, seq, now));
    Ok(PostResult::Accepted(seq))
}

pub fn leave(tx: &Tx<'_>, leave: NewLeave, quotas: &Quotas, now: Timestamp) -> Result<PostResult, StoreError> {
    let Some(group) = groups::find(tx, leave.group)? else {
        return Ok(PostResult::NotMember);
    };
    // The first time has ended the membership, so a repetition is recognised before that is asked for.
    if let Some(seq) = known(tx, group.id, leave.hash)? {
        return Ok(PostResult::Accepted(seq));
    }
    if let Some(obstacle) = obstacle(tx, &group, leave.sender, leave.epoch, quotas)? {
        return Ok(obstacle);
    }
    let entry = Appended {
        kind: EntryKind::Proposal,
        epoch: leave.epoch,
        hash: leave.hash,
        payload: leave.payload,
        expires: None,
    };
    let seq = append(tx, &group, leave.group, entry, now, true)?;
    members::leave(tx, group.id, leave.sender, seq)?;
    if !is_on(Mutation::ForgetLeaving) {
        members::add_leaving(tx, group.id, leave.sender)?;
    }
    Ok(PostResult::Accepted(seq))
}

/// Why `sender` may not append something of this epoch, if it may not.
fn obstacle(
    tx: &Tx<'_>,
    group: &GroupRow,
    sender: DeviceId,
    epoch: Epoch,
    quotas: &Quotas,
) -> Result<Option<PostResult>, StoreError> {
    if !members::is_member(tx, group.id, sender)? {
        return Ok(Some(PostResult::NotMember));
    }
    if group.head.epoch != epoch && !is_on(Mutation::AcceptStalePosts) {
        return Ok(Some(PostResult::StaleEpoch(group.head)));
    }
    if group.kept >= quotas.log_entries_per_group {
        return Ok(Some(PostResult::Quota("log_entries_per_group")));
    }
    Ok(None)
}

/// Appends a handshake at the head. The epoch grows with a commit; `roster` says that who may read is about to change.
pub fn append(
    tx: &Tx<'_>,
    group: &GroupRow,
    id: GroupId,
    entry: Appended,
    now: Timestamp,
    roster: bool,
) -> Result<Seq, StoreError> {
    let seq = insert(tx, group, &entry, now)?;
    let ends_epoch = i64::from(entry.kind == EntryKind::Commit);
    tx.prepare_cached("UPDATE groups SET head_seq = ?2, kept = kept + 1, epoch = epoch + ?3 WHERE id = ?1")?
        .execute(params![group.id, Number(seq.0), ends_epoch])?;
    tx.appended(entry.at(id, seq, now));
    tx.changed(Change::Group { group: id, head: seq, roster });
    Ok(seq)
}

fn insert(tx: &Tx<'_>, group: &GroupRow, entry: &Appended, now: Timestamp) -> Result<Seq, StoreError> {
    let seq = Seq(group.head.seq.0 + 1);
    tx.prepare_cached(
        "INSERT INTO log (id, group_no, seq, kind, epoch, at, expires, hash, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        row::entry_id(group.id, seq),
        group.id,
        Number(seq.0),
        row::kind_number(entry.kind),
        Number(entry.epoch.0),
        Number(now.0),
        entry.expires.map(|at| Number(at.0)),
        entry.hash.0,
        entry.payload
    ])?;
    Ok(seq)
}

impl Appended {
    fn at(self, group: GroupId, seq: Seq, now: Timestamp) -> Entry {
        Entry { log: LogId::Group(group), seq, at: now, kind: self.kind, payload: self.payload }
    }
}

/// Where the log has the handshake with this hash.
pub fn known(connection: &Connection, group_no: i64, hash: ContentHash) -> Result<Option<Seq>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT seq FROM log WHERE group_no = ?1 AND hash = ?2 AND kind <> 0")?;
    Ok(select.query_row(params![group_no, hash.0], |row| row::number(row, 0).map(Seq)).optional()?)
}

pub fn agreed(connection: &Connection, group: GroupId, marks: &[Mark]) -> Result<Option<Mark>, StoreError> {
    let Some(row) = groups::find(connection, group)? else {
        return Ok(None);
    };
    let group_no = row.id;
    let mut select = connection.prepare_cached("SELECT hash FROM log WHERE id = ?1")?;
    for mark in marks.iter().filter(|mark| mark.seq <= row.head.seq) {
        let hash = select.query_row([row::entry_id(group_no, mark.seq)], |row| row.get(0)).optional()?;
        if hash.is_none_or(|hash| digest(ContentHash(hash)) == mark.digest) {
            return Ok(Some(*mark));
        }
    }
    Ok(None)
}

pub fn read(
    connection: &Connection,
    group: GroupId,
    after: Seq,
    upto: Seq,
    limit: ReadLimit,
) -> Result<Batch, StoreError> {
    let reached = upto.max(after);
    let Some(GroupRow { id, .. }) = groups::find(connection, group)? else {
        return Ok(Batch { entries: Vec::new(), reached });
    };
    let mut select = connection.prepare_cached(
        "SELECT seq, kind, at, payload FROM log WHERE id > ?1 AND id <= ?2 AND payload IS NOT NULL ORDER BY id",
    )?;
    let mut rows = select.query([row::entry_id(id, after), row::entry_id(id, upto)])?;
    let (mut entries, mut bytes) = (Vec::<Arc<Entry>>::new(), 0);
    while let Some(row) = rows.next()? {
        if entries.len() >= limit.entries || (!entries.is_empty() && bytes >= limit.bytes) {
            let reached = entries.last().map_or(after, |entry| entry.seq);
            return Ok(Batch { entries, reached });
        }
        let entry = Entry {
            log: LogId::Group(group),
            seq: Seq(row::number(row, 0)?),
            kind: row::kind(row, 1)?,
            at: Timestamp(row::number(row, 2)?),
            payload: row.get(3)?,
        };
        bytes += entry.payload.len();
        entries.push(Arc::new(entry));
    }
    Ok(Batch { entries, reached })
}

pub fn acknowledge(tx: &Tx<'_>, positions: &[LogPosition]) -> Result<(), StoreError> {
    let mut group_cursor = tx.prepare_cached(
        "UPDATE members SET cursor = min(?3, groups.head_seq) FROM groups
         WHERE groups.group_id = ?1 AND members.group_no = groups.id AND device = ?2
             AND cursor < min(?3, groups.head_seq)",
    )?;
    for position in positions {
        match position.log {
            LogId::Inbox => inbox::acknowledge(tx, position.device, position.seq)?,
            LogId::Group(group) => {
                group_cursor.execute(params![group.0, position.device.0, Number(position.seq.0)])?;
            }
        }
    }
    Ok(())
}

/// A head as two columns of a row.
pub fn head(row: &rusqlite::Row<'_>, epoch: usize, seq: usize) -> rusqlite::Result<Head> {
    Ok(Head { epoch: Epoch(row::number(row, epoch)?), seq: Seq(row::number(row, seq)?) })
}

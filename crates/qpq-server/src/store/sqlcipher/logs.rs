//! The logs of groups.

use std::sync::Arc;

use qpq_proto::groups::Head;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, EntryKind, LogId, Mark, digest};
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::group::{NewLeave, NewPost, PostResult};
use crate::store::log::{Batch, Grown, LogPosition, ReadLimit};

use super::groups::{self, GroupRow};
use super::members;
use super::row::{self, Number};
use super::tx::Tx;
use super::{Quotas, inbox};

/// What is appended, besides where.
pub struct Appended {
    pub kind: EntryKind,
    /// The epoch that it belongs to, or that it ends.
    pub epoch: Epoch,
    pub hash: ContentHash,
    pub payload: Vec<u8>,
    pub expires: Option<Timestamp>,
}

pub fn post(tx: &Tx<'_>, post: NewPost, quotas: &Quotas, now: Timestamp) -> Result<PostResult, StoreError> {
    let entry = Appended {
        kind: EntryKind::Message,
        epoch: post.epoch,
        hash: post.hash,
        payload: post.payload,
        expires: post.expires,
    };
    Ok(match admit(tx, post.group, post.sender, &entry, quotas)? {
        Admission::Go(group) => PostResult::Accepted(append(tx, &group, post.group, entry, now, false)?),
        Admission::Stop(result) => result,
    })
}

pub fn leave(tx: &Tx<'_>, leave: NewLeave, quotas: &Quotas, now: Timestamp) -> Result<PostResult, StoreError> {
    // The first time has ended the membership, so a repetition is recognised before that is asked for.
    if let Some(group) = groups::find(tx, leave.group)?
        && let Some(seq) = known(tx, group.id, leave.hash)?
    {
        return Ok(PostResult::Accepted(seq));
    }
    let entry = Appended {
        kind: EntryKind::Proposal,
        epoch: leave.epoch,
        hash: leave.hash,
        payload: leave.payload,
        expires: None,
    };
    let group = match admit(tx, leave.group, leave.sender, &entry, quotas)? {
        Admission::Go(group) => group,
        Admission::Stop(result) => return Ok(result),
    };
    let seq = append(tx, &group, leave.group, entry, now, true)?;
    members::leave(tx, group.id, leave.sender, seq)?;
    if !is_on(Mutation::ForgetLeaving) {
        members::add_leaving(tx, group.id, leave.sender)?;
    }
    Ok(PostResult::Accepted(seq))
}

enum Admission {
    Go(GroupRow),
    Stop(PostResult),
}

fn admit(
    tx: &Tx<'_>,
    group: GroupId,
    sender: DeviceId,
    entry: &Appended,
    quotas: &Quotas,
) -> Result<Admission, StoreError> {
    let Some(row) = groups::find(tx, group)? else {
        return Ok(Admission::Stop(PostResult::NotMember));
    };
    // First of all: whoever repeats a post because the answer was lost may have been removed in the meantime.
    if let Some(seq) = known(tx, row.id, entry.hash)?.filter(|_| !is_on(Mutation::NoDeduplication)) {
        return Ok(Admission::Stop(PostResult::Accepted(seq)));
    }
    if !members::is_member(tx, row.id, sender)? {
        return Ok(Admission::Stop(PostResult::NotMember));
    }
    if row.head.epoch != entry.epoch && !is_on(Mutation::AcceptStalePosts) {
        return Ok(Admission::Stop(PostResult::StaleEpoch(row.head)));
    }
    if row.kept >= quotas.log_entries_per_group {
        return Ok(Admission::Stop(PostResult::Quota("log_entries_per_group")));
    }
    Ok(Admission::Go(row))
}

/// Appends at the head. The epoch grows with a commit; `roster` says that who may read is about to change.
pub fn append(
    tx: &Tx<'_>,
    group: &GroupRow,
    id: GroupId,
    entry: Appended,
    now: Timestamp,
    roster: bool,
) -> Result<Seq, StoreError> {
    let seq = Seq(group.head.seq.0 + 1);
    tx.prepare_cached(
        "INSERT INTO log (group_no, seq, kind, epoch, at, expires, hash, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        group.id,
        Number(seq.0),
        row::kind_number(entry.kind),
        Number(entry.epoch.0),
        Number(now.0),
        entry.expires.map(|at| Number(at.0)),
        entry.hash.0,
        entry.payload
    ])?;
    let ends_epoch = i64::from(entry.kind == EntryKind::Commit);
    tx.prepare_cached("UPDATE groups SET head_seq = ?2, kept = kept + 1, epoch = epoch + ?3 WHERE id = ?1")?
        .execute(params![group.id, Number(seq.0), ends_epoch])?;
    tx.appended(Entry { log: LogId::Group(id), seq, at: now, kind: entry.kind, payload: entry.payload });
    tx.grown(Grown::Group { group: id, head: seq, roster });
    Ok(seq)
}

/// Where the log has an entry with this hash.
pub fn known(connection: &Connection, group_no: i64, hash: ContentHash) -> Result<Option<Seq>, StoreError> {
    let mut select = connection.prepare_cached("SELECT seq FROM log WHERE group_no = ?1 AND hash = ?2")?;
    Ok(select.query_row(params![group_no, hash.0], |row| row::number(row, 0).map(Seq)).optional()?)
}

pub fn agreed(connection: &Connection, group: GroupId, marks: &[Mark]) -> Result<Option<Mark>, StoreError> {
    let Some(row) = groups::find(connection, group)? else {
        return Ok(None);
    };
    let mut select = connection.prepare_cached("SELECT hash FROM log WHERE group_no = ?1 AND seq = ?2")?;
    for mark in marks.iter().filter(|mark| mark.seq <= row.head.seq) {
        let hash = select.query_row(params![row.id, Number(mark.seq.0)], |row| row.get(0)).optional()?;
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
    let mut select = connection.prepare_cached(
        "SELECT seq, kind, at, payload FROM log
         WHERE group_no = (SELECT id FROM groups WHERE group_id = ?1) AND seq > ?2 AND seq <= ?3
             AND payload IS NOT NULL
         ORDER BY seq",
    )?;
    let mut rows = select.query(params![group.0, Number(after.0), Number(upto.0)])?;
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
    Ok(Batch { entries, reached: upto.max(after) })
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

//! Groups themselves: creation, where they stand, and their public states.

use qpq_proto::groups::Head;
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::group::{CommitResult, CreateResult, Membership, NewGroupRecord, Return, Snapshot, Standing};

use super::row::{self, Number};
use super::tx::Tx;
use super::{Quotas, commits, logs, members};

/// A group's row.
#[derive(Clone, Copy)]
pub struct GroupRow {
    pub id: i64,
    pub head: Head,
    /// Entries that still have a payload.
    pub kept: u64,
}

pub fn find(connection: &Connection, group: GroupId) -> Result<Option<GroupRow>, StoreError> {
    let mut select = connection.prepare_cached("SELECT id, epoch, head_seq, kept FROM groups WHERE group_id = ?1")?;
    let found = select.query_row([group.0], |row| {
        Ok(GroupRow { id: row.get(0)?, head: logs::head(row, 1, 2)?, kept: row::number(row, 3)? })
    });
    Ok(found.optional()?)
}

/// Writes what posting changes.
pub fn write_head(tx: &Tx<'_>, row: &GroupRow) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE groups SET head_seq = ?2, kept = ?3 WHERE id = ?1")?.execute(params![
        row.id,
        Number(row.head.seq.0),
        Number(row.kept)
    ])?;
    Ok(())
}

pub fn create(tx: &Tx<'_>, new: NewGroupRecord, quotas: &Quotas, now: Timestamp) -> Result<CreateResult, StoreError> {
    if let Some(result) = taken(tx, &new)? {
        return Ok(result);
    }
    if let Some(group) = new.pair.map(|pair| of_pair(tx, pair)).transpose()?.flatten() {
        return Ok(CreateResult::Exists(group));
    }
    if let Some(limit) = new.first.as_ref().map(|first| commits::missing_room(tx, first, quotas)).transpose()?.flatten()
    {
        return Ok(CreateResult::Quota(limit));
    }
    tx.prepare_cached(
        "INSERT INTO groups (group_id, creator, request, direct_pair, created) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![new.group.0, new.creator.device.0, new.request.0, new.pair, Number(now.0)])?;
    let id = tx.last_insert_rowid();
    members::join(tx, id, &new.creator, Seq(0))?;
    insert_snapshot(tx, id, &Snapshot { epoch: Epoch(0), state: new.state }, now)?;
    set_group_info(tx, id, &new.group_info, new.context)?;
    let Some(first) = new.first else {
        return Ok(CreateResult::Created(Seq(0)));
    };
    match commits::commit(tx, first, quotas, now)? {
        CommitResult::Accepted(seq) => {
            tx.prepare_cached("UPDATE groups SET first_seq = ?2 WHERE id = ?1")?.execute(params![id, Number(seq.0)])?;
            Ok(CreateResult::Created(seq))
        }
        // The group is new and the creator in it, so this is a mistake of ours; the error undoes the creation.
        CommitResult::Superseded(_) | CommitResult::NotMember | CommitResult::Quota(_) => {
            Err(StoreError::Internal("the first commit does not fit its group".into()))
        }
    }
}

/// What to answer when the group exists already.
fn taken(tx: &Tx<'_>, new: &NewGroupRecord) -> Result<Option<CreateResult>, StoreError> {
    let mut select =
        tx.prepare_cached("SELECT creator = ?2, request = ?3, first_seq FROM groups WHERE group_id = ?1")?;
    let found = select
        .query_row(params![new.group.0, new.creator.device.0, new.request.0], |row| {
            Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?, row::number(row, 2)?))
        })
        .optional()?;
    Ok(found.map(|found| match found {
        (true, true, first) => CreateResult::Created(Seq(first)),
        // Its creator has forgotten that it made it.
        (true, false, _) => CreateResult::Exists(new.group),
        (false, ..) => CreateResult::Taken,
    }))
}

fn of_pair(tx: &Tx<'_>, pair: [u8; 32]) -> Result<Option<GroupId>, StoreError> {
    let mut select = tx.prepare_cached("SELECT group_id FROM groups WHERE direct_pair = ?1")?;
    Ok(select.query_row([pair], |row| row::id(row, 0).map(GroupId)).optional()?)
}

pub fn standing(
    connection: &Connection,
    group: GroupId,
    device: DeviceId,
    hash: Option<ContentHash>,
) -> Result<Option<Standing>, StoreError> {
    let Some(row) = find(connection, group)? else {
        return Ok(None);
    };
    let spans = members::spans(connection, row.id, device)?;
    Ok(Some(Standing {
        head: row.head,
        is_member: spans.last().is_some_and(|span| span.left.is_none()),
        was_member: !spans.is_empty(),
        known: hash.map(|hash| logs::known(connection, row.id, hash)).transpose()?.flatten(),
        leaving: members::leaving(connection, row.id)?,
    }))
}

pub fn membership(connection: &Connection, group: GroupId, device: DeviceId) -> Result<Option<Membership>, StoreError> {
    let Some(row) = find(connection, group)? else {
        return Ok(None);
    };
    let spans = members::spans(connection, row.id, device)?;
    let acknowledged = members::acknowledged(connection, row.id, device)?;
    let mut select = connection.prepare_cached("SELECT context FROM group_infos WHERE group_no = ?1")?;
    let context = select.query_row([row.id], |row| row.get::<_, i64>(0)).optional()?.map(i64::cast_unsigned);
    Ok(Some(Membership { head: row.head, spans, acknowledged, context }))
}

pub fn way_back(connection: &Connection, group: GroupId, identity: IdentityId) -> Result<Option<Return>, StoreError> {
    let Some(row) = find(connection, group)? else {
        return Ok(None);
    };
    if !members::is_member_identity(connection, row.id, identity)? {
        return Ok(None);
    }
    let mut select = connection.prepare_cached("SELECT info FROM group_infos WHERE group_no = ?1")?;
    let group_info = select.query_row([row.id], |row| row.get(0)).optional()?;
    Ok(Some(Return { head: row.head, group_info, leaving: members::leaving(connection, row.id)? }))
}

pub fn set_group_info(tx: &Tx<'_>, group_no: i64, info: &[u8], context: u64) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR REPLACE INTO group_infos (group_no, info, context) VALUES (?1, ?2, ?3)")?
        .execute(params![group_no, info, context.cast_signed()])?;
    Ok(())
}

pub fn snapshot(connection: &Connection, group: GroupId, epoch: Epoch) -> Result<Option<Snapshot>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT snapshots.epoch, state FROM snapshots JOIN groups ON groups.id = group_no
         WHERE group_id = ?1 AND snapshots.epoch <= ?2 ORDER BY snapshots.epoch DESC LIMIT 1",
    )?;
    let found = select.query_row(params![group.0, Number(epoch.0)], |row| {
        Ok(Snapshot { epoch: Epoch(row::number(row, 0)?), state: row.get(1)? })
    });
    Ok(found.optional()?)
}

pub fn write_snapshot(tx: &Tx<'_>, group: GroupId, snapshot: &Snapshot, now: Timestamp) -> Result<(), StoreError> {
    let Some(row) = find(tx, group)? else {
        return Ok(());
    };
    insert_snapshot(tx, row.id, snapshot, now)?;
    if row.head.epoch == snapshot.epoch {
        tx.prepare_cached("UPDATE groups SET replay_until = NULL WHERE id = ?1")?.execute([row.id])?;
    }
    Ok(())
}

pub fn expiring(connection: &Connection, before: Timestamp) -> Result<Vec<GroupId>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT group_id FROM groups WHERE replay_until < ?1 ORDER BY replay_until LIMIT ?2")?;
    let rows = select.query_map(params![Number(before.0), EXPIRING_PER_CALL], |row| row::id(row, 0).map(GroupId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn insert_snapshot(tx: &Tx<'_>, group_no: i64, snapshot: &Snapshot, now: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR IGNORE INTO snapshots (group_no, epoch, state, created) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![group_no, Number(snapshot.epoch.0), snapshot.state, Number(now.0)])?;
    Ok(())
}

/// The rest comes with the next call.
const EXPIRING_PER_CALL: i64 = 1000;

//! Rosters: who was in a group from where to where.

use std::collections::BTreeSet;

use qpq_proto::groups::Stay;
use qpq_proto::ids::{DeviceId, GroupId, IdentityId, Seq};
use qpq_proto::limits;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::group::{MemberRecord, Span};

use super::row::{self, Number};
use super::tx::Tx;

pub fn is_member(connection: &Connection, group_no: i64, device: DeviceId) -> Result<bool, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT 1 FROM members WHERE group_no = ?1 AND device = ?2 AND left_seq IS NULL")?;
    Ok(select.exists(params![group_no, device.0])?)
}

pub fn spans(connection: &Connection, group_no: i64, device: DeviceId) -> Result<Vec<Span>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT joined_seq, left_seq FROM members WHERE group_no = ?1 AND device = ?2 ORDER BY joined_seq",
    )?;
    let rows = select.query_map(params![group_no, device.0], |row| {
        let left = row.get::<_, Option<Number>>(1)?.map(|number| Seq(number.0));
        Ok(Span { joined: Seq(row::number(row, 0)?), left })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether the identity is in the group with any device.
pub fn is_member_identity(connection: &Connection, group_no: i64, identity: IdentityId) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT 1 FROM members WHERE identity = ?2 AND group_no = ?1 AND left_seq IS NULL")?;
    Ok(select.exists(params![group_no, identity.0])?)
}

pub fn groups_of(connection: &Connection, identity: IdentityId, device: DeviceId) -> Result<Vec<Stay>, StoreError> {
    let mut select = connection.prepare_cached(
        // Whoever made a group knows it from its first entry on.
        "SELECT group_id, max(iif(device = ?2 AND (cursor > joined_seq OR joined_seq = 0 AND creator = ?2), max(cursor, 1), 0)),
             max(device = ?2)
         FROM members JOIN groups ON groups.id = group_no
         WHERE identity = ?1 AND left_seq IS NULL GROUP BY groups.id ORDER BY groups.id LIMIT ?3",
    )?;
    let rows = select.query_map(params![identity.0, device.0, Number(limits::POSITIONS as u64)], |row| {
        Ok(Stay { group: GroupId(row::id(row, 0)?), acknowledged: Seq(row::number(row, 1)?), inside: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How far the device has come in its last stay; 0 when it has not acknowledged any of it.
pub fn acknowledged(connection: &Connection, group_no: i64, device: DeviceId) -> Result<Seq, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT iif(cursor > joined_seq, cursor, 0) FROM members WHERE group_no = ?1 AND device = ?2
         ORDER BY joined_seq DESC LIMIT 1",
    )?;
    let found = select.query_row(params![group_no, device.0], |row| row::number(row, 0).map(Seq));
    Ok(found.optional()?.unwrap_or(Seq(0)))
}

/// A stay that begins after the entry `joined`. A device that is in the group already stays as it is.
pub fn join(tx: &Tx<'_>, group_no: i64, member: &MemberRecord, joined: Seq) -> Result<(), StoreError> {
    if is_member(tx, group_no, member.device)? {
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT INTO members (group_no, device, joined_seq, identity, cursor) VALUES (?1, ?2, ?3, ?4, ?3)
         ON CONFLICT DO UPDATE SET left_seq = NULL",
    )?
    .execute(params![group_no, member.device.0, Number(joined.0), member.identity.0])?;
    Ok(())
}

/// Ends the stay of `device` with the entry `left`, which it still sees.
pub fn leave(tx: &Tx<'_>, group_no: i64, device: DeviceId, left: Seq) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE members SET left_seq = ?3 WHERE group_no = ?1 AND device = ?2 AND left_seq IS NULL")?
        .execute(params![group_no, device.0, Number(left.0)])?;
    Ok(())
}

pub fn leaving(connection: &Connection, group_no: i64) -> Result<BTreeSet<DeviceId>, StoreError> {
    let mut select = connection.prepare_cached("SELECT device FROM leaving WHERE group_no = ?1")?;
    let rows = select.query_map([group_no], |row| row::id(row, 0).map(DeviceId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn add_leaving(tx: &Tx<'_>, group_no: i64, device: DeviceId) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR IGNORE INTO leaving (group_no, device) VALUES (?1, ?2)")?
        .execute(params![group_no, device.0])?;
    Ok(())
}

pub fn remove_leaving(tx: &Tx<'_>, group_no: i64, device: DeviceId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM leaving WHERE group_no = ?1 AND device = ?2")?
        .execute(params![group_no, device.0])?;
    Ok(())
}

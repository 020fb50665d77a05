//! What is addressed to one device alone.

use std::sync::Arc;

use qpq_proto::ids::{DeviceId, Seq};
use qpq_proto::stream::{Entry, EntryKind, LogId};
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::change::Change;
use crate::store::log::{Batch, InboxHead, ReadLimit};

use super::row::{self, Number};
use super::tx::Tx;

/// False: the device is unknown, or has more waiting than `quota` allows.
pub fn has_room(connection: &Connection, device: DeviceId, quota: u64) -> Result<bool, StoreError> {
    // Counted, for a restored database leaves numbers out.
    let mut select = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM inbox WHERE inbox.device = inboxes.device) < ?2 FROM inboxes WHERE device = ?1",
    )?;
    Ok(select.query_row(params![device.0, Number(quota)], |row| row.get(0)).optional()?.unwrap_or(false))
}

pub fn append(
    tx: &Tx<'_>,
    device: DeviceId,
    kind: EntryKind,
    payload: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut advance =
        tx.prepare_cached("UPDATE inboxes SET head_seq = head_seq + 1 WHERE device = ?1 RETURNING head_seq")?;
    let head = Seq(advance.query_row([device.0], |row| row::number(row, 0))?);
    tx.prepare_cached("INSERT INTO inbox (device, seq, kind, at, payload) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![device.0, Number(head.0), row::kind_number(kind), Number(now.0), payload])?;
    tx.changed(Change::Inbox { device, head });
    Ok(())
}

pub fn head(connection: &Connection, device: DeviceId) -> Result<InboxHead, StoreError> {
    let mut select = connection.prepare_cached("SELECT head_seq, cursor FROM inboxes WHERE device = ?1")?;
    let found = select.query_row([device.0], |row| {
        Ok(InboxHead { head: Seq(row::number(row, 0)?), acknowledged: Seq(row::number(row, 1)?) })
    });
    Ok(found.optional()?.unwrap_or(InboxHead { head: Seq(0), acknowledged: Seq(0) }))
}

pub fn read(connection: &Connection, device: DeviceId, after: Seq, limit: ReadLimit) -> Result<Batch, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT seq, kind, at, payload FROM inbox WHERE device = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![device.0, Number(after.0), Number(limit.entries as u64)])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let entry = Entry {
            log: LogId::Inbox,
            seq: Seq(row::number(row, 0)?),
            kind: row::kind(row, 1)?,
            at: Timestamp(row::number(row, 2)?),
            payload: row.get(3)?,
        };
        bytes += entry.payload.len();
        entries.push(Arc::new(entry));
        if bytes >= limit.bytes {
            break;
        }
    }
    let reached = entries.last().map_or(after, |entry| entry.seq);
    Ok(Batch { entries, reached })
}

/// Forgets what is acknowledged; an inbox has one reader.
pub fn acknowledge(tx: &Tx<'_>, device: DeviceId, seq: Seq) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE inboxes SET cursor = min(?2, head_seq) WHERE device = ?1 AND cursor < min(?2, head_seq)",
    )?
    .execute(params![device.0, Number(seq.0)])?;
    tx.prepare_cached("DELETE FROM inbox WHERE device = ?1 AND seq <= ?2")?
        .execute(params![device.0, Number(seq.0)])?;
    Ok(())
}

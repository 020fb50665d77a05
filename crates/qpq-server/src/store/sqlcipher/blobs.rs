//! Blobs: parts of one size, appended in order, erased when their time is up.

use qpq_proto::blobs::{PART, part_at};
use qpq_proto::ids::{ContentHash, IdentityId};
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::blob::{Begun, BlobName, NewBlob, NewPart, Put, SweptBlobs};

use super::row::{self, Number};
use super::tx::Tx;

pub fn begin(tx: &Tx<'_>, new: &NewBlob, quota: u64, now: Timestamp) -> Result<Begun, StoreError> {
    match find(tx, new.name)? {
        Some(blob) if blob.keep_until <= now && blob.received <= ERASED_AT_ONCE => erase(tx, &blob)?,
        // The rest is swept bit by bit.
        Some(blob) if blob.keep_until <= now => return Ok(Begun::Taken),
        Some(blob) if blob.owner != new.owner || blob.size != new.size => return Ok(Begun::Taken),
        Some(blob) => {
            keep(tx, &blob, new.keep_until)?;
            return Ok(Begun::Received(blob.received));
        }
        None => {}
    }
    // The smallest count as a whole part, which bounds their number.
    let mut sum = tx.prepare_cached("SELECT coalesce(sum(max(size, ?2)), 0) FROM blobs WHERE owner = ?1")?;
    let used = sum.query_row(params![new.owner.0, PART as i64], |row| row::number(row, 0))?;
    if used.saturating_add(new.size.max(PART as u64)) > quota {
        return Ok(Begun::Quota("file_bytes_per_account"));
    }
    tx.prepare_cached("INSERT INTO blobs (name, owner, size, keep_until) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![new.name.0.0, new.owner.0, Number(new.size), Number(new.keep_until.0)])?;
    Ok(Begun::Received(0))
}

pub fn put(tx: &Tx<'_>, part: &NewPart, now: Timestamp) -> Result<Put, StoreError> {
    let Some(blob) = find(tx, part.name)?.filter(|blob| blob.owner == part.owner && blob.keep_until > now) else {
        return Ok(Put::Unknown);
    };
    if part_at(blob.size, part.offset) != Some(part.bytes.len()) {
        return Ok(Put::Misplaced);
    }
    if part.offset != blob.received {
        return Ok(Put::Received(blob.received));
    }
    tx.prepare_cached("INSERT INTO blob_parts (id, bytes) VALUES (?1, ?2)")?
        .execute(params![blob.part(part.offset), part.bytes])?;
    let received = blob.received + part.bytes.len() as u64;
    tx.prepare_cached("UPDATE blobs SET received = ?2 WHERE id = ?1")?.execute(params![blob.no, Number(received)])?;
    Ok(Put::Received(received))
}

pub fn read(
    connection: &Connection,
    name: BlobName,
    offset: u64,
    length: usize,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(blob) = find(connection, name)?.filter(|blob| blob.is_complete() && blob.keep_until > now) else {
        return Ok(None);
    };
    let end = offset.saturating_add(length as u64).min(blob.size);
    let mut bytes = Vec::new();
    let mut select = connection.prepare_cached("SELECT bytes FROM blob_parts WHERE id = ?1")?;
    let mut at = offset;
    while at < end {
        let part = select.query_row([blob.part(at)], |row| row.get::<_, Vec<u8>>(0))?;
        let begin = at - at % PART as u64;
        let upto = usize::try_from(end - begin).unwrap_or(PART).min(part.len());
        let from = usize::try_from(at - begin).unwrap_or(PART).min(upto);
        if from == upto {
            return Err(StoreError::Internal("a part of a blob is too short".into()));
        }
        bytes.extend_from_slice(&part[from..upto]);
        at = begin + upto as u64;
    }
    Ok(Some(bytes))
}

/// A message refers to these blobs. False: one of them is not here, or not complete, and nothing was changed.
pub fn refer(tx: &Tx<'_>, names: &[BlobName], until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
    let mut blobs = Vec::with_capacity(names.len());
    for name in names {
        match find(tx, *name)?.filter(|blob| blob.is_complete() && blob.keep_until > now) {
            Some(blob) => blobs.push(blob),
            None => return Ok(false),
        }
    }
    blobs.iter().try_for_each(|blob| keep(tx, blob, until))?;
    Ok(true)
}

pub fn sweep(tx: &Tx<'_>, now: Timestamp) -> Result<SweptBlobs, StoreError> {
    let mut select = tx.prepare_cached("SELECT id FROM blobs WHERE keep_until <= ?1 LIMIT 1")?;
    let (mut left, mut erased) = (PARTS_PER_CALL, 0);
    while left > 0 {
        let Some(no) = select.query_row([Number(now.0)], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(SweptBlobs { erased, more: false });
        };
        let parts = erase_parts(tx, no, left)?;
        if parts < left {
            tx.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([no])?;
        }
        erased += parts as u64;
        // A blob without parts costs something, too.
        left = left.saturating_sub(parts.max(1));
    }
    Ok(SweptBlobs { erased, more: true })
}

/// Bytes of an expired blob that are erased while somebody waits.
const ERASED_AT_ONCE: u64 = 32 * PART as u64;

struct Blob {
    no: i64,
    owner: IdentityId,
    size: u64,
    received: u64,
    keep_until: Timestamp,
}

impl Blob {
    fn is_complete(&self) -> bool {
        self.received == self.size
    }

    fn part(&self, offset: u64) -> i64 {
        part_id(self.no, offset / PART as u64)
    }
}

fn find(connection: &Connection, BlobName(ContentHash(name)): BlobName) -> Result<Option<Blob>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT id, owner, size, received, keep_until FROM blobs WHERE name = ?1")?;
    let blob = select.query_row([name], |row| {
        Ok(Blob {
            no: row.get(0)?,
            owner: IdentityId(row::id(row, 1)?),
            size: row::number(row, 2)?,
            received: row::number(row, 3)?,
            keep_until: Timestamp(row::number(row, 4)?),
        })
    });
    Ok(blob.optional()?)
}

fn keep(tx: &Tx<'_>, blob: &Blob, until: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE blobs SET keep_until = ?2 WHERE id = ?1 AND keep_until < ?2")?
        .execute(params![blob.no, Number(until.0)])?;
    Ok(())
}

fn erase(tx: &Tx<'_>, blob: &Blob) -> Result<(), StoreError> {
    erase_parts(tx, blob.no, i64::MAX)?;
    tx.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([blob.no])?;
    Ok(())
}

/// At most so many; how many there were.
fn erase_parts(tx: &Tx<'_>, no: i64, most: i64) -> Result<i64, StoreError> {
    let erased = tx
        .prepare_cached(
            "DELETE FROM blob_parts WHERE id IN (SELECT id FROM blob_parts WHERE id >= ?1 AND id < ?2 LIMIT ?3)",
        )?
        .execute(params![part_id(no, 0), part_id(no + 1, 0), most])?;
    Ok(i64::try_from(erased).unwrap_or(i64::MAX))
}

/// The id of a part: those of one blob follow each other.
fn part_id(no: i64, part: u64) -> i64 {
    no << 32 | row::integer(part.min(u64::from(u32::MAX)))
}

/// Sixteen mebibytes: some tens of milliseconds of the writer's time.
const PARTS_PER_CALL: i64 = 256;

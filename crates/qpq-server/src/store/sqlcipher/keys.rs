//! Key packages: published, claimed once, forgotten when expired.

use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::key_package::{Claimed, LOW_STOCK, Published, StoredKeyPackage};

use super::row::{self, Number};
use super::tx::Tx;

pub fn publish(
    tx: &Tx<'_>,
    device: DeviceId,
    packages: &[StoredKeyPackage],
    quota: u64,
    now: Timestamp,
) -> Result<Published, StoreError> {
    let mut new = Vec::new();
    for package in packages {
        let mut known = tx.prepare_cached("SELECT 1 FROM key_packages WHERE reference = ?1")?;
        if !known.exists([&package.reference])? {
            new.push(package);
        }
    }
    let one_time = new.iter().filter(|package| !package.last_resort).count() as u64;
    if all_stock(tx, device, now)? + one_time > quota {
        return Ok(Published::QuotaExceeded);
    }
    for package in new {
        if package.last_resort {
            tx.prepare_cached(
                "UPDATE key_packages SET package = NULL WHERE device = ?1 AND suite = ?2 AND last_resort = 1",
            )?
            .execute(params![device.0, package.suite])?;
        }
        tx.prepare_cached(
            "INSERT OR IGNORE INTO key_packages (device, reference, package, suite, last_resort, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            device.0,
            package.reference,
            package.package,
            package.suite,
            package.last_resort,
            Number(package.expires.0)
        ])?;
    }
    Ok(Published::Done)
}

pub fn claim(tx: &Tx<'_>, identity: IdentityId, suite: u16, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    let mut claimed = Vec::new();
    for device in devices(tx, identity)? {
        claimed.extend(claim_for(tx, device, suite, now)?);
    }
    Ok(claimed)
}

pub fn stock(connection: &Connection, device: DeviceId, suite: u16, now: Timestamp) -> Result<u32, StoreError> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM key_packages
         WHERE device = ?1 AND suite = ?3 AND last_resort = 0 AND package IS NOT NULL AND expires > ?2",
    )?;
    Ok(count.query_row(params![device.0, Number(now.0), suite], |row| row.get(0))?)
}

/// The same, counted up to [`LOW_STOCK`].
pub fn low_stock(connection: &Connection, device: DeviceId, suite: u16, now: Timestamp) -> Result<u32, StoreError> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (
             SELECT 1 FROM key_packages
             WHERE device = ?1 AND suite = ?3 AND last_resort = 0 AND package IS NOT NULL AND expires > ?2 LIMIT ?4)",
    )?;
    Ok(count.query_row(params![device.0, Number(now.0), suite, LOW_STOCK], |row| row.get(0))?)
}

fn all_stock(connection: &Connection, device: DeviceId, now: Timestamp) -> Result<u64, StoreError> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM key_packages
         WHERE device = ?1 AND last_resort = 0 AND package IS NOT NULL AND expires > ?2",
    )?;
    Ok(count.query_row(params![device.0, Number(now.0)], |row| row::number(row, 0))?)
}

fn devices(connection: &Connection, identity: IdentityId) -> Result<Vec<DeviceId>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT device FROM devices JOIN accounts ON accounts.id = account
         WHERE identity = ?1 AND disabled = 0 ORDER BY device",
    )?;
    let rows = select.query_map([identity.0], |row| row::id(row, 0).map(DeviceId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn claim_for(tx: &Tx<'_>, device: DeviceId, suite: u16, now: Timestamp) -> Result<Option<Claimed>, StoreError> {
    // One-time packages first, the oldest of them.
    let mut select = tx.prepare_cached(
        "SELECT id, package, last_resort FROM key_packages
         WHERE device = ?1 AND suite = ?3 AND package IS NOT NULL AND expires > ?2 ORDER BY last_resort, id LIMIT 1",
    )?;
    let found = select
        .query_row(params![device.0, Number(now.0), suite], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, bool>(2)?))
        })
        .optional()?;
    let Some((id, package, last_resort)) = found else {
        return Ok(None);
    };
    if !last_resort && !is_on(Mutation::ClaimTwice) {
        tx.prepare_cached("UPDATE key_packages SET package = NULL WHERE id = ?1")?.execute([id])?;
    }
    Ok(Some(Claimed { device, package, last_resort, left: low_stock(tx, device, suite, now)? }))
}

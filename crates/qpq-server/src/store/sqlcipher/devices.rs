//! The devices of an account, which change with its manifest.

use qpq_proto::ids::DeviceId;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::account::{NewManifest, Replaced};
use crate::store::change::Change;
use crate::store::group::MemberRecord;

use super::row::{self, Number};
use super::tx::Tx;

/// A device that its account did not have, with an empty inbox.
pub fn insert(tx: &Tx<'_>, account: i64, device: DeviceId) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO devices (device, account) VALUES (?1, ?2)")?.execute(params![device.0, account])?;
    tx.prepare_cached("INSERT INTO inboxes (device) VALUES (?1)")?.execute([device.0])?;
    Ok(())
}

/// The manifest and everything that follows from it. What a dropped device is in, it stays in until a sibling removes its
/// leaf: the identity is a member by it, and may come in with another device.
pub fn replace_manifest(tx: &Tx<'_>, new: &NewManifest) -> Result<Replaced, StoreError> {
    let before = Number(new.version.saturating_sub(1));
    let mut select = tx.prepare_cached("SELECT id FROM accounts WHERE identity = ?1 AND manifest_version = ?2")?;
    let account = select.query_row(params![new.identity.0, before], |row| row.get::<_, i64>(0)).optional()?;
    let Some(account) = account else { return Ok(Replaced::Superseded) };
    let listed = of_account(tx, account)?;
    let added: Vec<_> = new.devices.iter().filter(|device| !listed.contains(device)).collect();
    for device in &added {
        if tx.prepare_cached("SELECT 1 FROM devices WHERE device = ?1")?.exists([device.0])? {
            return Ok(Replaced::DeviceTaken);
        }
    }
    for device in listed.iter().filter(|device| !new.devices.contains(device)) {
        tx.prepare_cached("DELETE FROM devices WHERE device = ?1")?.execute([device.0])?;
    }
    for device in added {
        insert(tx, account, *device)?;
    }
    tx.prepare_cached(
        "UPDATE accounts SET manifest = ?2, manifest_version = ?3, opaque_record = coalesce(?4, opaque_record)
         WHERE id = ?1",
    )?
    .execute(params![account, new.manifest, Number(new.version), new.opaque_record])?;
    tx.changed(Change::Devices { identity: new.identity, devices: new.devices.clone() });
    Ok(Replaced::Done)
}

pub fn are_listed(connection: &Connection, devices: &[MemberRecord]) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM devices JOIN accounts ON accounts.id = account WHERE device = ?1 AND identity = ?2";
    let mut select = connection.prepare_cached(sql)?;
    for MemberRecord { device, identity } in devices {
        if !select.exists([&device.0[..], &identity.0[..]])? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn of_account(tx: &Tx<'_>, account: i64) -> Result<Vec<DeviceId>, StoreError> {
    let mut select = tx.prepare_cached("SELECT device FROM devices WHERE account = ?1")?;
    let rows = select.query_map([account], |row| row::id(row, 0).map(DeviceId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

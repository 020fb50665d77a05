//! One-time registration codes.

use qpq_proto::time::Timestamp;
use rusqlite::{Connection, params};

use crate::store::StoreError;
use crate::store::account::InviteHash;

use super::row::Number;
use super::tx::Tx;

pub fn add(tx: &Tx<'_>, codes: &[InviteHash], expires: Timestamp) -> Result<(), StoreError> {
    let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO invites (code_hash, expires) VALUES (?1, ?2)")?;
    for code in codes {
        insert.execute(params![code.0, Number(expires.0)])?;
    }
    Ok(())
}

pub fn is_good(connection: &Connection, code: InviteHash, now: Timestamp) -> Result<bool, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT 1 FROM invites WHERE code_hash = ?1 AND used IS NULL AND expires > ?2")?;
    Ok(select.exists(params![code.0, Number(now.0)])?)
}

/// False: it is unknown, used or expired.
pub fn consume(tx: &Tx<'_>, code: InviteHash, now: Timestamp) -> Result<bool, StoreError> {
    let mut update =
        tx.prepare_cached("UPDATE invites SET used = ?2 WHERE code_hash = ?1 AND used IS NULL AND expires > ?2")?;
    Ok(update.execute(params![code.0, Number(now.0)])? == 1)
}

//! Server-wide values.

use rusqlite::{OptionalExtension as _, params};

use crate::store::StoreError;

use super::tx::Tx;

pub fn get_or_insert(tx: &Tx<'_>, key: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let mut select = tx.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
    if let Some(known) = select.query_row([key], |row| row.get(0)).optional()? {
        return Ok(known);
    }
    tx.prepare_cached("INSERT INTO settings (key, value) VALUES (?1, ?2)")?.execute(params![key, value])?;
    Ok(value)
}

pub fn probe(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR REPLACE INTO settings (key, value) VALUES ('probe', randomblob(8))")?.execute([])?;
    Ok(())
}

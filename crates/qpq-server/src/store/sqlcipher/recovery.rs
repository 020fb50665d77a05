//! What is kept for somebody who has lost all devices.

use qpq_proto::account::UserName;
use qpq_proto::ids::IdentityId;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::StoreError;
use crate::store::account::Recovery;

use super::row;
use super::tx::Tx;

pub fn set(tx: &Tx<'_>, identity: IdentityId, recovery: Option<&Recovery>) -> Result<(), StoreError> {
    match recovery {
        Some(recovery) => tx
            .prepare_cached(
                "INSERT OR REPLACE INTO recoveries (account, key, record)
                 SELECT id, ?2, ?3 FROM accounts WHERE identity = ?1",
            )?
            .execute(params![identity.0, recovery.key, recovery.record])?,
        None => tx
            .prepare_cached("DELETE FROM recoveries WHERE account = (SELECT id FROM accounts WHERE identity = ?1)")?
            .execute([identity.0])?,
    };
    Ok(())
}

pub fn find(connection: &Connection, name: &UserName) -> Result<Option<Recovery>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT key, record FROM recoveries JOIN accounts ON accounts.id = account WHERE name = ?1 AND disabled = 0",
    )?;
    let found = select.query_row([name.as_str()], |row| Ok(Recovery { key: row::id(row, 0)?, record: row.get(1)? }));
    Ok(found.optional()?)
}

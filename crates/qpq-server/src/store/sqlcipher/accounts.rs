//! Accounts and their devices.

use qpq_proto::account::UserName;
use qpq_proto::ids::{ContentHash, IdentityId};
use qpq_proto::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use crate::store::StoreError;
use crate::store::account::{Account, AccountKey, AccountSummary, NewAccount, Registered};
use crate::store::change::Change;

use super::row::{self, Number};
use super::tx::Tx;
use super::{devices, invites};

pub fn register(tx: &Tx<'_>, account: &NewAccount, now: Timestamp) -> Result<Registered, StoreError> {
    if exists(tx, "SELECT 1 FROM accounts WHERE name = ?1", &account.name.as_str())? || is_retired(tx, &account.name)? {
        return Ok(Registered::NameTaken);
    }
    let mut taken = exists(tx, "SELECT 1 FROM accounts WHERE identity = ?1", &account.identity.0)?;
    for device in &account.devices {
        taken |= exists(tx, "SELECT 1 FROM devices WHERE device = ?1", &device.0)?;
    }
    if taken {
        return Ok(Registered::IdentityTaken);
    }
    if let Some(code) = account.invite
        && !invites::consume(tx, code, now)?
    {
        return Ok(Registered::InviteInvalid);
    }
    insert(tx, account, now)?;
    Ok(Registered::Done)
}

fn insert(tx: &Tx<'_>, account: &NewAccount, now: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO accounts (name, identity, opaque_record, manifest, manifest_version, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        account.name.as_str(),
        account.identity.0,
        account.opaque_record,
        account.manifest,
        Number(account.manifest_version),
        Number(now.0)
    ])?;
    let id = tx.last_insert_rowid();
    account.devices.iter().try_for_each(|device| devices::insert(tx, id, *device))
}

pub fn find(connection: &Connection, key: &AccountKey) -> Result<Option<Account>, StoreError> {
    let find = |condition: &str, value: &dyn ToSql| {
        let sql = format!(
            "SELECT name, identity, opaque_record, manifest, manifest_version, disabled FROM accounts WHERE {condition}"
        );
        connection.prepare_cached(&sql)?.query_row([value], account).optional()
    };
    Ok(match key {
        AccountKey::Name(name) => find("name = ?1", &name.as_str())?,
        AccountKey::Identity(identity) => find("identity = ?1", &identity.0)?,
        AccountKey::Device(device) => find("id = (SELECT account FROM devices WHERE device = ?1)", &device.0)?,
    })
}

pub fn list(connection: &Connection) -> Result<Vec<AccountSummary>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT name, identity, (SELECT count(*) FROM devices WHERE account = accounts.id), disabled, created
         FROM accounts ORDER BY name",
    )?;
    let rows = select.query_map([], |row| {
        Ok(AccountSummary {
            name: name(row, 0)?,
            identity: IdentityId(row::id(row, 1)?),
            devices: row.get(2)?,
            disabled: row.get(3)?,
            created: Timestamp(row::number(row, 4)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn set_disabled(tx: &Tx<'_>, name: &UserName, disabled: bool) -> Result<bool, StoreError> {
    let known = tx
        .prepare_cached("UPDATE accounts SET disabled = ?2 WHERE name = ?1")?
        .execute(params![name.as_str(), disabled])?
        == 1;
    if known && disabled {
        record_change(tx, name)?;
    }
    Ok(known)
}

/// Its memberships end where the logs stand now, so that nothing is kept for it any longer.
pub fn delete(tx: &Tx<'_>, name: &UserName) -> Result<bool, StoreError> {
    if !exists(tx, "SELECT 1 FROM accounts WHERE name = ?1", &name.as_str())? {
        return Ok(false);
    }
    record_change(tx, name)?;
    tx.prepare_cached(
        "UPDATE members SET left_seq = (SELECT head_seq FROM groups WHERE id = group_no)
         WHERE left_seq IS NULL AND device IN
             (SELECT device FROM devices JOIN accounts ON accounts.id = account WHERE name = ?1)",
    )?
    .execute([name.as_str()])?;
    tx.prepare_cached("DELETE FROM accounts WHERE name = ?1")?.execute([name.as_str()])?;
    Ok(true)
}

/// Everything that names the account goes, in the order of the references. Groups that nobody is in any more go with it.
pub fn purge(tx: &Tx<'_>, identity: IdentityId) -> Result<(), StoreError> {
    let Some(account) = find(tx, &AccountKey::Identity(identity))? else { return Ok(()) };
    tx.prepare_cached("INSERT OR IGNORE INTO retired_names (name_hash) VALUES (?1)")?
        .execute([name_hash(&account.name)])?;
    let mut groups = tx.prepare_cached("SELECT DISTINCT group_no FROM members WHERE identity = ?1")?;
    let groups = groups.query_map([identity.0], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for sql in [
        // Another one may not be made in its place by whoever gets hold of an old request.
        "UPDATE groups SET creator = x'' WHERE creator IN
             (SELECT device FROM devices JOIN accounts ON accounts.id = account WHERE identity = ?1)",
        // Others may still fetch what they were sent, until its time is over; whose it was is forgotten.
        "UPDATE blobs SET owner = zeroblob(length(owner)) WHERE owner = ?1",
        "DELETE FROM members WHERE identity = ?1",
        "DELETE FROM account_changes WHERE identity = ?1",
        "DELETE FROM accounts WHERE identity = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([identity.0])?;
    }
    for group in groups {
        let empty = !exists(tx, "SELECT 1 FROM members WHERE group_no = ?1 AND left_seq IS NULL", &group)?;
        if empty {
            tx.prepare_cached("DELETE FROM groups WHERE id = ?1")?.execute([group])?;
            tx.repeats().forget(group);
        }
    }
    tx.changed(Change::Purged { identity });
    Ok(())
}

pub fn set_password(tx: &Tx<'_>, identity: IdentityId, opaque_record: &[u8]) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE accounts SET opaque_record = ?2 WHERE identity = ?1")?
        .execute(params![identity.0, opaque_record])?;
    Ok(())
}

fn is_retired(tx: &Tx<'_>, name: &UserName) -> Result<bool, StoreError> {
    exists(tx, "SELECT 1 FROM retired_names WHERE name_hash = ?1", &name_hash(name))
}

fn name_hash(name: &UserName) -> [u8; 32] {
    ContentHash::of(format!("quicproquo retired name 1\0{name}").as_bytes()).0
}

pub fn changes(connection: &Connection, after: u64) -> Result<(u64, Vec<IdentityId>), StoreError> {
    let mut select =
        connection.prepare_cached("SELECT seq, identity FROM account_changes WHERE seq > ?1 ORDER BY seq")?;
    let rows = select.query_map([Number(after)], |row| Ok((row::number(row, 0)?, IdentityId(row::id(row, 1)?))))?;
    let (mut newest, mut identities) = (after, Vec::new());
    for row in rows {
        let (seq, identity) = row?;
        newest = seq;
        identities.push(identity);
    }
    Ok((newest, identities))
}

fn record_change(tx: &Tx<'_>, name: &UserName) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO account_changes (identity) SELECT identity FROM accounts WHERE name = ?1")?
        .execute([name.as_str()])?;
    Ok(())
}

fn exists(tx: &Tx<'_>, sql: &str, value: &dyn ToSql) -> Result<bool, StoreError> {
    Ok(tx.prepare_cached(sql)?.exists([value])?)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        name: name(row, 0)?,
        identity: IdentityId(row::id(row, 1)?),
        opaque_record: row.get(2)?,
        manifest: row.get(3)?,
        manifest_version: row::number(row, 4)?,
        disabled: row.get(5)?,
    })
}

fn name(row: &Row<'_>, index: usize) -> rusqlite::Result<UserName> {
    row.get::<_, String>(index)?
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}

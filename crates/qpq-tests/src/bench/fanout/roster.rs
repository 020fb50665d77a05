//! Who is in the groups, written where the server keeps it.

use std::path::Path;

use anyhow::Result;
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::ids::GroupId;

use crate::bench::post::notepad;
use crate::bench::probe::database;
use crate::bench::session::register;

/// Accounts, and a group for each size that only the first of them is in.
pub async fn prepared(address: &ServerAddress, sizes: &[usize]) -> Result<(Vec<AccountRow>, Vec<(usize, GroupId)>)> {
    let poster = register(address, "poster").await?;
    let mut groups = Vec::new();
    for size in sizes {
        groups.push((*size, notepad(&poster).await?));
    }
    let mut accounts = vec![poster.account.clone()];
    for number in 1..sizes.iter().copied().max().unwrap_or_default() {
        accounts.push(register(address, &format!("device-{number}")).await?.account);
    }
    Ok((accounts, groups))
}

/// Makes the first accounts members, as many as the size of a group.
pub fn enrol(data: &Path, accounts: &[AccountRow], groups: &[(usize, GroupId)]) -> Result<()> {
    let mut connection = database(data)?;
    let transaction = connection.transaction()?;
    let mut insert = transaction.prepare(
        "INSERT OR IGNORE INTO members (group_no, device, joined_seq, identity, cursor)
         SELECT id, ?2, 0, ?3, 0 FROM groups WHERE group_id = ?1",
    )?;
    for (size, group) in groups {
        for account in &accounts[..*size] {
            insert.execute((group.0, account.device.0, account.identity.0))?;
        }
    }
    drop(insert);
    Ok(transaction.commit()?)
}

/// Messages in the largest group, and the bytes of their payloads.
pub fn stored(data: &Path) -> Result<(f64, f64)> {
    let sql = "SELECT count(*), sum(length(payload)) FROM log WHERE group_no =
               (SELECT group_no FROM members GROUP BY group_no ORDER BY count(*) DESC LIMIT 1)";
    let (messages, bytes): (f64, f64) =
        database(data)?.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)? as f64, row.get::<_, i64>(1)? as f64)))?;
    Ok((messages, bytes))
}

//! Forgetting: what everybody has, what is too old, what has expired. Bounded per call, so that nobody waits long for
//! the writer.

use std::time::Duration;

use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::time::Timestamp;
use rusqlite::{OptionalExtension as _, ToSql, params};

use crate::store::StoreError;
use crate::store::log::Swept;

use super::row::{self, Number};
use super::tx::Tx;

pub fn sweep(tx: &Tx<'_>, from: i64, now: Timestamp, retention: Duration) -> Result<Swept, StoreError> {
    let cutoff = Timestamp(now.0.saturating_sub(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX)));
    let mut erased = 0;
    if from == 0 {
        erased += expired(tx, now)?;
        small_tables(tx, now, cutoff)?;
    }
    let mut select =
        tx.prepare_cached("SELECT id, group_id, head_seq, swept_seq FROM groups WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let rows = select.query_map(params![from, GROUPS_PER_CALL], |row| {
        Ok(Group {
            no: row.get(0)?,
            id: GroupId(row::id(row, 1)?),
            head: row::number(row, 2)?,
            swept: row::number(row, 3)?,
        })
    })?;
    let groups = rows.collect::<Result<Vec<_>, _>>()?;
    for group in &groups {
        erased += group.sweep(tx, cutoff)?;
    }
    let next = if groups.len() as i64 == GROUPS_PER_CALL { groups.last().map(|group| group.no) } else { None };
    Ok(Swept { erased, next })
}

/// Entries whose own time is up.
fn expired(tx: &Tx<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT log.group_no, group_id, seq FROM log JOIN groups ON groups.id = log.group_no
         WHERE expires IS NOT NULL AND expires <= ?1 AND payload IS NOT NULL LIMIT ?2",
    )?;
    let rows = select.query_map(params![Number(now.0), EXPIRED_PER_CALL], |row| {
        Ok((row.get::<_, i64>(0)?, GroupId(row::id(row, 1)?), Seq(row::number(row, 2)?)))
    })?;
    let found = rows.collect::<Result<Vec<_>, _>>()?;
    for (group_no, group, seq) in &found {
        tx.prepare_cached("UPDATE log SET payload = NULL WHERE id = ?1")?.execute([row::entry_id(*group_no, *seq)])?;
        tx.prepare_cached("UPDATE groups SET kept = kept - 1 WHERE id = ?1")?.execute([group_no])?;
        tx.erased(*group, *seq);
    }
    Ok(found.len() as u64)
}

fn small_tables(tx: &Tx<'_>, now: Timestamp, cutoff: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM inbox WHERE at < ?1")?.execute([Number(cutoff.0)])?;
    tx.prepare_cached("DELETE FROM key_packages WHERE expires <= ?1")?.execute([Number(now.0)])?;
    tx.prepare_cached("DELETE FROM invites WHERE expires <= ?1 OR used < ?2")?
        .execute([Number(now.0), Number(cutoff.0)])?;
    tx.prepare_cached("DELETE FROM account_changes WHERE seq < (SELECT max(seq) FROM account_changes) - ?1")?
        .execute([CHANGES_KEPT])?;
    Ok(())
}

struct Group {
    no: i64,
    id: GroupId,
    head: u64,
    swept: u64,
}

impl Group {
    fn sweep(&self, tx: &Tx<'_>, cutoff: Timestamp) -> Result<u64, StoreError> {
        let old = self.older_than(tx, cutoff)?;
        let limit = self.acknowledged(tx)?.max(old).min(self.head);
        let needed = self.oldest_needed_snapshot(tx, cutoff)?;
        let mut erased = 0;
        if limit > self.swept {
            erased += self.erase(
                tx,
                "UPDATE log SET payload = NULL
                 WHERE id > ?1 AND id <= ?2 AND payload IS NOT NULL AND (kind <> 1 OR epoch < ?3)",
                params![self.entry(self.swept), self.entry(limit), Number(needed)],
            )?;
            tx.prepare_cached("UPDATE groups SET swept_seq = ?2 WHERE id = ?1")?
                .execute(params![self.no, Number(limit)])?;
        }
        // Commits that were spared before because a snapshot needed them.
        erased += self.erase(
            tx,
            "UPDATE log SET payload = NULL
             WHERE group_no = ?1 AND seq <= ?2 AND payload IS NOT NULL AND kind = 1 AND epoch < ?3",
            params![self.no, Number(self.swept), Number(needed)],
        )?;
        tx.prepare_cached("DELETE FROM snapshots WHERE group_no = ?1 AND epoch < ?2")?
            .execute(params![self.no, Number(needed)])?;
        if old > 0 {
            // From here on repeating the request is no longer recognised.
            let forgotten = tx
                .prepare_cached("DELETE FROM log WHERE id > ?1 AND id <= ?2 AND payload IS NULL")?
                .execute([self.entry(0), self.entry(old.min(limit))])?;
            if forgotten > 0 {
                tx.repeats().forget(self.no);
            }
            tx.prepare_cached("DELETE FROM members WHERE group_no = ?1 AND left_seq <= ?2 AND left_seq < ?3")?
                .execute(params![self.no, Number(old), Number(self.head)])?;
        }
        Ok(erased)
    }

    /// The newest position such that everything up to it is older than `cutoff`.
    fn older_than(&self, tx: &Tx<'_>, cutoff: Timestamp) -> Result<u64, StoreError> {
        let all = params![self.entry(0), self.entry(self.head), Number(cutoff.0)];
        let mut first = tx.prepare_cached("SELECT at < ?3 FROM log WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT 1")?;
        if !first.query_row(all, |row| row.get(0)).optional()?.unwrap_or(false) {
            return Ok(0);
        }
        let mut young =
            tx.prepare_cached("SELECT seq FROM log WHERE id > ?1 AND id <= ?2 AND at >= ?3 ORDER BY id LIMIT 1")?;
        let young = young.query_row(all, |row| row::number(row, 0)).optional()?;
        Ok(young.map_or(self.head, |seq| seq.saturating_sub(1)))
    }

    /// The newest position that everybody who may read it has acknowledged.
    fn acknowledged(&self, tx: &Tx<'_>) -> Result<u64, StoreError> {
        let slowest = if is_on(Mutation::SweepTooEarly) { "max" } else { "min" };
        let mut select = tx.prepare_cached(&format!(
            "SELECT {slowest}(cursor) FROM members WHERE group_no = ?1 AND (left_seq IS NULL OR cursor < left_seq)"
        ))?;
        let cursor = select.query_row([self.no], |row| row.get::<_, Option<Number>>(0))?;
        Ok(cursor.map_or(self.head, |number| number.0))
    }

    /// Late joiners ask for the tree of any epoch within the retention time; it is rebuilt from this snapshot on.
    fn oldest_needed_snapshot(&self, tx: &Tx<'_>, cutoff: Timestamp) -> Result<u64, StoreError> {
        let mut select = tx.prepare_cached(
            "SELECT coalesce(
                 (SELECT max(epoch) FROM snapshots WHERE group_no = ?1 AND created <= ?2),
                 (SELECT min(epoch) FROM snapshots WHERE group_no = ?1), 0)",
        )?;
        Ok(select.query_row(params![self.no, Number(cutoff.0)], |row| row::number(row, 0))?)
    }

    fn entry(&self, seq: u64) -> i64 {
        row::entry_id(self.no, Seq(seq))
    }

    fn erase(&self, tx: &Tx<'_>, sql: &str, params: &[&dyn ToSql]) -> Result<u64, StoreError> {
        let erased = tx.prepare_cached(sql)?.execute(params)? as u64;
        if erased > 0 {
            tracing::debug!(group = %self.id.short(), erased, "swept");
            tx.prepare_cached("UPDATE groups SET kept = kept - ?2 WHERE id = ?1")?
                .execute(params![self.no, Number(erased)])?;
        }
        Ok(erased)
    }
}

/// About ten milliseconds of the writer's time.
const GROUPS_PER_CALL: i64 = 200;

/// The rest waits for the next minute.
const EXPIRED_PER_CALL: i64 = 5000;

/// A running server reads them every second.
const CHANGES_KEPT: i64 = 10_000;

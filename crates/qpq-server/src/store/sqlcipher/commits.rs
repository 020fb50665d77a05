//! Ending an epoch: the log, the inboxes, the roster and the epoch change together.

use qpq_proto::ids::{Epoch, GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::EntryKind;
use qpq_proto::time::Timestamp;
use rusqlite::{Connection, params};

use crate::store::StoreError;
use crate::store::group::{CommitResult, NewCommit};

use super::logs::{self, Appended};
use super::row::Number;
use super::tx::Tx;
use super::{Quotas, groups, inbox, members};

pub fn commit(tx: &Tx<'_>, commit: NewCommit, quotas: &Quotas, now: Timestamp) -> Result<CommitResult, StoreError> {
    let Some(group) = groups::find(tx, commit.group)? else {
        return Ok(CommitResult::NotMember);
    };
    if let Some(seq) = logs::known(tx, group.id, commit.hash)? {
        return Ok(CommitResult::Accepted(seq));
    }
    let may_commit = if commit.is_external {
        members::is_member_identity(tx, group.id, commit.committer.identity)?
    } else {
        members::is_member(tx, group.id, commit.committer.device)?
    };
    if !may_commit {
        return Ok(CommitResult::NotMember);
    }
    if group.head.epoch != commit.epoch {
        return Ok(CommitResult::Superseded(group.head));
    }
    if let Some(limit) = missing_room(tx, &commit, quotas)? {
        return Ok(CommitResult::Quota(limit));
    }

    let entry = Appended {
        kind: EntryKind::Commit,
        epoch: commit.epoch,
        hash: commit.hash,
        payload: commit.payload,
        expires: None,
    };
    let has_roster = !commit.joins.is_empty() || !commit.removes.is_empty();
    let seq = logs::append(tx, &group, commit.group, entry, now, has_roster)?;
    if let Some(until) = commit.replayable_until {
        tx.prepare_cached("UPDATE groups SET replay_until = min(coalesce(replay_until, ?2), ?2) WHERE id = ?1")?
            .execute(params![group.id, Number(until.0)])?;
    }
    for device in commit.removes.into_iter().filter(|_| !is_on(Mutation::KeepRemoved)) {
        let left = if is_on(Mutation::LeftTooEarly) { Seq(seq.0 - 1) } else { seq };
        members::leave(tx, group.id, device, left)?;
        members::remove_leaving(tx, group.id, device)?;
    }
    // Whoever comes from outside needs to see its own commit in the log.
    let joined = if commit.is_external { group.head.seq } else { seq };
    for member in &commit.joins {
        members::join(tx, group.id, member, joined)?;
    }
    groups::set_group_info(tx, group.id, &commit.group_info, commit.context)?;
    let swallowed = usize::from(is_on(Mutation::SwallowWelcome) && commit.welcomes.len() > 1);
    for welcome in commit.welcomes.iter().skip(swallowed) {
        inbox::append(tx, welcome.device, EntryKind::Welcome, &welcome.envelope, now)?;
    }
    Ok(CommitResult::Accepted(seq))
}

/// The name of a limit that the commit would break. The log's own limit does not stop commits: a group that cannot
/// change any more could not be healed either.
pub fn missing_room(
    connection: &Connection,
    commit: &NewCommit,
    quotas: &Quotas,
) -> Result<Option<&'static str>, StoreError> {
    for welcome in &commit.welcomes {
        if !inbox::has_room(connection, welcome.device, quotas.inbox_entries_per_device)? {
            return Ok(Some("inbox_entries_per_device"));
        }
    }
    Ok(None)
}

pub fn read(connection: &Connection, group: GroupId, from: Epoch, to: Epoch) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT payload FROM log
         WHERE group_no = (SELECT id FROM groups WHERE group_id = ?1) AND kind = 1 AND payload IS NOT NULL
             AND epoch >= ?2 AND epoch < ?3
         ORDER BY epoch",
    )?;
    let rows = select.query_map(params![group.0, Number(from.0), Number(to.0)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

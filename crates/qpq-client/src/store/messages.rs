//! The message table.

use qpq_core::store::rows::{MessageRow, conversation_key};
use qpq_core::view::{ConversationId, MessageStatus};
use qpq_proto::ids::{DeviceId, IdentityId, MessageId, Seq};
use qpq_proto::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, named_params};

pub fn insert(connection: &Connection, message: &MessageRow) -> Result<bool> {
    let (status, reason) = status_columns(&message.status);
    let changed = connection
        .prepare_cached(
            "INSERT INTO messages (conversation, number, id, seq, sender, device, sent_at, received_at, status,
                                   reason, held, text, content, expires_at)
             VALUES (:conversation, :number, :id, :seq, :sender, :device, :sent_at, :received_at, :status,
                     :reason, :held, :text, :content, :expires_at)
             ON CONFLICT (conversation, sender, id) DO NOTHING",
        )?
        .execute(named_params! {
            ":conversation": conversation_key(message.conversation),
            ":number": message.number as i64,
            ":id": message.id.0,
            ":seq": message.seq.map(|seq| seq.0 as i64),
            ":sender": message.sender.0,
            ":device": message.device.0,
            ":sent_at": message.sent_at.0 as i64,
            ":received_at": message.received_at.0 as i64,
            ":status": status,
            ":reason": reason,
            ":held": message.held,
            ":text": message.text,
            ":content": message.content,
            ":expires_at": message.expires_at.map(column),
        })?;
    Ok(changed == 1)
}

pub fn update(connection: &Connection, message: &MessageRow) -> Result<()> {
    let (status, reason) = status_columns(&message.status);
    connection
        .prepare_cached(
            "UPDATE messages SET seq = :seq, status = :status, reason = :reason, held = :held, text = :text,
                                 content = :content, received_at = :received_at, expires_at = :expires_at
             WHERE conversation = :conversation AND sender = :sender AND id = :id",
        )?
        .execute(named_params! {
            ":seq": message.seq.map(|seq| seq.0 as i64),
            ":status": status,
            ":reason": reason,
            ":held": message.held,
            ":text": message.text,
            ":content": message.content,
            ":received_at": message.received_at.0 as i64,
            ":expires_at": message.expires_at.map(column),
            ":conversation": conversation_key(message.conversation),
            ":sender": message.sender.0,
            ":id": message.id.0,
        })
        .map(|_| ())
}

pub fn one(
    connection: &Connection,
    conversation: ConversationId,
    sender: IdentityId,
    id: MessageId,
) -> Result<Option<MessageRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE conversation = ?1 AND sender = ?2 AND id = ?3"))?
        .query_row((conversation_key(conversation), sender.0, id.0), read)
        .optional()
}

pub fn list(
    connection: &Connection,
    conversation: ConversationId,
    before: Option<u64>,
    limit: usize,
    search: Option<&str>,
) -> Result<Vec<MessageRow>> {
    let (long, short): (Vec<&str>, Vec<&str>) =
        search.unwrap_or_default().split_whitespace().partition(|word| word.chars().count() >= TRIGRAM);
    if !long.is_empty() {
        index(connection, usize::MAX)?;
    }
    let all = long.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect::<Vec<_>>().join(" ");
    let short: Vec<String> = short.into_iter().map(like_pattern).collect();
    let indexed = if all.is_empty() { "" } else { " AND place IN (SELECT rowid FROM words WHERE words MATCH ?)" };
    let contains = indexed.to_owned() + &" AND text LIKE ? ESCAPE '\\'".repeat(short.len());
    let sql = format!(
        "SELECT {COLUMNS} FROM messages
         WHERE conversation = ? AND held = 0
           AND (? IS NULL OR (ifnull(seq, 9223372036854775807), number) <
                (SELECT ifnull(seq, 9223372036854775807), number FROM messages WHERE conversation = ? AND number = ?))
           {contains}
         ORDER BY ifnull(seq, 9223372036854775807) DESC, number DESC LIMIT ?"
    );
    let key = conversation_key(conversation);
    let before = before.map(|number| number as i64);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut values: Vec<&dyn rusqlite::ToSql> = vec![&key, &before, &key, &before];
    if !all.is_empty() {
        values.push(&all);
    }
    values.extend(short.iter().map(|word| word as &dyn rusqlite::ToSql));
    values.push(&limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query_map(&values[..], read)?.collect::<Result<Vec<_>>>()?;
    rows.reverse();
    Ok(rows)
}

/// Puts the words of at most so many messages into the index that searches use; false when all are in it.
pub fn index(connection: &Connection, most: usize) -> Result<bool> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(place) FROM (SELECT place FROM unindexed ORDER BY place LIMIT ?1)")?
        .query_row([most], |row| row.get(0))?;
    let Some(last) = last else { return Ok(false) };
    connection
        .prepare_cached(
            "INSERT INTO words (rowid, text)
             SELECT place, text FROM messages WHERE place IN (SELECT place FROM unindexed WHERE place <= ?1)",
        )?
        .execute([last])?;
    connection.prepare_cached("DELETE FROM unindexed WHERE place <= ?1")?.execute([last])?;
    Ok(true)
}

pub fn held(connection: &Connection, sender: IdentityId) -> Result<Vec<MessageRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE sender = ?1 AND held = 1 ORDER BY seq"))?
        .query_map([sender.0], read)?
        .collect()
}

pub fn count_received(connection: &Connection, conversation: ConversationId, after: u64) -> Result<u64> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM messages WHERE conversation = ?1 AND number > ?2 AND held = 0 AND status = 3",
        )?
        .query_row((conversation_key(conversation), after as i64), |row| row.get::<_, i64>(0))
        .map(|count| count as u64)
}

fn column(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

pub fn numbered(connection: &Connection, conversation: ConversationId, number: u64) -> Result<Option<MessageRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM messages WHERE conversation = ?1 AND number = ?2 AND held = 0"
        ))?
        .query_row((conversation_key(conversation), number as i64), read)
        .optional()
}

pub fn called(connection: &Connection, conversation: ConversationId, id: MessageId) -> Result<Vec<MessageRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE conversation = ?1 AND id = ?2 ORDER BY place"))?
        .query_map((conversation_key(conversation), id.0), read)?
        .collect()
}

pub fn expired(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<MessageRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2"))?
        .query_map((column(now), limit as i64), read)?
        .collect()
}

pub fn delete(connection: &Connection, message: &MessageRow) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM messages WHERE conversation = ?1 AND sender = ?2 AND id = ?3")?
        .execute((conversation_key(message.conversation), message.sender.0, message.id.0))
        .map(|_| ())
}

/// The index of words knows runs of this many letters; shorter words are looked for in the texts.
const TRIGRAM: usize = 3;

const COLUMNS: &str = "conversation, number, id, seq, sender, device, sent_at, received_at, status, reason, held, \
                       text, content, expires_at";

fn read(row: &Row<'_>) -> Result<MessageRow> {
    let reason: Option<String> = row.get(9)?;
    Ok(MessageRow {
        conversation: conversation_of(&row.get::<_, Vec<u8>>(0)?).ok_or_else(|| damaged(0))?,
        number: row.get::<_, i64>(1)? as u64,
        id: MessageId(row.get(2)?),
        seq: row.get::<_, Option<i64>>(3)?.map(|seq| Seq(seq as u64)),
        sender: IdentityId(row.get(4)?),
        device: DeviceId(row.get(5)?),
        sent_at: Timestamp(row.get::<_, i64>(6)? as u64),
        received_at: Timestamp(row.get::<_, i64>(7)? as u64),
        status: match row.get::<_, i64>(8)? {
            0 => MessageStatus::Waiting,
            1 => MessageStatus::Sent,
            2 => MessageStatus::Failed(reason.unwrap_or_default()),
            3 => MessageStatus::Received,
            _ => return Err(damaged(8)),
        },
        held: row.get(10)?,
        text: row.get(11)?,
        content: row.get(12)?,
        expires_at: row.get::<_, Option<i64>>(13)?.map(|at| Timestamp(at as u64)),
    })
}

fn status_columns(status: &MessageStatus) -> (i64, Option<&str>) {
    match status {
        MessageStatus::Waiting => (0, None),
        MessageStatus::Sent => (1, None),
        MessageStatus::Failed(reason) => (2, Some(reason)),
        MessageStatus::Received => (3, None),
    }
}

fn conversation_of(key: &[u8]) -> Option<ConversationId> {
    match key.split_first()? {
        (1, group) => group.try_into().ok().map(ConversationId::Group),
        (2, identity) => identity.try_into().ok().map(ConversationId::Direct),
        _ => None,
    }
}

fn like_pattern(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

fn damaged(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, "a value that was never written".into())
}

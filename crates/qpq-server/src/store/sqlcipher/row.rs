//! Domain types in columns.

use qpq_proto::ids::Seq;
use qpq_proto::stream::EntryKind;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

/// A fixed-size id in a BLOB column.
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<const N: usize> FromSql for Bytes<N> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let blob = value.as_blob()?;
        blob.try_into().map(Self).map_err(|_| FromSqlError::InvalidBlobSize { expected_size: N, blob_size: blob.len() })
    }
}

/// A number that never reaches 2^63 in an INTEGER column.
pub struct Number(pub u64);

impl FromSql for Number {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

impl ToSql for Number {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(integer(self.0)))
    }
}

/// The id of an entry: those of one group follow each other. Neither part ever comes near its 31 and 32 bits.
pub fn entry_id(group_no: i64, seq: Seq) -> i64 {
    group_no << 32 | integer(seq.0.min(u64::from(u32::MAX)))
}

/// Times beyond the column's range are as good as never.
pub fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The id in column `index`.
pub fn id<const N: usize>(row: &Row<'_>, index: usize) -> rusqlite::Result<[u8; N]> {
    row.get::<_, Bytes<N>>(index).map(|bytes| bytes.0)
}

/// The number in column `index`.
pub fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, Number>(index).map(|number| number.0)
}

/// How kinds are stored; released numbers never change.
pub fn kind_number(kind: EntryKind) -> i64 {
    match kind {
        EntryKind::Message => 0,
        EntryKind::Commit => 1,
        EntryKind::Proposal => 2,
        EntryKind::Welcome => 3,
    }
}

/// The kind in column `index`.
pub fn kind(row: &Row<'_>, index: usize) -> rusqlite::Result<EntryKind> {
    match row.get::<_, i64>(index)? {
        0 => Ok(EntryKind::Message),
        1 => Ok(EntryKind::Commit),
        2 => Ok(EntryKind::Proposal),
        3 => Ok(EntryKind::Welcome),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(index, other)),
    }
}

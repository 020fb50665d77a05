//! Everything that is stored about somebody, for people to read. Whole rows of whole tables, so that nothing is left out.

use std::path::Path;

use qpq_io::db::{self, DbError, DbKey, OpenOptions};
use qpq_proto::account::UserName;
use qpq_proto::ids::GroupId;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};

use crate::store::text;

use super::row;

/// Whom or what to look at.
pub enum Subject {
    /// How much there is, without anybody's rows.
    Everything,
    User(UserName),
    Group(GroupId),
}

/// Reads the database at `path`, which a server may be using: lines of text. None: there is no such user or group.
///
/// # Errors
/// Those of [`db::open`].
pub fn audit(path: &Path, key: &DbKey, subject: &Subject) -> Result<Option<String>, DbError> {
    let connection = db::open(path, key, &OpenOptions { cache_kib: 1024, read_only: true, ..OpenOptions::default() })?;
    // One state of everything, whatever is written in the meantime.
    connection.execute_batch("BEGIN")?;
    match subject {
        Subject::Everything => TABLES.iter().map(|table| count(&connection, table)).collect::<Result<_, _>>().map(Some),
        Subject::User(name) => tables(&connection, &name.as_str(), |table| table.of_user),
        Subject::Group(group) => tables(&connection, &group.0, |table| table.of_group),
    }
}

fn count(connection: &Connection, table: &Table) -> Result<String, DbError> {
    let sql = format!("SELECT count(*) FROM {}", table.name);
    let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(format!("{:<16} {count:>10}  {}\n", table.name, table.holds))
}

/// The rows of each table that concern the subject; none in the first one means that it does not exist.
fn tables(
    connection: &Connection,
    subject: &dyn ToSql,
    condition: impl Fn(&Table) -> Option<&'static str>,
) -> Result<Option<String>, DbError> {
    let mut found = String::new();
    for table in TABLES {
        let Some(condition) = condition(table) else { continue };
        let sql = format!("SELECT * FROM {} WHERE {condition}", table.name);
        let mut select = connection.prepare(&sql)?;
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let lines = select.query_map([subject], |row| line(row, &columns))?.collect::<Result<Vec<_>, _>>()?;
        if !lines.is_empty() {
            found += &format!("{}: {}\n{}\n", table.name, table.holds, lines.concat());
        } else if found.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn line(row: &Row<'_>, columns: &[String]) -> rusqlite::Result<String> {
    let mut cells = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let shown = match row.get_ref(index)? {
            ValueRef::Null => continue,
            ValueRef::Integer(number) if TIMES.contains(&&**column) => text::utc(number),
            ValueRef::Integer(_) if column == "kind" => format!("{:?}", row::kind(row, index)?).to_lowercase(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) => text::printable(&String::from_utf8_lossy(text)),
            ValueRef::Blob(id) if IDS.contains(&&**column) => text::hex(id),
            ValueRef::Blob(opaque) => format!("({} bytes)", opaque.len()),
        };
        cells.push(format!("{column} {shown}"));
    }
    Ok(format!("  {}\n", cells.join(", ")))
}

/// A table, and which of its rows concern whom; `?1` is the name of a user or the id of a group.
struct Table {
    name: &'static str,
    holds: &'static str,
    of_user: Option<&'static str>,
    of_group: Option<&'static str>,
}

macro_rules! devices {
    () => {
        "IN (SELECT device FROM devices JOIN accounts ON accounts.id = account WHERE name = ?1)"
    };
}

macro_rules! group {
    () => {
        Some("group_no = (SELECT id FROM groups WHERE group_id = ?1)")
    };
}

const IDENTITY: &str = "identity = (SELECT identity FROM accounts WHERE name = ?1)";

/// All there are. What is about nobody in particular, or does not say about whom, has no condition.
const TABLES: &[Table] = &[
    Table { name: "accounts", holds: "people", of_user: Some("name = ?1"), of_group: None },
    Table {
        name: "devices",
        holds: "their devices",
        of_user: Some("account = (SELECT id FROM accounts WHERE name = ?1)"),
        of_group: None,
    },
    Table {
        name: "recoveries",
        holds: "who has recovery words: a public key, and what is sealed under them",
        of_user: Some("account = (SELECT id FROM accounts WHERE name = ?1)"),
        of_group: None,
    },
    Table { name: "retired_names", holds: "names of deleted accounts, as hashes", of_user: None, of_group: None },
    Table {
        name: "key_packages",
        holds: "with which devices are added to groups; without content: used",
        of_user: Some(concat!("device ", devices!())),
        of_group: None,
    },
    Table {
        name: "inboxes",
        holds: "how far devices have read what is for them alone",
        of_user: Some(concat!("device ", devices!())),
        of_group: None,
    },
    Table {
        name: "inbox",
        holds: "invitations to groups that wait for a device, sealed",
        of_user: Some(concat!("device ", devices!())),
        of_group: None,
    },
    Table { name: "account_changes", holds: "disabled or deleted lately", of_user: Some(IDENTITY), of_group: None },
    Table {
        name: "groups",
        holds: "groups and conversations of two",
        of_user: Some(
            "id IN (SELECT group_no FROM members WHERE identity = (SELECT identity FROM accounts WHERE name = ?1))",
        ),
        of_group: Some("group_id = ?1"),
    },
    Table {
        name: "members",
        holds: "stays of devices in groups, and how far they have read",
        of_user: Some(IDENTITY),
        of_group: group!(),
    },
    Table {
        name: "leaving",
        holds: "devices that have left and are still to be removed",
        of_user: Some(concat!("device ", devices!())),
        of_group: group!(),
    },
    Table { name: "group_infos", holds: "what a lost device comes back with", of_user: None, of_group: group!() },
    Table { name: "snapshots", holds: "public states of groups", of_user: None, of_group: group!() },
    Table {
        name: "log",
        holds: "messages and changes, encrypted; without payload: erased",
        of_user: None,
        of_group: group!(),
    },
    Table {
        name: "blobs",
        holds: "files, encrypted, by the hash of the id that fetches them",
        of_user: Some("owner = (SELECT identity FROM accounts WHERE name = ?1)"),
        of_group: None,
    },
    Table {
        name: "blob_parts",
        holds: "what is in the files",
        of_user: Some(
            "id >> 32 IN (SELECT id FROM blobs WHERE owner = (SELECT identity FROM accounts WHERE name = ?1))",
        ),
        of_group: None,
    },
    Table { name: "invites", holds: "registration codes, as hashes", of_user: None, of_group: None },
    Table { name: "settings", holds: "what the server knows about itself", of_user: None, of_group: None },
];

/// Columns with milliseconds since 1970.
const TIMES: &[&str] = &["created", "at", "expires", "used", "replay_until", "keep_until"];

/// Columns with ids and hashes. Every other BLOB is opaque, or a secret.
const IDS: &[&str] =
    &["identity", "device", "group_id", "creator", "request", "direct_pair", "reference", "hash", "owner", "name"];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::upgrade_tests::filled;
    use super::*;

    fn lines(path: &Path, subject: &Subject) -> Option<String> {
        audit(path, &DbKey::from_bytes([7; 32]), subject).unwrap()
    }

    #[test]
    fn every_table_is_looked_at() {
        let (_dir, path) = filled();
        let connection = db::open(&path, &DbKey::from_bytes([7; 32]), &OpenOptions::default()).unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let tables: BTreeSet<String> =
            connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(tables, TABLES.iter().map(|table| table.name.to_owned()).collect());
    }

    #[test]
    fn rows_are_readable_and_secrets_are_not() {
        let (_dir, path) = filled();
        let text = lines(&path, &Subject::User("alice".parse().unwrap())).unwrap();
        for part in [
            "name alice",
            "identity 0101010101",
            "created 2023-11-14 22:13:20",
            "opaque_record (192 bytes)",
            "key_packages: ",
            "(100 bytes)",
            "members: ",
            "groups: ",
            "group_id 0909",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(!text.contains("bob"), "{text}");
        let text = lines(&path, &Subject::Group(GroupId([9; 16]))).unwrap();
        assert!(text.contains("kind message") && text.contains("payload (5 bytes)"), "{text}");
        let text = lines(&path, &Subject::Everything).unwrap();
        assert!(text.lines().any(|line| line.starts_with("accounts") && line.contains(" 2 ")), "{text}");
        assert_eq!(lines(&path, &Subject::User("nobody".parse().unwrap())), None);
        assert_eq!(lines(&path, &Subject::Group(GroupId([8; 16]))), None);
    }
}

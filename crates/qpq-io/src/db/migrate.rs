//! Bringing a database to the newest version.

use rusqlite::{Connection, TransactionBehavior};

use super::DbError;

/// One step from the version before it. Released ones are never edited.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version that the database has afterwards: from 1, growing.
    pub version: u32,
    /// What it does, for the log.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// Applies the migrations that the database lacks, each in a transaction of its own that also records its version
/// (`user_version`). After a crash, calling it again goes on where it stopped. Safe to call from two processes at once.
///
/// # Errors
/// [`DbError::Newer`] when the database is of a later version than the last migration: nothing is changed then.
/// When a migration fails the database stays at the version before it.
pub fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), DbError> {
    debug_assert!(migrations.is_sorted_by(|a, b| a.version < b.version));
    let known = migrations.last().map_or(0, |m| m.version);
    let found = version(connection)?;
    if found > known {
        return Err(DbError::Newer { found, known });
    }
    for migration in migrations.iter().filter(|m| m.version > found) {
        apply(connection, migration)?;
    }
    Ok(())
}

fn apply(connection: &mut Connection, migration: &Migration) -> Result<(), DbError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have applied it while we waited for the lock.
    if version(&transaction)? >= migration.version {
        return Ok(());
    }
    transaction.execute_batch(migration.sql)?;
    transaction.pragma_update(None, "user_version", migration.version)?;
    transaction.commit()?;
    tracing::info!(version = migration.version, name = migration.name, "database migrated");
    Ok(())
}

fn version(connection: &Connection) -> Result<u32, DbError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FIRST: Migration =
        Migration { version: 1, name: "first", sql: "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);" };
    const SECOND: Migration =
        Migration { version: 2, name: "second", sql: "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1;" };
    const BROKEN: Migration =
        Migration { version: 2, name: "broken", sql: "INSERT INTO a VALUES (2); INSERT INTO missing VALUES (1);" };

    fn sum(db: &Connection, column: &str) -> i64 {
        db.query_row(&format!("SELECT sum({column}) FROM a"), [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn applies_each_once() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &[]).unwrap();
        migrate(&mut db, &[FIRST]).unwrap();
        migrate(&mut db, &[FIRST, SECOND]).unwrap();
        migrate(&mut db, &[FIRST, SECOND]).unwrap();
        assert_eq!((sum(&db, "x"), sum(&db, "y")), (1, 2));
        assert_eq!(version(&db).unwrap(), 2);
    }

    #[test]
    fn a_failing_one_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut db, &[FIRST, BROKEN]).is_err());
        assert_eq!((version(&db).unwrap(), sum(&db, "x")), (1, 1));
        migrate(&mut db, &[FIRST, SECOND]).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &[FIRST, SECOND]).unwrap();
        let outcome = migrate(&mut db, &[FIRST]);
        assert!(matches!(outcome, Err(DbError::Newer { found: 2, known: 1 })), "{outcome:?}");
    }
}

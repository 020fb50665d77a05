//! What the server stores, and what a terminal gets to see.

use std::path::Path;

use anyhow::Result;
use qpq_io::db::{DbKey, OpenOptions, open};
use qpq_tests::world::{Person, Server};
use tempfile::tempdir;

#[test]
fn the_server_stores_no_plaintext() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bartholomew", &server.address)?;
    alice.run(&["group", "create", "Orchideenfreunde", "@bartholomew"])?.success()?;
    alice.run(&["send", "#Orchideenfreunde", "the tulips bloom at midnight"])?.success()?;
    alice.run(&["group", "rename", "#Orchideenfreunde", "Kakteenfreunde"])?.success()?;
    bob.run(&["send", "@alice", "the roses bloom at noon"])?.success()?;
    assert_eq!(bob.texts(1)?, ["the tulips bloom at midnight"]);
    let file = folder.path().join("Steuerbescheid.pdf");
    std::fs::write(&file, format!("%PDF-1.7\n{}", "dahlia ".repeat(3_000)))?;
    let size = std::fs::metadata(&file)?.len();
    alice.run(&["send-file", "@bartholomew", file.to_str().unwrap()])?.success()?;
    // Long enough not to be in some ciphertext by chance.
    let secrets = [
        "Orchideenfreunde",
        "Kakteenfreunde",
        "tulips",
        "roses",
        "midnight",
        "Steuerbescheid",
        "application/pdf",
        "%PDF-1.7",
        "dahlia",
    ];

    // Every value of every table of the running server's database, opened with its key.
    let key = DbKey::load_or_create(&data.path().join("db.key"), false)?;
    let database = open(
        &data.path().join("qpq.db"),
        &key,
        &OpenOptions { cache_kib: 1024, read_only: true, ..OpenOptions::default() },
    )?;
    let mut tables = Vec::new();
    let mut statement = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tables.push(row.get::<_, String>(0)?);
    }
    assert!(tables.iter().any(|table| table == "blob_parts"));
    let (mut values, mut numbers) = (0, 0);
    for table in &tables {
        let mut statement = database.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                let bytes = match row.get_ref(column)? {
                    rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => bytes,
                    rusqlite::types::ValueRef::Integer(number) => {
                        numbers += 1;
                        assert_ne!(number, size as i64, "the size of the file in {table}");
                        continue;
                    }
                    _ => continue,
                };
                values += 1;
                for secret in secrets {
                    assert!(!contains(bytes, secret.as_bytes()), "{secret} in {table}");
                }
            }
        }
    }
    assert!(values > 50 && numbers > 50, "only {values} values and {numbers} numbers were looked at");

    // And every byte of every file, logs included.
    drop(server);
    let files = all_files(data.path())?;
    assert!(files.len() >= 3);
    for file in files {
        let bytes = std::fs::read(&file)?;
        for secret in secrets {
            assert!(!contains(&bytes, secret.as_bytes()), "{secret} in {}", file.display());
        }
        for name in ["alice", "bartholomew"] {
            assert!(!contains(&bytes, name.as_bytes()), "the name {name} in clear in {}", file.display());
        }
    }
    Ok(())
}

#[test]
fn what_others_send_is_harmless_on_the_terminal() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}gone\u{202e}txt.exe\u{9b}31m\u{8}\u{200f}";
    alice.run(&["send", "@bob", evil])?.success()?;
    let received = bob.run(&["recv", "--timeout", "20s", "--max", "1"])?.success()?;
    assert!(received.stdout.contains("gone"), "{:?}", received.stdout);
    let bad = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{200f}';
    assert!(!received.stdout.chars().any(bad), "{:?}", received.stdout);
    // JSON carries it whole, escaped.
    let history = bob.json(&["history", "@alice"])?;
    assert_eq!(history[0]["content"]["text"], evil);
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn all_files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(all_files(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

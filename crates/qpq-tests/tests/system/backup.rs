//! A snapshot of a server that is in use, and the way back.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use qpq_tests::world::{Person, Server, binaries, finish_child};
use tempfile::tempdir;

/// Exit code and what was said.
fn qpq_server(data: &Path, arguments: &[&OsStr]) -> Result<(i32, String)> {
    let mut command = Command::new(binaries().join("qpq-server"));
    command.arg("--data-dir").arg(data).args(arguments);
    let done = finish_child(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)?;
    Ok((done.code, done.stdout + &done.stderr))
}

fn backup(data: &Path, file: &Path) -> Result<(i32, String)> {
    qpq_server(data, &["backup".as_ref(), file.as_ref()])
}

fn restore(data: &Path, file: &Path) -> Result<(i32, String)> {
    qpq_server(data, &["restore".as_ref(), file.as_ref()])
}

#[test]
fn a_backup_of_a_busy_server_brings_everything_back() -> Result<()> {
    let (folder, data, elsewhere) = (tempdir()?, tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "before"])?.success()?;
    let lines: Vec<String> =
        std::iter::once("/dm @bob".to_owned()).chain((0..200).map(|number| format!("line {number}"))).collect();

    // Three snapshots while messages are being written.
    let files: Vec<_> = (0..3).map(|number| elsewhere.path().join(format!("{number}.backup"))).collect();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| alice.repl(&lines));
        for file in &files {
            let (code, said) = backup(data.path(), file)?;
            assert_eq!(code, 0, "{said}");
            assert!(said.contains("db.key"), "it says what is not in it: {said}");
        }
        writing.join().expect("the writing thread")?.success()
    })?;
    let last = elsewhere.path().join("last.backup");
    assert_eq!(backup(data.path(), &last)?.0, 0);
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 4, "nothing is left beside the backups");

    // Private, encrypted, and without any key.
    let bytes = fs::read(&last)?;
    let key = fs::read_to_string(data.path().join("db.key"))?;
    let certificate_key = fs::read_to_string(data.path().join("key.pem"))?;
    let readable = String::from_utf8_lossy(&bytes);
    for secret in [key.trim(), certificate_key.lines().nth(1).unwrap(), "CREATE TABLE", "alice"] {
        assert!(!readable.contains(secret), "{secret}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&last)?.permissions().mode() & 0o777, 0o600);
    }

    // The server is lost; another one takes its place, certificate included, and nobody has to do anything.
    let address = server.address.clone();
    server.kill()?;
    let fresh = tempdir()?;
    fs::copy(data.path().join("db.key"), fresh.path().join("db.key"))?;
    let (code, said) = restore(fresh.path(), &last)?;
    assert_eq!(code, 0, "{said}");
    let _server = Server::start_with(fresh.path(), &address, &[])?;
    let mut received = bob.texts(201)?;
    assert_eq!(received.remove(0), "before");
    assert_eq!(received, (0..200).map(|number| format!("line {number}")).collect::<Vec<_>>());
    bob.run(&["send", "@alice", "after"])?.success()?;
    assert_eq!(alice.texts(1)?, ["after"]);
    // Whoever is new can be reached: the devices have brought fresh key packages.
    let carol = Person::registered(&folder, "carol", &address)?;
    carol.run(&["send", "@bob", "hello"])?.success()?;
    assert_eq!(bob.texts(1)?, ["hello"]);

    // The snapshots of the busy moments are whole as well.
    for file in &files {
        let fresh = tempdir()?;
        fs::copy(data.path().join("db.key"), fresh.path().join("db.key"))?;
        let (code, said) = restore(fresh.path(), file)?;
        assert_eq!(code, 0, "{said}");
        let server = Server::start(fresh.path())?;
        assert_eq!(server.http("/readyz")?.0, 200);
    }
    Ok(())
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_refused_with_advice() -> Result<()> {
    let (data, elsewhere) = (tempdir()?, tempdir()?);
    let file = elsewhere.path().join("server.backup");
    let refused = |outcome: Result<(i32, String)>, words: &[&str]| -> Result<()> {
        let (code, said) = outcome?;
        assert_eq!(code, 1, "{said}");
        for word in words {
            assert!(said.contains(word), "{word} is missing: {said}");
        }
        Ok(())
    };
    refused(backup(data.path(), &file), &["no database", "--data-dir"])?;
    assert_eq!(fs::read_dir(data.path())?.count(), 0, "looking for a database does not make one");
    Server::start(data.path())?.terminate()?;
    assert_eq!(backup(data.path(), &file)?.0, 0);
    refused(backup(data.path(), &file), &["exists already", "another name"])?;

    let target = tempdir()?;
    let key = target.path().join("db.key");
    refused(restore(target.path(), &file), &["database key", "db.key", "put the copy"])?;
    fs::write(&key, "0f".repeat(32))?;
    refused(restore(target.path(), &file), &["another database key", "put the key file"])?;
    fs::copy(data.path().join("db.key"), &key)?;
    refused(restore(data.path(), &file), &["not empty", "qpq.db", "move the old files away"])?;

    let good = fs::read(&file)?;
    let bad = elsewhere.path().join("bad.backup");
    let check = |bytes: &[u8], words: &[&str]| -> Result<()> {
        fs::write(&bad, bytes)?;
        refused(restore(target.path(), &bad), words)
    };
    check(b"", &["too short", "copied whole"])?;
    check(&[0x55; 100_000], &["not a backup"])?;
    check(&fs::read(data.path().join("qpq.db"))?, &["not a backup"])?;
    check(&good[..good.len() / 2], &["damaged", "copy it again"])?;
    check(&good[..80], &["damaged"])?;
    check(&[&good[..], b"x"].concat(), &["damaged"])?;
    for at in [70, good.len() / 2, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        check(&flipped, &["damaged", "another backup"])?;
    }
    refused(restore(target.path(), &elsewhere.path().join("missing")), &["cannot open", "missing"])?;

    // Nothing of all that has left anything behind, and a restore that was interrupted can be repeated.
    fs::write(target.path().join("qpq.db.restoring"), "half of it")?;
    assert_eq!(restore(target.path(), &file)?.0, 0);
    refused(restore(target.path(), &file), &["not empty"])?;
    let running = Server::start(target.path())?;
    refused(restore(target.path(), &file), &["another server is running"])?;
    assert_eq!(running.terminate()?, 0);
    Ok(())
}

//! Disks that are full or cannot be written, under the real programs: clear words, nothing lost, and it works again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qpq_tests::disk::{self, Disk};
use qpq_tests::world::{Person, Server, binaries, texts};
use tempfile::{TempDir, tempdir};

/// Whether the test can run here; says so by name when it cannot.
fn can_mount(test: &str) -> bool {
    match disk::unavailable() {
        Some(reason) => {
            println!("{test} is skipped: {reason}");
            false
        }
        None => true,
    }
}

/// Looks until it holds.
fn until(what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        ensure!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The server's log is on another disk than its data.
fn log_elsewhere(folder: &TempDir, data: &Path) -> Result<PathBuf> {
    let log = folder.path().join("server.log");
    std::os::unix::fs::symlink(&log, data.join("stderr.log"))?;
    Ok(log)
}

/// A text that needs space, with a number.
fn large(number: usize) -> String {
    format!("{number} {}", "x".repeat(60_000))
}

#[test]
fn a_server_with_a_full_disk_says_so_loses_nothing_and_goes_on_when_there_is_space() -> Result<()> {
    if !can_mount("a_server_with_a_full_disk") {
        return Ok(());
    }
    let (folder, disk) = (tempdir()?, Disk::memory(24)?);
    let log = log_elsewhere(&folder, &disk.path())?;
    let server = Server::start(&disk.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let mut expected = vec!["before".to_owned()];
    alice.run(&["send", "@bob", "before"])?.success()?;
    assert_eq!(server.http("/readyz")?.0, 200);

    // Written until the server can take no more. What it has acknowledged until then has to be there later.
    let filler = disk.fill()?;
    let refused = loop {
        let text = large(expected.len());
        let done = alice.run(&["send", "--timeout", "3s", "@bob", &text])?;
        expected.push(text);
        if done.code != 0 {
            break done.exit(3)?;
        }
        ensure!(expected.len() < 1000, "a full disk takes everything");
    };
    assert!(refused.stderr.contains("cannot write to its disk"), "{}", refused.stderr);
    let (status, reason) = server.http("/readyz")?;
    assert_eq!((status, reason.trim()), (503, "the disk cannot be written"));
    assert!(std::fs::read_to_string(&log)?.contains("the server cannot write to its disk: it is full"));

    drop(filler);
    // By itself, and although nobody writes.
    until("the server is ready again", || Ok(server.http("/readyz")?.0 == 200))?;
    assert!(std::fs::read_to_string(&log)?.contains("the disk can be written again"));
    until("everything has left the outbox", || Ok(alice.json(&["sync"])?[0]["waiting"] == 0))?;
    assert_eq!(bob.texts(expected.len())?, expected);
    Ok(())
}

#[test]
fn a_client_with_a_full_disk_says_so_loses_nothing_and_goes_on_when_there_is_space() -> Result<()> {
    if !can_mount("a_client_with_a_full_disk") {
        return Ok(());
    }
    let (folder, data, disk) = (tempdir()?, tempdir()?, Disk::memory(24)?);
    let server = Server::start(data.path())?;
    let mut alice = Person::new(&folder, "alice", &server.address);
    alice.home = disk.path().join("alice");
    alice.run(&["register", "alice"])?.success()?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "before"])?.success()?;

    let filler = disk.fill()?;
    let full = alice.run(&["send", "--timeout", "5s", "@bob", &large(1)])?.exit(1)?;
    assert!(full.stderr.contains("the disk is full"), "{}", full.stderr);
    bob.run(&["send", "@alice", &large(2)])?.success()?;
    let full = alice.run(&["recv", "--timeout", "5s"])?.exit(1)?;
    assert!(full.stderr.contains("the disk is full"), "{}", full.stderr);

    drop(filler);
    assert_eq!(alice.texts(1)?, [large(2)]);
    alice.run(&["send", "@bob", "after"])?.success()?;
    assert_eq!(bob.texts(2)?, ["before", "after"], "what was refused is not sent behind the user's back");

    // Nobody can write to a file system that is mounted read-only.
    disk.make_read_only()?;
    let refused = alice.run(&["send", "@bob", "on a read-only disk"])?.exit(1)?;
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    bob.run(&["send", "@alice", "meanwhile"])?.success()?;
    disk.make_writable()?;
    assert_eq!(alice.texts(1)?, ["meanwhile"]);
    assert_eq!(
        texts(&alice.json(&["history", "@bob"])?),
        ["before".to_owned(), large(2), "after".into(), "meanwhile".into()]
    );
    Ok(())
}

#[test]
fn a_server_whose_disk_fails_refuses_and_loses_nothing() -> Result<()> {
    if !can_mount("a_server_whose_disk_fails") {
        return Ok(());
    }
    let (folder, disk) = (tempdir()?, Disk::ext4("errors=remount-ro")?);
    let data = disk.path().join("data");
    std::fs::create_dir(&data)?;
    let log = log_elsewhere(&folder, &data)?;
    let server = Server::start(&data)?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "before"])?.success()?;

    // The kernel has found damage and lets nobody write any more.
    disk.find_damage()?;
    let refused = alice.run(&["send", "--timeout", "3s", "@bob", "meanwhile"])?.exit(3)?;
    assert!(refused.stderr.contains("cannot write to its disk"), "{}", refused.stderr);
    assert_eq!(server.http("/readyz")?.0, 503);
    assert_eq!(server.http("/healthz")?.0, 200);
    assert!(std::fs::read_to_string(&log)?.contains("the server cannot write to its disk"));
    let address = server.address.clone();
    server.kill()?;

    // It does not start like this, and says why.
    let start = ["--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let outcome = Command::new(binaries().join("qpq-server")).args(start).output()?;
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(1), "{said}");
    assert!(said.contains("Read-only file system") && said.contains(data.to_str().unwrap()), "{said}");

    disk.power_on()?;
    let _server = Server::start_with(&data, &address, &[])?;
    alice.run(&["sync"])?.success()?;
    assert_eq!(bob.texts(2)?, ["before", "meanwhile"]);
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(120);

//! What goes wrong says what to do, has its exit code, and loses nothing.

use anyhow::Result;
use qpq_tests::world::{Person, Server, texts};
use tempfile::tempdir;

#[test]
fn passwords_users_and_names() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;

    alice.run(&["login", "alice"])?.success()?;
    let wrong = alice.run_with_password("not it", &["login", "alice"])?.exit(1)?;
    assert!(wrong.stderr.contains("password"), "{}", wrong.stderr);
    alice.run_with_password("not it", &["list"])?.exit(1)?;
    let again = alice.run(&["register", "alice"])?.exit(1)?;
    assert!(again.stderr.contains("already"), "{}", again.stderr);

    // Somebody else on another machine: the same answer for a wrong password and for nobody at all.
    let stranger = Person::new(&folder, "stranger", &server.address);
    let wrong = stranger.run_with_password("not it", &["login", "alice"])?.exit(1)?;
    let nobody = stranger.run_with_password("not it", &["login", "nobody"])?.exit(1)?;
    assert_eq!(wrong.stderr, nobody.stderr);
    let taken = stranger.run(&["register", "alice"])?.exit(1)?;
    assert!(taken.stderr.contains("taken"), "{}", taken.stderr);
    // A taken name leaves nothing behind that is in the way of another one.
    stranger.run(&["register", "stranger"])?.success()?;

    alice.run(&["send", "@nobody", "hello?"])?.exit(1)?;
    let none = alice.run(&["send", "#Nothing", "hello?"])?.exit(1)?;
    assert!(none.stderr.contains("Nothing"), "{}", none.stderr);
    alice.run(&["send"])?.exit(2)?;
    alice.run(&["no-such-command"])?.exit(2)?;
    let empty = Person::new(&folder, "empty", &server.address);
    let none = empty.run(&["list"])?.exit(1)?;
    assert!(none.stderr.contains("register"), "{}", none.stderr);
    Ok(())
}

#[test]
fn too_large_messages_and_a_server_that_is_away() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let largest = "x".repeat(64 * 1024);
    alice.run(&["send", "@bob", &largest])?.success()?;
    let large = alice.run(&["send", "@bob", &format!("{largest}x")])?.exit(1)?;
    assert!(large.stderr.contains("65536"), "{}", large.stderr);
    assert_eq!(bob.texts(1)?, [largest]);

    let address = server.address.clone();
    server.kill()?;
    let away = alice.run(&["send", "--timeout", "1s", "@bob", "later"])?.exit(3)?;
    assert!(!away.stderr.is_empty());
    bob.run(&["recv", "--timeout", "1s"])?.exit(3)?;
    let _server = Server::start_with(data.path(), &address, &[])?;
    alice.run(&["sync"])?.success()?;
    assert_eq!(bob.texts(1)?, ["later"]);
    Ok(())
}

#[test]
fn a_changed_certificate_is_refused_until_the_user_accepts_it() -> Result<()> {
    let (folder, data, other) = (tempdir()?, tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let address = server.address.clone();
    server.kill()?;
    let server = Server::start_with(other.path(), &address, &[])?;
    let changed = alice.run(&["sync", "--timeout", "10s"])?;
    assert_ne!(changed.code, 0);
    assert!(changed.stderr.contains("certificate"), "{}", changed.stderr);
    assert!(changed.stderr.contains("--fingerprint"), "{}", changed.stderr);
    server.kill()?;
    let _server = Server::start_with(data.path(), &address, &[])?;
    alice.run(&["sync"])?.success()?;
    Ok(())
}

#[test]
fn a_damaged_database_is_said_to_be_damaged() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    alice.run(&["send", "@alice", "a note"])?.success()?;
    let database = alice.home.join("qpq.db");
    let good = std::fs::read(&database)?;
    let mut bad = good.clone();
    for byte in bad.iter_mut().step_by(97) {
        *byte ^= 0x55;
    }
    std::fs::write(&database, &bad)?;
    let damaged = alice.run(&["list"])?.exit(1)?;
    assert!(damaged.stderr.contains("damaged"), "{}", damaged.stderr);
    std::fs::write(&database, &good)?;
    let history = alice.json(&["history", "@alice"])?;
    assert_eq!(texts(&history), ["a note"]);
    Ok(())
}

//! Identities: safety numbers, and names that change hands.

use std::process::Command;

use anyhow::Result;
use qpq_tests::world::{Person, Server, binaries};
use tempfile::tempdir;

#[test]
fn safety_numbers_agree_and_verification_shows() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let number = |person: &Person, other: &str| -> Result<String> {
        Ok(person.json(&["verify", other])?[0]["safety_number"].as_str().unwrap().to_owned())
    };
    let of_alice = number(&alice, "@bob")?;
    assert_eq!(of_alice, number(&bob, "@alice")?);
    assert_eq!(of_alice.chars().filter(char::is_ascii_digit).count(), 60);
    bob.run(&["verify", "@alice", "--confirm"])?.success()?;
    alice.run(&["send", "@bob", "trust me"])?.success()?;
    let received = bob.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    let message = received.iter().find(|event| event["type"] == "message").unwrap();
    assert_eq!(message["verified"], true);
    Ok(())
}

#[test]
fn a_name_that_changes_hands_stops_sending() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "for the first bob"])?.success()?;
    assert_eq!(bob.texts(1)?, ["for the first bob"]);

    let deleted = Command::new(binaries().join("qpq-server"))
        .arg("--data-dir")
        .arg(data.path())
        .args(["user", "delete", "bob"])
        .status()?;
    assert!(deleted.success());
    let impostor_home = tempdir()?;
    let impostor = Person::registered(&impostor_home, "bob", &server.address)?;
    let stopped = alice.run(&["send", "@bob", "for whom?"])?.exit(4)?;
    assert!(stopped.stderr.contains("bob"), "{}", stopped.stderr);
    let received = impostor.receive()?;
    assert!(received.iter().all(|event| event["type"] != "message"), "{received:?}");
    Ok(())
}

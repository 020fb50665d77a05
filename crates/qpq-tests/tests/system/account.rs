//! The account: another password, everything lost and recovered, the end.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{PASSWORD, Person, Server, binaries, texts};
use serde_json::Value;
use tempfile::tempdir;

const NEW: &str = "another horse, another battery";

fn has_type(events: &[Value], kind: &str) -> bool {
    events.iter().any(|event| event["type"] == kind)
}

fn change_password(person: &Person, old: &str, new: &str) -> Result<Command> {
    let mut command = person.command(&["change-password"]);
    command.env("QPQ_PASSWORD", old).env("QPQ_NEW_PASSWORD", new);
    Ok(command)
}

#[test]
fn a_changed_password_takes_the_place_of_the_old_one() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let run = |mut command: Command| -> Result<(i32, String)> {
        let output = command.output()?;
        Ok((output.status.code().context("a code")?, String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, stderr) = run(change_password(&alice, "wrong", NEW)?)?;
    ensure!(code == 1 && stderr.contains("wrong password"), "{stderr}");
    let (code, stderr) = run(change_password(&alice, PASSWORD, NEW)?)?;
    ensure!(code == 0, "{stderr}");
    alice.run(&["whoami"])?.exit(1)?;
    alice.run_with_password(PASSWORD, &["login", "alice"])?.exit(1)?;
    alice.run_with_password(NEW, &["whoami"])?.success()?;
    alice.run_with_password(NEW, &["login", "alice"])?.success()?;
    // The account's password, and not only the profile's.
    let elsewhere = Person::new(&folder, "elsewhere", &server.address);
    let refused = elsewhere.run_with_password(PASSWORD, &["login", "alice"])?.exit(1)?;
    assert!(refused.stderr.contains("wrong password or unknown user"), "{}", refused.stderr);
    let refused = elsewhere.run_with_password(NEW, &["login", "alice"])?.exit(1)?;
    assert!(refused.stderr.contains("the password is right"), "{}", refused.stderr);
    Ok(())
}

/// Killed somewhere on the way, it ends with one password at both ends once it is repeated.
#[test]
fn a_change_of_the_password_that_was_killed_is_finished() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let passwords = ["one horse", "two horses", "three horses", "four horses"];
    let mut present = PASSWORD.to_owned();
    for (round, new) in passwords.iter().enumerate() {
        let mut child = change_password(&alice, &present, new)?.spawn()?;
        // The first time before anything, later when the new key file is there: then the server may have taken it or not.
        let deadline = Instant::now() + Duration::from_secs(60);
        while round > 0 && !alice.home.join("profile.key.new").exists() && child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "no new key file");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(150 * (round as u64).saturating_sub(1)));
        let _ = child.kill();
        child.wait()?;
        // Whatever has happened, one of the two opens the profile, and the same command finishes the change.
        let old_opens = alice.run_with_password(&present, &["whoami"])?.code == 0;
        let new_opens = alice.run_with_password(new, &["whoami"])?.code == 0;
        ensure!(old_opens || new_opens, "round {round}: locked out");
        let finished = change_password(&alice, if old_opens { &present } else { new }, new)?.output()?;
        ensure!(finished.status.success(), "round {round}: {}", String::from_utf8_lossy(&finished.stderr));
        ensure!(!alice.home.join("profile.key.new").exists(), "nothing is left over");
        alice.run_with_password(&present, &["whoami"])?.exit(1)?;
        alice.run_with_password(new, &["login", "alice"])?.success()?;
        present = (*new).to_owned();
    }
    Ok(())
}

#[test]
fn the_words_bring_back_an_account_of_which_nothing_is_left() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob] = ["alice", "bob"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob) = (alice?, bob?);
    alice.run(&["group", "create", "Team", "@bob"])?.success()?;
    bob.run(&["send", "@alice", "hello"])?.success()?;
    bob.run(&["verify", "@alice", "--confirm"])?.success()?;
    alice.receive()?;
    let recover = |person: &Person, name: &str, words: &str| {
        let mut command = person.command(&["recover", name]);
        command.env("QPQ_PASSWORD", NEW).env("QPQ_RECOVERY_WORDS", words).output()
    };
    let identity = alice.json(&["whoami"])?[0]["identity"].clone();
    let shown = alice.json(&["recovery"])?;
    let words = shown[0]["words"].as_str().context("words")?.to_owned();
    assert_eq!(words.split(' ').count(), 24);
    assert_eq!(alice.json(&["recovery"])?, shown, "the same words each time");
    bob.receive()?;

    // The old device is stolen; a copy of it is what the thief has.
    let thief = Person::new(&folder, "thief", &server.address);
    std::fs::rename(&alice.home, &thief.home)?;

    let wrong = "abandon ".repeat(23) + "art";
    let refused = recover(&alice, "alice", &wrong)?;
    ensure!(refused.status.code() == Some(1), "wrong words");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("takes these words"));
    let refused = recover(&alice, "nobody", &words)?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("takes these words"), "nobody learns who exists");
    let refused = recover(&alice, "alice", &words.replacen(' ', " zoo ", 1))?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("24 words"));
    let recovered = recover(&alice, "alice", &words)?;
    ensure!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));

    let alice_json = |arguments: &[&str]| -> Result<Vec<Value>> {
        alice.run_with_password(NEW, &[&["--json"], arguments].concat())?.success()?.json()
    };
    assert_eq!(alice_json(&["whoami"])?[0]["identity"], identity, "the key is the identity");
    assert_eq!(alice_json(&["devices"])?.len(), 1);
    bob.run(&["send", "#Team", "welcome back"])?.success()?;
    bob.run(&["send", "@alice", "privately"])?.success()?;
    let heard = alice_json(&["recv", "--timeout", "20s", "--max", "2"])?;
    let mut heard = texts(&heard);
    heard.sort();
    assert_eq!(heard, ["privately", "welcome back"]);
    alice.run_with_password(NEW, &["send", "@bob", "it is me"])?.success()?;
    let seen = bob.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    assert_eq!(texts(&seen), ["it is me"]);
    assert!(has_type(&seen, "device_added") && has_type(&seen, "device_removed"), "{seen:?}");
    assert!(!has_type(&seen, "key_changed"), "{seen:?}");
    assert_eq!(bob.json(&["trust", "@alice"])?[0]["trust"], "verified");

    // The stolen device is out, and the old password is worth nothing.
    let refused = thief.run(&["sync"])?.exit(1)?;
    assert!(refused.stderr.contains("unlinked"), "{}", refused.stderr);
    let elsewhere = Person::new(&folder, "elsewhere", &server.address);
    elsewhere.run_with_password(PASSWORD, &["login", "alice"])?.exit(1)?;

    // Words that were taken back are good for nothing.
    alice.run_with_password(NEW, &["recovery", "--remove"])?.success()?;
    let refused = recover(&elsewhere, "alice", &words)?;
    ensure!(refused.status.code() == Some(1), "removed words");
    Ok(())
}

#[test]
fn a_deleted_account_leaves_nothing_and_everybody_sees_it_go() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob] = ["alice", "bob"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob) = (alice?, bob?);
    alice.run(&["group", "create", "Team", "@bob"])?.success()?;
    alice.run(&["group", "create", "Alone"])?.success()?;
    alice.run(&["send", "@bob", "hello"])?.success()?;
    alice.run(&["recovery"])?.success()?;
    bob.receive()?;
    let refused = alice.run(&["delete-account", "bob"])?.exit(1)?;
    assert!(refused.stderr.contains("nothing was deleted"), "{}", refused.stderr);
    alice.run(&["delete-account"])?.exit(1)?;
    let deleted = alice.json(&["delete-account", "--yes"])?;
    assert_eq!(deleted[0]["type"], "account_deleted");
    assert!(!alice.home.exists(), "the profile is gone");

    let seen = bob.receive()?;
    let left = seen.iter().find(|event| event["type"] == "member_removed").context("she left")?;
    assert_eq!((&left["who"], &left["by"]), (&"alice".into(), &"alice".into()));
    assert_eq!(bob.json(&["group", "members", "#Team"])?.len(), 1);
    let refused = bob.run(&["send", "@alice", "where are you?"])?;
    assert_ne!(refused.code, 0, "there is nobody to look up");

    let operator = |arguments: &[&str]| {
        let mut command = Command::new(binaries().join("qpq-server"));
        command.arg("--data-dir").arg(data.path()).args(arguments).output()
    };
    ensure!(operator(&["user", "show", "alice"])?.status.code() == Some(1), "the server still knows her");
    let listed = String::from_utf8_lossy(&operator(&["user", "list"])?.stdout).into_owned();
    assert!(listed.starts_with("bob") && !listed.contains("alice"), "{listed}");

    // Nobody else becomes her.
    let impostor = Person::new(&folder, "impostor", &server.address);
    let refused = impostor.run(&["register", "alice"])?.exit(1)?;
    assert!(refused.stderr.contains("taken"), "{}", refused.stderr);
    Ok(())
}

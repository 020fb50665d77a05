//! Rich messages: answers, reactions, edits, deletions, receipts; what disappears; what is found again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{Person, Server, texts};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Alice, Bob and Carol in one group, who have read what there is.
fn group_of_three(folder: &TempDir, server: &Server) -> Result<[Person; 3]> {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::registered(folder, name, &server.address));
    let (alice, bob, carol) = (alice?, bob?, carol?);
    alice.run(&["group", "create", "team", "@bob", "@carol"])?.success()?;
    for person in [&bob, &carol] {
        person.receive()?;
        person.run(&["accept", "#team"])?.success()?;
    }
    Ok([alice, bob, carol])
}

/// Everything new of this type; waits until there is some.
fn events(person: &Person, kind: &str) -> Result<Vec<Value>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found: Vec<_> = person.receive()?.into_iter().filter(|event| event["type"] == kind).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{} has no event of the type {kind}", person.name);
    }
}

/// The stored message of this number.
fn stored(person: &Person, group: &str, number: u64) -> Result<Value> {
    let history = person.json(&["history", group])?;
    history.into_iter().find(|message| message["number"] == number).context("no such message")
}

#[test]
fn messages_are_answered_changed_and_taken_back() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, carol] = group_of_three(&folder, &server)?;
    let sent = alice.json(&["send", "#team", "shall we meet at noom?"])?;
    assert_eq!((&sent[0]["number"], &sent[0]["status"]), (&1.into(), &"sent".into()));
    let id = &sent[0]["id"];
    bob.texts(1)?;
    carol.texts(1)?;

    // An answer says what it answers.
    bob.run(&["reply", "#team", "1", "-- yes, noon"])?.success()?;
    let answer = events(&alice, "message")?.remove(0);
    assert_eq!((&answer["in_reply_to"], &answer["content"]["text"]), (id, &"-- yes, noon".into()));
    let shown = carol.run(&["recv", "--timeout", "20s", "--max", "1"])?.success()?.stdout;
    assert!(shown.contains("↱ 1 @alice: shall we meet"), "{shown}");

    // A reaction, by name or by emoji, once; and taken back.
    bob.run(&["react", "#team", "1", ":+1:"])?.success()?;
    carol.run(&["react", "#team", "1", "👍"])?.success()?;
    carol.run(&["react", "#team", "1", "👍"])?.success()?;
    carol.run(&["react", "#team", "1", "🎉"])?.success()?;
    carol.run(&["react", "#team", "1", "🎉", "--remove"])?.success()?;
    assert_eq!(bob.run(&["react", "#team", "1", "not an emoji"])?.code, 1);
    let reactions = events(&alice, "reaction")?;
    let seen: Vec<_> =
        reactions.iter().map(|one| (one["by"].as_str(), one["emoji"].as_str(), one["removed"].as_bool())).collect();
    let expected = [
        (Some("bob"), Some("👍"), Some(false)),
        (Some("carol"), Some("👍"), Some(false)),
        (Some("carol"), Some("🎉"), Some(false)),
        (Some("carol"), Some("🎉"), Some(true)),
    ];
    assert_eq!(seen, expected);
    let message = stored(&alice, "#team", 1)?;
    assert_eq!(message["reactions"], serde_json::json!([{"emoji": "👍", "by": ["bob", "carol"]}]), "{message}");

    // Only the author changes a message.
    alice.run(&["edit", "#team", "1", "shall we meet at noon?"])?.success()?;
    let edited = events(&bob, "edited")?.remove(0);
    assert_eq!((&edited["id"], &edited["text"]), (id, &"shall we meet at noon?".into()));
    let refused = carol.run(&["edit", "#team", "1", "shall we not?"])?.exit(1)?;
    assert!(refused.stderr.contains("somebody else's"), "{}", refused.stderr);
    assert_eq!(carol.run(&["delete", "#team", "1"])?.exit(1)?.code, 1);
    for person in [&alice, &bob, &carol] {
        person.run(&["sync"])?.success()?;
        let message = stored(person, "#team", 1)?;
        assert_eq!(message["content"]["text"], "shall we meet at noon?", "{}", person.name);
        assert!(message["edited_at"].is_string(), "{message}");
        assert_eq!(person.json(&["history", "#team", "--search", "noom"])?.len(), 0, "the old text is gone");
    }

    // Taken back: nothing is left but that it was there.
    alice.run(&["delete", "#team", "1"])?.success()?;
    assert_eq!(&events(&bob, "deleted")?[0]["id"], id);
    carol.run(&["sync"])?.success()?;
    for person in [&alice, &bob, &carol] {
        let message = stored(person, "#team", 1)?;
        assert_eq!(message["content"]["type"], "deleted", "{message}");
        assert!(message["reactions"].is_null(), "{message}");
    }
    assert!(bob.run(&["history", "#team"])?.success()?.stdout.contains("(taken back)"));
    let gone = bob.run(&["reply", "#team", "1", "what?"])?.exit(1)?;
    assert!(gone.stderr.contains("taken back"), "{}", gone.stderr);
    Ok(())
}

#[test]
fn receipts_tell_who_has_a_message_and_can_be_turned_off() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, carol] = group_of_three(&folder, &server)?;
    let info = |number: &str| -> Result<(Value, Value, Value)> {
        let line = alice.json(&["info", "#team", number])?.remove(0);
        Ok((line["devices"].clone(), line["delivered"].clone(), line["read"].clone()))
    };
    // Whoever does not want it tells nothing.
    carol.run(&["typing-notify", "off"])?.success()?;
    alice.run(&["send", "#team", "one"])?.success()?;
    assert_eq!(info("1")?, (2.into(), 0.into(), 0.into()));
    bob.texts(1)?;
    let receipt = events(&alice, "receipt")?.remove(0);
    assert_eq!((&receipt["status"], &receipt["by"]), (&"delivered".into(), &"bob".into()));
    assert_eq!(info("1")?, (2.into(), 1.into(), 0.into()));
    // What a REPL shows has been read.
    bob.repl(&["/switch #team".into()])?.success()?;
    let receipt = events(&alice, "receipt")?.remove(0);
    assert_eq!((&receipt["status"], &receipt["by"]), (&"read".into(), &"bob".into()));
    assert_eq!(info("1")?, (2.into(), 1.into(), 1.into()));
    let shown = alice.run(&["info", "#team", "1"])?.success()?.stdout;
    assert!(shown.contains("delivered to 1 of 2 devices, read by 1"), "{shown}");
    carol.texts(1)?;
    carol.repl(&["/switch #team".into()])?.success()?;
    alice.run(&["sync"])?.success()?;
    assert_eq!(info("1")?, (2.into(), 1.into(), 1.into()));
    Ok(())
}

#[test]
fn messages_disappear_for_everybody() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, carol] = group_of_three(&folder, &server)?;
    alice.run(&["send", "#team", "this stays"])?.success()?;
    assert_eq!(alice.run(&["disappear", "#team", "yesterday"])?.code, 2);
    alice.run(&["disappear", "#team", "2s"])?.success()?;
    let changed = events(&bob, "disappear")?.remove(0);
    assert_eq!((&changed["after"], &changed["by"]), (&2.into(), &"alice".into()));
    assert_eq!(bob.json(&["list"])?[0]["disappear"], 2);
    // Written by somebody else, for the rule is the group's.
    bob.run(&["send", "#team", "this goes"])?.success()?;
    let received = alice.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    let goes = received.iter().find(|event| event["type"] == "message").context("no message")?;
    ensure!(goes["expires_at"].is_string(), "{goes}");
    let deadline = Instant::now() + Duration::from_secs(60);
    for person in [&alice, &bob] {
        // Without a connection: nobody needs the server to forget.
        while texts(&person.json(&["history", "#team"])?) != ["this stays"] {
            ensure!(Instant::now() < deadline, "{} still has it", person.name);
        }
    }
    // Whoever was away does not get it any more, and the rule can be taken back.
    alice.run(&["disappear", "#team", "off"])?.success()?;
    alice.run(&["send", "#team", "this stays, too"])?.success()?;
    while texts(&carol.receive()?).last().map(String::as_str) != Some("this stays, too") {
        ensure!(Instant::now() < deadline, "carol does not get what stays");
    }
    assert_eq!(texts(&carol.json(&["history", "#team"])?), ["this stays", "this stays, too"]);
    Ok(())
}

#[test]
fn odd_texts_arrive_as_they_are_and_never_reach_the_terminal_raw() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let longest = "x".repeat(64 * 1024);
    let odd = [
        "x",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{202e}drawkcab\u{202c} e\u{301}\u{327}",
        "👩‍👩‍👧‍👦 漢字 \u{200b}\u{feff}",
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\rhidden\u{8}\u{8}",
        "tabs\tand\nlines",
        &longest,
    ];
    for text in odd {
        let mut child = alice.command(&["send", "@bob", "-"]).stdin(std::process::Stdio::piped()).spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("piped")?, text.as_bytes())?;
        qpq_tests::world::finish_child(child)?.success()?;
    }
    assert_eq!(bob.texts(odd.len())?, odd);
    let shown = bob.run(&["history", "@alice"])?.success()?.stdout;
    for c in ['\u{1b}', '\u{7}', '\u{8}', '\u{9b}', '\r', '\u{202e}'] {
        assert!(!shown.contains(c), "{c:?} reached the terminal");
    }
    let found = bob.json(&["history", "@alice", "--search", "漢字"])?;
    assert_eq!(texts(&found), [odd[2]]);
    Ok(())
}

#[test]
fn a_thousand_unread_messages_are_counted_found_and_read() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    bob.run(&["send", "@alice", "write to me"])?.success()?;
    alice.texts(1)?;
    for quarter in 0..4 {
        let lines = (quarter * 250 + 1..=quarter * 250 + 250).map(|number| format!("message number {number}"));
        alice.repl(&std::iter::once("/dm @bob".to_owned()).chain(lines).collect::<Vec<_>>())?.success()?;
    }
    bob.run(&["--timeout", "120s", "sync"])?.success()?;
    assert_eq!(bob.json(&["list"])?[0]["unread"], 1000);
    let found = bob.json(&["history", "@alice", "--search", "NUMBER 77"])?;
    assert_eq!(found.len(), 19, "77, 177, …, 977, and 770 to 779");
    // To open it is to read it, and one receipt tells so.
    bob.repl(&["/switch @alice".into()])?.success()?;
    assert_eq!(bob.json(&["list"])?[0]["unread"], 0);
    let receipts: Vec<_> = events(&alice, "receipt")?.into_iter().filter(|one| one["status"] == "read").collect();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0]["ids"].as_array().context("ids")?.len(), 1000);
    Ok(())
}

//! People chat: one to one, in groups, offline, across restarts.

use anyhow::{Result, ensure};
use qpq_tests::world::{Person, Server, finish_child, texts};
use tempfile::tempdir;

#[test]
fn three_people_chat_through_a_server_that_restarts() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob, carol) = (alice?, bob?, carol?);

    // Direct messages, both ways.
    alice.run(&["send", "@bob", "hello bob"])?.success()?;
    let received = bob.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    let message = received.iter().find(|event| event["type"] == "message").unwrap();
    assert_eq!(message["content"]["text"], "hello bob");
    assert_eq!(message["sender"], "alice");
    assert_eq!(message["kind"], "direct");
    assert_eq!(message["verified"], false);
    for field in ["id", "conversation", "device", "sent_at", "received_at"] {
        assert!(message[field].is_string(), "{field}: {message}");
    }
    bob.run(&["send", "@alice", "hello alice"])?.success()?;
    assert_eq!(alice.texts(1)?, ["hello alice"]);

    // A group of three.
    alice.run(&["group", "create", "Plans", "@bob", "@carol"])?.success()?;
    alice.run(&["send", "#Plans", "shall we?"])?.success()?;
    assert_eq!(bob.texts(1)?, ["shall we?"]);
    assert_eq!(carol.texts(1)?, ["shall we?"]);
    bob.run(&["send", "#Plans", "we shall"])?.success()?;
    assert_eq!(carol.texts(1)?, ["we shall"]);
    assert_eq!(alice.texts(1)?, ["we shall"]);
    assert_eq!(alice.json(&["group", "members", "#Plans"])?.len(), 3);

    // Bob is away while 500 messages are written, and the server is restarted in between.
    let lines = |from: usize, to: usize| -> Vec<String> {
        let switch = std::iter::once("/switch #Plans".to_owned());
        switch.chain((from..to).map(|number| format!("line {number}"))).collect()
    };
    alice.repl(&lines(0, 250))?.success()?;
    let address = server.address.clone();
    ensure!(server.terminate()? == 0, "SIGTERM ends with exit code 0");
    let offline = carol.run(&["send", "--timeout", "1s", "#Plans", "written while the server was down"])?;
    assert_eq!(offline.code, 3, "{}", offline.stderr);
    let server = Server::start_with(data.path(), &address, &[])?;
    alice.repl(&lines(250, 500))?.success()?;
    carol.run(&["sync"])?.success()?;
    let expected: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
    let mut received = bob.texts(501)?;
    let from_carol = received.iter().position(|text| text == "written while the server was down");
    received.remove(from_carol.expect("nothing written offline is lost"));
    assert_eq!(received, expected);
    assert!(texts(&bob.receive()?).is_empty(), "nothing comes twice");

    // Carol leaves, and Bob is removed: neither reads on.
    carol.receive()?;
    carol.run(&["group", "leave", "#Plans"])?.success()?;
    alice.run(&["sync"])?.success()?;
    alice.run(&["group", "remove", "#Plans", "@bob"])?.success()?;
    alice.run(&["send", "#Plans", "talking to myself"])?.success()?;
    let after = bob.receive()?;
    assert!(texts(&after).is_empty(), "{after:?}");
    assert!(after.iter().any(|event| event["type"] == "removed"), "{after:?}");
    assert!(texts(&carol.receive()?).is_empty());
    assert_eq!(alice.json(&["group", "members", "#Plans"])?.len(), 1);
    let refused = bob.run(&["send", "#Plans", "let me in"])?.exit(1)?;
    assert!(refused.stderr.contains("removed"), "{}", refused.stderr);

    // Everything is still there after another restart, by kill -9 this time.
    server.kill()?;
    let server = Server::start_with(data.path(), &address, &[])?;
    alice.run(&["send", "@bob", "still friends"])?.success()?;
    assert_eq!(bob.texts(1)?, ["still friends"]);
    let history = alice.json(&["history", "#Plans", "--limit", "1000"])?;
    assert_eq!(texts(&history).len(), 504);
    drop(server);
    Ok(())
}

#[test]
fn two_who_begin_at_the_same_moment_end_up_in_one_conversation() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let first = alice.spawn(&["send", "@bob", "from alice"])?;
    let second = bob.spawn(&["send", "@alice", "from bob"])?;
    finish_child(first)?.success()?;
    finish_child(second)?.success()?;
    assert_eq!(alice.texts(1)?, ["from bob"]);
    assert_eq!(bob.texts(1)?, ["from alice"]);
    for person in [&alice, &bob] {
        assert_eq!(person.json(&["list"])?.len(), 1);
        let other = if person.name == "alice" { "@bob" } else { "@alice" };
        assert_eq!(texts(&person.json(&["history", other])?).len(), 2);
    }
    Ok(())
}

#[test]
fn members_change_the_group_at_the_same_moment() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let people = ["alice", "bob", "carol", "dave"].map(|name| Person::registered(&folder, name, &server.address));
    let [alice, bob, carol, dave] = people;
    let (alice, bob, carol, dave) = (alice?, bob?, carol?, dave?);
    alice.run(&["group", "create", "Plans", "@bob"])?.success()?;
    bob.run(&["sync"])?.success()?;
    // On a busy machine a commit that is made anew may take its time.
    let invite = |person: &Person, who: &str| person.spawn(&["--timeout", "60s", "group", "invite", "#Plans", who]);
    let running = [invite(&alice, "@carol")?, invite(&bob, "@dave")?];
    for child in running {
        finish_child(child)?.success()?;
    }
    alice.run(&["--timeout", "60s", "group", "rename", "#Plans", "Better plans"])?.success()?;
    alice.run(&["send", "#Better plans", "all here?"])?.success()?;
    for person in [&bob, &carol, &dave] {
        assert_eq!(person.texts(1)?, ["all here?"], "{}", person.name);
        let members = person.json(&["group", "members", "#Better plans"])?;
        assert_eq!(members.len(), 4, "{}: {members:?}", person.name);
    }
    // Who was removed can be invited again, and reads from then on.
    dave.receive()?;
    alice.run(&["--timeout", "60s", "group", "remove", "#Better plans", "@dave"])?.success()?;
    alice.run(&["send", "#Better plans", "without dave"])?.success()?;
    alice.run(&["--timeout", "60s", "group", "invite", "#Better plans", "@dave"])?.success()?;
    alice.run(&["send", "#Better plans", "with dave"])?.success()?;
    assert_eq!(dave.texts(1)?, ["with dave"]);
    dave.run(&["send", "#Better plans", "dave is back"])?.success()?;
    bob.texts(2)?;
    assert_eq!(bob.texts(1)?, ["dave is back"]);
    // The classic suite only by name, and it is shown.
    alice.run(&["--timeout", "60s", "group", "create", "Old", "@bob", "--suite", "classic"])?.success()?;
    let info = alice.run(&["--timeout", "60s", "group", "info", "#Old"])?.success()?;
    assert!(info.stdout.contains("0x0001"), "{}", info.stdout);
    let info = alice.run(&["--timeout", "60s", "group", "info", "#Better plans"])?.success()?;
    assert!(info.stdout.contains("0x004E"), "{}", info.stdout);
    alice.run(&["send", "#Old", "classic"])?.success()?;
    assert_eq!(bob.texts(1)?, ["classic"]);
    Ok(())
}

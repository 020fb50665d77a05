//! Strangers, blocked people, and contact links.

use anyhow::Result;
use qpq_tests::world::{Person, Server, texts};
use tempfile::tempdir;

#[test]
fn what_a_stranger_begins_is_a_request_until_it_is_accepted() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, eve] = ["alice", "eve"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, eve) = (alice?, eve?);
    eve.run(&["send", "@alice", "do you know me?"])?.success()?;
    let received = alice.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    assert!(received.iter().any(|event| event["type"] == "request" && event["by"] == "eve"), "{received:?}");
    let message = received.iter().find(|event| event["type"] == "message").unwrap();
    assert_eq!((&message["request"], &message["content"]["text"]), (&true.into(), &"do you know me?".into()));
    let requests = alice.json(&["requests"])?;
    assert_eq!((requests.len(), &requests[0]["conversation"]), (1, &"@eve".into()));
    // It can be read, also in the REPL, and Eve learns nothing of that.
    alice.repl(&["/switch @eve".into()])?.success()?;
    let notes = |person: &Person| person.json(&["info", "@alice", "1"]);
    eve.run(&["sync"])?.success()?;
    assert_eq!(notes(&eve)?[0]["delivered"], 0);
    assert_eq!(notes(&eve)?[0]["read"], 0);

    alice.run(&["accept", "@eve"])?.success()?;
    assert!(alice.json(&["requests"])?.is_empty());
    eve.run(&["send", "@alice", "thank you"])?.success()?;
    let received = alice.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    let message = received.iter().find(|event| event["type"] == "message").unwrap();
    assert_eq!(message["request"], false);

    // Whoever was written to first is no stranger.
    let bob = Person::registered(&folder, "bob", &server.address)?;
    bob.run(&["send", "@alice", "hello"])?.success()?;
    alice.texts(1)?;
    alice.run(&["send", "@bob", "hello yourself"])?.success()?;
    assert!(alice.json(&["requests"])?.is_empty(), "an answer accepts");
    Ok(())
}

#[test]
fn nothing_is_heard_of_blocked_people() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, eve] = ["alice", "bob", "eve"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob, eve) = (alice?, bob?, eve?);
    eve.run(&["send", "@alice", "before"])?.success()?;
    alice.texts(1)?;
    alice.run(&["group", "create", "team", "@bob", "@eve"])?.success()?;
    for person in [&bob, &eve] {
        person.run(&["sync"])?.success()?;
    }
    alice.run(&["block", "@eve"])?.success()?;
    assert!(alice.run(&["send", "@eve", "no"])?.exit(1)?.stderr.contains("blocked"));
    eve.run(&["send", "@alice", "in private"])?.success()?;
    eve.run(&["send", "#team", "in the group"])?.success()?;
    eve.run(&["group", "create", "trap", "@alice"])?.success()?;
    eve.run(&["send", "#trap", "in a new group"])?.success()?;
    bob.run(&["send", "#team", "bob speaks"])?.success()?;
    let received = alice.json(&["recv", "--timeout", "20s", "--max", "1"])?;
    assert_eq!(texts(&received), ["bob speaks"]);
    assert!(received.iter().all(|event| event["by"] != "eve" && event["sender"] != "eve"), "{received:?}");
    assert!(alice.receive()?.is_empty());
    let listed = alice.json(&["list"])?;
    assert_eq!(listed.len(), 1, "{listed:?}");

    alice.run(&["unblock", "@eve"])?.success()?;
    eve.run(&["send", "@alice", "after"])?.success()?;
    assert_eq!(alice.texts(1)?, ["after"]);
    assert_eq!(texts(&alice.json(&["history", "@eve"])?), ["before", "after"], "what came meanwhile is not shown");
    Ok(())
}

#[test]
fn a_contact_link_catches_a_server_that_lies() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, mallory] =
        ["alice", "bob", "mallory"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob, mallory) = (alice?, bob?, mallory?);
    let link =
        |person: &Person| -> Result<String> { Ok(person.json(&["contact"])?[0]["link"].as_str().unwrap().to_owned()) };
    let (of_bob, of_mallory) = (link(&bob)?, link(&mallory)?);
    assert!(of_bob.starts_with("qpq:contact?server=127.0.0.1:"), "{of_bob}");
    let imported = alice.json(&["contact", "import", &of_bob])?;
    assert_eq!(imported[0]["name"], "bob");
    alice.run(&["send", "@bob", "as the link says"])?.success()?;
    assert_eq!(bob.texts(1)?, ["as the link says"]);

    // A link that gives a name to somebody else changes nothing that is pinned.
    let forged = of_mallory.replace("user=mallory", "user=bob");
    let refused = alice.run(&["contact", "import", &forged])?.exit(1)?;
    assert!(refused.stderr.contains("another identity"), "{}", refused.stderr);
    // Before first contact the link decides: the server names another identity, and nothing is sent.
    let carol = Person::registered(&folder, "carol", &server.address)?;
    carol.run(&["contact", "import", &forged])?.success()?;
    carol.run(&["send", "@bob", "for whom?"])?.exit(4)?;
    for broken in ["", "qpq:contact?user=bob", &of_bob[..of_bob.len() - 1], &link(&alice)?] {
        alice.run(&["contact", "import", broken])?.exit(1)?;
    }
    Ok(())
}

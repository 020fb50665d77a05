//! Several devices of one account.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{Done, Person, Server, finish_child, texts};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// A new device that shows its code and waits.
struct NewDevice {
    person: Person,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    code: String,
    link: String,
}

impl NewDevice {
    fn start(folder: &TempDir, directory: &str, server: &str, arguments: &[&str]) -> Result<Self> {
        let person = Person::new(folder, directory, server);
        let mut child = person.command(&[&["--json", "link"], arguments].concat()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        let shown = line(&mut lines)?;
        ensure!(shown["type"] == "link_code", "{shown}");
        let text = |field: &str| shown[field].as_str().map(str::to_owned).context("a text");
        Ok(Self { code: text("code")?, link: text("link")?, person, child, lines })
    }

    /// The number that it shows, once another device answers.
    fn number(&mut self) -> Result<String> {
        let shown = line(&mut self.lines)?;
        ensure!(shown["type"] == "link_compare", "{shown}");
        Ok(shown["number"].as_str().context("a number")?.to_owned())
    }

    /// It is linked.
    fn linked(mut self) -> Result<(Person, Value)> {
        let shown = line(&mut self.lines)?;
        ensure!(shown["type"] == "linked", "{shown}");
        finish_child(self.child)?.success()?;
        Ok((self.person, shown))
    }
}

fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Value> {
    Ok(serde_json::from_str(&lines.next().context("the command ended early")??)?)
}

/// A further device of `person`, taken in from the command line.
fn link(folder: &TempDir, person: &Person, directory: &str) -> Result<(Person, Value)> {
    let mut device = NewDevice::start(folder, directory, &person.server, &["--device-name", directory])?;
    let approved = person.run(&["--json", "link", "--yes", &device.code])?.success()?.json()?;
    assert_eq!(approved[0]["number"], device.number()?.as_str());
    assert_eq!(approved.last().unwrap()["device"], directory);
    device.linked()
}

fn of_type<'v>(events: &'v [Value], kind: &str) -> Vec<&'v Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn own_id(person: &Person) -> Result<String> {
    Ok(person.json(&["whoami"])?[0]["device"].as_str().context("an id")?.to_owned())
}

#[test]
fn a_second_device_is_in_everything_and_hears_everything() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob] = ["alice", "bob"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob) = (alice?, bob?);
    for group in ["One", "Two", "Three"] {
        alice.run(&["group", "create", group, "@bob"])?.success()?;
    }
    bob.run(&["send", "@alice", "hello"])?.success()?;
    assert_eq!(alice.texts(1)?, ["hello"]);
    bob.run(&["verify", "@alice", "--confirm"])?.success()?;
    alice.run(&["verify", "@bob", "--confirm"])?.success()?;
    bob.receive()?;

    // The old device is a REPL on a pipe, in which the user compares.
    let mut device = NewDevice::start(&folder, "phone", &server.address, &["--device-name", "phone"])?;
    let mut repl = alice.command(&["--json", "repl"]).stdin(Stdio::piped()).spawn()?;
    let mut typed = repl.stdin.take().context("piped")?;
    writeln!(typed, "/link {}", device.link)?;
    let number = device.number()?;
    writeln!(typed, "/link yes")?;
    drop(typed);
    let repl = finish_child(repl)?.success()?.json()?;
    assert_eq!(of_type(&repl, "link_compare")[0]["number"], number.as_str());
    assert_eq!(of_type(&repl, "device_linked").len(), 1);
    let (phone, linked) = device.linked()?;
    assert_eq!((&linked["name"], &linked["groups"], &linked["failed"]), (&"alice".into(), &4.into(), &0.into()));

    // Everybody sees it; nobody's trust is touched.
    let seen = bob.receive()?;
    let added = of_type(&seen, "device_added");
    assert_eq!(added.len(), 4, "{seen:?}");
    assert!(added.iter().all(|event| event["who"] == "alice" && event["name"] == "phone"));
    assert_eq!(bob.json(&["trust", "@alice"])?[0]["trust"], "verified");
    assert_eq!(phone.json(&["trust", "@bob"])?[0]["trust"], "verified", "the new device knows whom one trusts");
    let titles: Vec<_> = phone.json(&["list"])?.iter().map(|one| one["title"].as_str().unwrap().to_owned()).collect();
    for title in ["One", "Two", "Three", "bob"] {
        assert!(titles.contains(&title.to_owned()), "{titles:?}");
    }

    // From now on, all that anybody says reaches both.
    alice.receive()?;
    bob.run(&["send", "#Two", "from bob"])?.success()?;
    bob.run(&["send", "@alice", "privately"])?.success()?;
    alice.run(&["send", "#Two", "from the laptop"])?.success()?;
    phone.run(&["send", "#Two", "from the phone"])?.success()?;
    let expected = ["from bob", "from the laptop", "from the phone", "privately"];
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    let heard = sorted(texts(&phone.json(&["recv", "--timeout", "20s", "--max", "3"])?));
    assert_eq!(heard, ["from bob", "from the laptop", "privately"]);
    let heard = alice.json(&["recv", "--timeout", "20s", "--max", "3"])?;
    assert_eq!(sorted(texts(&heard)), ["from bob", "from the phone", "privately"]);
    let own = heard.iter().find(|event| event["content"]["text"] == "from the phone").unwrap();
    assert_eq!((&own["own"], &own["sender"]), (&true.into(), &"alice".into()));
    let shown = |person: &Person| -> Result<Vec<String>> { Ok(sorted(texts(&person.json(&["history", "#Two"])?))) };
    assert_eq!(sorted(bob.texts(2)?), ["from the laptop", "from the phone"]);
    assert_eq!(shown(&alice)?, expected[..3]);
    assert_eq!(shown(&phone)?, expected[..3]);
    assert_eq!(shown(&bob)?, expected[..3]);

    // Both at once.
    let (one, other) = (alice.spawn(&["send", "#One", "at once 1"])?, phone.spawn(&["send", "#One", "at once 2"])?);
    finish_child(one)?.success()?;
    finish_child(other)?.success()?;
    assert_eq!(sorted(bob.texts(2)?), ["at once 1", "at once 2"]);

    // New groups, of either and of others, have both.
    phone.run(&["group", "create", "Phones", "@bob"])?.success()?;
    bob.run(&["group", "create", "Bobs", "@alice"])?.success()?;
    for (person, group) in [(&alice, "#Phones"), (&alice, "#Bobs"), (&phone, "#Bobs")] {
        person.run(&["sync"])?.success()?;
        person.run(&["send", group, "in"])?.success()?;
    }
    Ok(())
}

#[test]
fn an_unlinked_device_is_out_at_once() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob] = ["alice", "bob"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob) = (alice?, bob?);
    alice.run(&["group", "create", "Team", "@bob"])?.success()?;
    let (phone, _) = link(&folder, &alice, "phone")?;
    phone.run(&["send", "#Team", "from the phone"])?.success()?;

    let devices = alice.json(&["devices"])?;
    assert_eq!(devices.len(), 2);
    assert_eq!(devices.iter().filter(|device| device["this"] == true).count(), 1);
    assert!(devices.iter().any(|device| device["name"] == "phone" && device["added_at"].is_string()), "{devices:?}");
    alice.run(&["devices", "rename", "desk"])?.success()?;
    alice.run(&["devices", "rename", "--device", "phone", "old phone"])?.success()?;
    let names: Vec<_> = phone.json(&["devices"])?.iter().map(|one| one["name"].clone()).collect();
    assert!(names.contains(&"desk".into()) && names.contains(&"old phone".into()), "{names:?}");
    let own = own_id(&alice)?;
    let refused = alice.run(&["unlink", &own])?.exit(1)?;
    assert!(refused.stderr.contains("from another one"), "{}", refused.stderr);
    alice.run(&["unlink", "nothing"])?.exit(1)?;

    // It is listening when it is unlinked: that ends, and says why.
    let listening = phone.command(&["--json", "recv", "--follow", "--max", "100", "--timeout", "60s"]).spawn()?;
    alice.run(&["send", "#Team", "before"])?.success()?;
    alice.run(&["unlink", "old phone"])?.success()?;
    assert_eq!(alice.json(&["devices"])?.len(), 1);
    let refused = phone.run(&["send", "#Team", "still here?", "--timeout", "20s"])?;
    let Done { code, stderr, .. } = refused;
    assert!(code != 0 && stderr.contains("another qpq is using"), "{stderr}");
    kill(listening)?;
    let refused = phone.run(&["sync"])?.exit(1)?;
    assert!(refused.stderr.contains("unlinked"), "{}", refused.stderr);
    assert!(texts(&phone.json(&["history", "#Team"])?).contains(&"from the phone".to_owned()), "still readable");

    // Everybody sees it go, and it reads nothing any more.
    alice.run(&["send", "#Team", "after"])?.success()?;
    let seen = bob.json(&["recv", "--timeout", "20s", "--max", "3"])?;
    assert_eq!(texts(&seen), ["from the phone", "before", "after"]);
    assert_eq!(of_type(&seen, "device_removed").len(), 1, "{seen:?}");
    let members = bob.json(&["group", "members", "#Team"])?;
    let alice_there = members.iter().find(|member| member["name"] == "alice").unwrap();
    assert_eq!((&alice_there["devices"], &alice_there["unchecked"]), (&1.into(), &false.into()));
    assert!(!texts(&phone.json(&["history", "#Team"])?).contains(&"after".to_owned()));
    Ok(())
}

fn kill(mut child: Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn a_code_is_good_once_and_only_for_its_device() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob] = ["alice", "bob"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob) = (alice?, bob?);
    let mut device = NewDevice::start(&folder, "phone", &server.address, &[])?;
    alice.run(&["--json", "link", "--yes", &device.code])?.success()?;
    device.number()?;
    let code = device.code.clone();
    device.linked()?;
    let refused = bob.run(&["link", "--yes", &code])?.exit(1)?;
    assert!(refused.stderr.contains("has been used"), "{}", refused.stderr);

    let unknown = code.replace(&code[..4], if code.starts_with("0000") { "1111" } else { "0000" });
    let refused = alice.run(&["link", "--yes", &unknown])?.exit(1)?;
    assert!(refused.stderr.contains("unknown"), "{}", refused.stderr);
    let refused = alice.run(&["link", "--yes", "nonsense"])?.exit(1)?;
    assert!(refused.stderr.contains("link code"), "{}", refused.stderr);

    // Without a yes nothing happens.
    let mut device = NewDevice::start(&folder, "tablet", &server.address, &[])?;
    let refused = alice.run(&["link", &device.code])?.exit(1)?;
    assert!(refused.stderr.contains("nothing was linked"), "{}", refused.stderr);
    device.number()?;
    kill(device.child)?;
    assert_eq!(alice.json(&["devices"])?.len(), 2);

    // Where there is a profile, and where there is none.
    let refused = alice.run(&["link"])?.exit(1)?;
    assert!(refused.stderr.contains("another directory"), "{}", refused.stderr);
    let elsewhere = Person::new(&folder, "elsewhere", &server.address);
    let refused = elsewhere.run(&["login", "alice"])?.exit(1)?;
    assert!(refused.stderr.contains("qpq link") && refused.stderr.contains("qpq recover"), "{}", refused.stderr);
    Ok(())
}

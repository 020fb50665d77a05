//! Earlier messages on a new device of the same person, whatever interrupts their way.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use qpq_client::{Client, Error, Linking, Options, Progress, SecretString, Step};
use qpq_proto::blobs::PART;
use qpq_tests::world::{PASSWORD, Person, Server, texts};
use tempfile::{TempDir, tempdir};

fn options(person: &Person) -> Result<Options> {
    let server = Some(person.server.parse().map_err(|_| anyhow::anyhow!("an address"))?);
    Ok(Options { home: person.home.clone(), server, ca_cert: None, fingerprint: None })
}

fn password() -> SecretString {
    SecretString::from(PASSWORD.to_owned())
}

fn unread(person: &Person) -> Result<Vec<u64>> {
    Ok(person.json(&["list"])?.iter().map(|one| one["unread"].as_u64().unwrap_or_default()).collect())
}

/// The new device, through the library, with a history; and the old one, which has not sent it yet.
fn linked(folder: &TempDir, old: &Person, name: &str) -> Result<(Person, Client, Client)> {
    let new = Person::new(folder, name, &old.server);
    let linking = Linking::begin(&options(&new)?, Some(name))?;
    let host = Client::open(&options(old)?, &password())?;
    host.connect();
    let code = linking.code();
    let introduced = thread::spawn(move || {
        let hello = linking.wait(PATIENCE, &|| false)?;
        linking.introduce(&hello)
    });
    let pending = host.link_offered(&code, PATIENCE)?;
    let introduced = introduced.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    ensure!(introduced.comparison() == pending.comparison());
    host.link_approve(&pending, true, PATIENCE)?;
    let approval = introduced.wait(PATIENCE, &|| false)?;
    let client = introduced.accept(&approval, &password())?;
    client.wait_settled(PATIENCE)?;
    Ok((new, client, host))
}

/// Ends the transfer as soon as the first parts are through.
fn interrupted(client: &Client, step: Step) -> Result<()> {
    let mut stop = |progress: Progress| match progress.step == step && progress.done > 0 {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let outcome = client.carry_histories(true, PATIENCE, &mut stop);
    ensure!(matches!(outcome, Err(Error::Stopped)), "{step:?}: {outcome:?}");
    Ok(())
}

#[test]
fn a_new_device_gets_the_history_that_it_is_to_get() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["group", "create", "team", "@bob"])?.success()?;
    alice.run(&["send", "#team", "shall we meet at noon?"])?.success()?;
    bob.texts(1)?;
    bob.run(&["react", "#team", "1", "👍"])?.success()?;
    bob.run(&["send", "#team", "where?"])?.success()?;
    bob.run(&["send", "@alice", "privately"])?.success()?;
    alice.texts(2)?;
    alice.run(&["edit", "#team", "1", "shall we meet at one?"])?.success()?;
    bob.run(&["sync"])?.success()?;

    let link = |name: &str, history: &[&str]| -> Result<_> {
        let new = Person::new(&folder, name, &server.address);
        let mut child = new.command(&["--json", "link", "--device-name", name]).spawn()?;
        let code = first_line(&mut child)?["code"].as_str().unwrap_or_default().to_owned();
        let approved = alice.run(&[&["--json", "link", "--yes"], history, &[&code]].concat())?.success()?.json()?;
        ensure!(approved.iter().any(|line| line["type"] == "device_linked" && line["history"] == !history.is_empty()));
        let done = qpq_tests::world::finish_child(child)?.success()?.json()?;
        Ok((new, done.last().cloned().unwrap_or_default()))
    };
    let (phone, summary) = link("phone", &["--history"])?;
    assert_eq!((&summary["messages"], &summary["failed"]), (&3.into(), &0.into()), "{summary}");
    let shown = phone.json(&["history", "#team"])?;
    assert_eq!(texts(&shown), ["shall we meet at one?", "where?"]);
    assert_eq!(shown[0]["reactions"], serde_json::json!([{"emoji": "👍", "by": ["bob"]}]), "{shown:?}");
    assert!(shown[0]["edited_at"].is_string(), "{shown:?}");
    assert_eq!(texts(&phone.json(&["history", "@bob"])?), ["privately"]);
    assert_eq!(texts(&phone.json(&["history", "#team", "--search", "at one"])?), ["shall we meet at one?"]);
    assert_eq!(unread(&phone)?, [0, 0]);
    assert_eq!(texts(&phone.receive()?).len(), 0, "nothing of it is news");
    // The numbers are the same on both, and go on.
    alice.run(&["sync"])?.success()?;
    bob.run(&["send", "#team", "at the river"])?.success()?;
    assert_eq!(phone.texts(1)?, ["at the river"]);
    assert_eq!(phone.json(&["history", "#team"])?[2]["number"], 3);

    let (tablet, summary) = link("tablet", &[])?;
    assert_eq!(summary["messages"], 0, "in scripts only when it is asked for");
    assert_eq!(texts(&tablet.json(&["history", "#team"])?).len(), 0);
    Ok(())
}

#[test]
fn a_history_goes_on_after_both_devices_were_interrupted() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    alice.run(&["group", "create", "notes"])?.success()?;
    // Some twenty parts.
    let long: Vec<_> = (0..30).map(|number| format!("{number} {}", "x".repeat(40_000))).collect();
    alice.repl(&[vec!["/switch #notes".to_owned()], long.clone(), vec!["/quit".to_owned()]].concat())?.success()?;
    alice.run(&["sync"])?.success()?;
    assert_eq!(texts(&alice.json(&["history", "#notes", "--limit", "100"])?).len(), 30);

    let (phone, client, host) = linked(&folder, &alice, "phone")?;
    interrupted(&host, Step::Sending)?;
    host.close();
    let mut at_once = |_: Progress| ControlFlow::Continue(());
    let early = client.carry_histories(false, PATIENCE, &mut at_once);
    assert!(matches!(early, Err(Error::TimedOut(_))), "the other half is not there yet");
    alice.run(&["sync"])?.success()?;
    interrupted(&client, Step::Receiving)?;
    client.close();

    // Another process, which need not fetch again what has come.
    let client = Client::open(&options(&phone)?, &password())?;
    client.connect();
    client.wait_settled(PATIENCE)?;
    let mut first = None;
    let carried = client.carry_histories(true, PATIENCE, &mut |progress| {
        if progress.step == Step::Receiving && progress.done > 0 && first.is_none() {
            first = Some(progress.done);
        }
        ControlFlow::Continue(())
    })?;
    assert_eq!((carried.received, carried.messages, carried.failed), (1, 30, 0));
    assert!(!client.has_history_under_way()?);
    client.close();
    assert!(first >= Some(PART as u64), "it goes on where it was");
    assert_eq!(texts(&phone.json(&["history", "#notes", "--limit", "100"])?), long);
    assert_eq!(unread(&phone)?, [0]);
    Ok(())
}

/// The first line that a command prints; it goes on.
fn first_line(child: &mut std::process::Child) -> Result<serde_json::Value> {
    use std::io::Read as _;
    let (stdout, mut line) = (child.stdout.as_mut().ok_or_else(|| anyhow::anyhow!("piped"))?, Vec::new());
    while line.last() != Some(&b'\n') {
        // Byte by byte: the rest is for whoever waits for the end.
        let mut byte = [0];
        stdout.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(serde_json::from_slice(&line)?)
}

const PATIENCE: Duration = Duration::from_secs(60);

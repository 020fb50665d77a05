//! Programs around `qpq`: positions, bots, manual pages, transcripts.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{Person, Server, binaries, finish_child, texts};
use tempfile::tempdir;

#[test]
fn whoever_keeps_the_position_misses_nothing() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.repl(&["/dm @bob one".into(), "two".into(), "three".into()])?.success()?;
    let all = bob.json(&["recv", "--after", "0", "--timeout", "20s", "--max", "3"])?;
    assert_eq!(texts(&all), ["one", "two", "three"]);
    let positions: Vec<u64> = all.iter().filter_map(|event| event["position"].as_u64()).collect();
    ensure!(positions.len() == all.len() && positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    // The same again, the rest only, and the kept positions of others are not touched.
    assert_eq!(bob.json(&["recv", "--after", "0", "--max", "3"])?.len(), all.len());
    let second = all.iter().find(|event| event["content"]["text"] == "two").context("two")?["position"].to_string();
    assert_eq!(texts(&bob.json(&["recv", "--after", &second, "--timeout", "1s"])?), ["three"]);
    assert_eq!(texts(&bob.json(&["recv", "--consumer", "one"])?), ["one", "two", "three"]);
    assert!(bob.json(&["recv", "--consumer", "one", "--timeout", "1s"])?.is_empty());
    assert_eq!(texts(&bob.json(&["recv"])?), ["one", "two", "three"]);
    Ok(())
}

#[test]
fn the_bot_of_the_examples_answers_everybody() -> Result<()> {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("skipped: jq is not installed");
        return Ok(());
    }
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let echo = Person::registered(&folder, "echo", &server.address)?;
    let said = ["hello", "$(rm -rf /) `x` \"quoted\" \\n", "two\nlines"];
    for text in said {
        alice.run(&["send", "@echo", text])?.success()?;
    }
    alice.run(&["group", "create", "all of us", "@echo"])?.success()?;
    alice.run(&["send", "#all of us", "and here?"])?.success()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/echo.sh");
    let path = format!("{}:{}", binaries().display(), std::env::var("PATH")?);
    let mut answered = vec![];
    // Each round is a bot that was started anew.
    for _ in 0..10 {
        let mut bot = Command::new("bash");
        bot.arg(script).env("PATH", &path).env("QPQ_HOME", &echo.home).env("QPQ_SERVER", &server.address);
        bot.env("QPQ_PASSWORD", qpq_tests::world::PASSWORD).env("ECHO_ONCE", "1").env("ECHO_WAIT", "2s");
        bot.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish_child(bot.spawn()?)?.success()?;
        answered.extend(texts(&alice.receive()?));
        if answered.len() > said.len() {
            break;
        }
    }
    // Each conversation has its own order.
    let in_the_group = answered.iter().position(|text| text == "and here?").context("no answer in the group")?;
    answered.remove(in_the_group);
    assert_eq!(answered, said);
    Ok(())
}

#[test]
fn transcripts_are_checked_and_never_replace_a_file() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["group", "create", "team", "@bob"])?.success()?;
    let lines: Vec<String> = (0..30).map(|number| format!("line {number}")).collect();
    alice.repl(&[vec!["/switch #team".to_owned()], lines.clone()].concat())?.success()?;
    bob.run(&["sync"])?.success()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let archive = file("team.qpq");
    let written = bob.json(&["export", "#team", &archive])?;
    assert_eq!((&written[0]["type"], &written[0]["messages"]), (&"export".into(), &30.into()));
    let again = bob.run(&["export", "#team", &archive])?.exit(1)?;
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let bytes = fs::read(&archive)?;
    ensure!(!bytes.windows(4).any(|window| window == b"line"), "an archive is encrypted");

    // Anybody with the passphrase can check it, without a profile.
    let stranger = Person::new(&folder, "nobody", "127.0.0.1:1");
    let checked = stranger.json(&["export", "--verify", &archive])?;
    assert_eq!(texts(&checked), lines);
    let last = checked.last().context("a last line")?;
    let identity = bob.json(&["whoami"])?.remove(0)["identity"].clone();
    assert_eq!((&last["type"], &last["messages"], &last["exported_by"]), (&"verified".into(), &30.into(), &identity));
    let wrong = stranger.run_with_password("another", &["export", "--verify", &archive])?.exit(1)?;
    assert!(wrong.stderr.contains("wrong passphrase"), "{}", wrong.stderr);
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&archive, changed)?;
    let refused = stranger.run(&["export", "--verify", &archive])?.exit(1)?;
    assert!(refused.stderr.contains("was changed"), "{}", refused.stderr);
    fs::write(&archive, &bytes[..bytes.len() - 10])?;
    stranger.run(&["export", "--verify", &archive])?.exit(1)?;

    // Plain files on request.
    bob.run(&["export", "#team", &file("team.md"), "--format", "markdown"])?.success()?;
    let text = fs::read_to_string(file("team.md"))?;
    assert!(text.starts_with("# \\#team\n") && text.contains("**@alice**") && text.contains("line 29"), "{text}");
    bob.run(&["export", "#team", &file("team.json"), "--format", "json"])?.success()?;
    let objects: Vec<serde_json::Value> =
        fs::read_to_string(file("team.json"))?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(texts(&objects), lines);

    // And the manual, on the way.
    bob.run(&["man", &file("man")])?.success()?;
    let page = fs::read_to_string(file("man/qpq-export.1"))?;
    assert!(page.contains("tamper"), "{page}");
    Ok(())
}

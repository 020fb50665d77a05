//! Files: sent once whatever the number of members, interrupted anywhere, and harmless whatever they are called.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_client::{Attachment, Client, ConversationId, Options, SecretString};
use qpq_io::db::{DbKey, OpenOptions, open};
use qpq_proto::blobs::{PART, sealed};
use qpq_tests::relay::{Direction, Hole, Relay};
use qpq_tests::world::{PASSWORD, Person, Server, finish_child};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Bytes that do not repeat from part to part.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (at / 65_536) as u8).collect()
}

fn write(folder: &TempDir, name: &str, content: &[u8]) -> Result<PathBuf> {
    let path = folder.path().join(name);
    fs::write(&path, content)?;
    Ok(path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the paths of tests are UTF-8")
}

fn send(person: &Person, to: &str, path: &Path) -> Result<Value> {
    let printed = person.json(&["send-file", to, text(path)])?;
    let line = printed.into_iter().next_back().context("a line")?;
    ensure!(line["type"] == "send" && line["status"] == "sent", "{line}");
    Ok(line)
}

fn download(person: &Person, from: &str, number: u64, directory: &Path) -> Result<Value> {
    let printed = person.json(&["download", from, &number.to_string(), "--to", text(directory)])?;
    printed.into_iter().next_back().context("a line")
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The size, and how much of it there is, of every blob in the database of a server.
fn blobs(data: &Path) -> Result<Vec<(i64, i64)>> {
    let key = DbKey::load_or_create(&data.join("db.key"), false)?;
    let database =
        open(&data.join("qpq.db"), &key, &OpenOptions { cache_kib: 1024, read_only: true, ..OpenOptions::default() })?;
    let mut statement = database.prepare("SELECT size, received FROM blobs ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[test]
fn a_file_is_uploaded_once_and_reaches_everybody() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::registered(&folder, name, &server.address));
    let (alice, bob, carol) = (alice?, bob?, carol?);
    alice.run(&["group", "create", "Plans", "@bob", "@carol"])?.success()?;
    let cases = [
        ("empty", content(0), "application/octet-stream"),
        ("one byte.txt", content(1), "text/plain"),
        ("plan.txt", [b"%PDF-1.7\n", &content(100)[..]].concat(), "application/pdf"),
        ("large.bin", content(3 * 1024 * 1024 + 7), "application/octet-stream"),
    ];
    let mut hashes = Vec::new();
    for (name, content, _) in &cases {
        hashes.push(send(&alice, "#Plans", &write(&folder, name, content)?)?["sha256"].clone());
    }
    let expected: Vec<_> = cases.iter().map(|(_, content, _)| sealed(content.len() as u64) as i64).collect();
    assert_eq!(blobs(data.path())?, expected.iter().map(|size| (*size, *size)).collect::<Vec<_>>());

    for person in [&bob, &carol, &alice] {
        person.run(&["sync"])?.success()?;
        let messages = person.json(&["history", "#Plans"])?;
        let directory = tempdir()?;
        assert_eq!(messages.len(), cases.len());
        for (((name, content, media_type), hash), message) in cases.iter().zip(&hashes).zip(&messages) {
            let described = &message["content"];
            assert_eq!(described["name"], *name);
            assert_eq!(described["media_type"], *media_type);
            assert_eq!(described["size"], content.len());
            assert_eq!(&described["sha256"], hash);
            let number = message["number"].as_u64().context("a number")?;
            let saved = download(person, "#Plans", number, directory.path())?;
            let path = directory.path().join(name);
            assert_eq!(saved["path"], text(&path));
            assert_eq!((&saved["sha256"], saved["size"].as_u64()), (hash, Some(content.len() as u64)));
            assert!(fs::read(&path)? == *content, "{name}");
        }
        assert_eq!(names(directory.path())?.len(), cases.len(), "nothing else is left there");
    }
    // Nobody has sent it again.
    assert_eq!(blobs(data.path())?.len(), cases.len());
    Ok(())
}

#[test]
fn what_is_larger_than_the_server_takes_is_refused_clearly() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", &[("QPQ_SERVER__LIMITS__MAX_FILE", "1MiB")])?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    send(&alice, "@me", &write(&folder, "fits", &content(1024 * 1024))?)?;
    let larger = write(&folder, "larger", &content(1024 * 1024 + 1))?;
    let refused = alice.run(&["send-file", "@me", text(&larger)])?.exit(1)?;
    assert!(refused.stderr.contains("at most 1MiB (limits.max_file)"), "{}", refused.stderr);
    for (path, reason) in [("/no/such/file", "cannot read"), (text(folder.path()), "is not a file")] {
        let refused = alice.run(&["send-file", "@me", path])?.exit(1)?;
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    }
    alice.run(&["send-file", "@me"])?.exit(2)?;
    assert_eq!(alice.json(&["history", "@me"])?.len(), 1);
    Ok(())
}

#[test]
fn nothing_is_replaced_without_being_told_to() -> Result<()> {
    let (folder, data, directory) = (tempdir()?, tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    send(&alice, "@me", &write(&folder, "notes", b"from the server")?)?;
    let mine = directory.path().join("notes");
    fs::write(&mine, "mine")?;
    let to = text(directory.path());
    let refused = alice.run(&["download", "@me", "1", "--to", to])?.exit(1)?;
    assert!(refused.stderr.contains("is there already; replace it with --force"), "{}", refused.stderr);
    assert_eq!(fs::read(&mine)?, b"mine");
    alice.run(&["download", "@me", "1", "--to", to, "--force"])?.success()?;
    assert_eq!(fs::read(&mine)?, b"from the server");
    assert_eq!(names(directory.path())?, ["notes"]);
    for (arguments, reason) in [
        (&["download", "@me", "7"][..], "no message 7"),
        (&["download", "@me", "1", "--to", "/no/such/folder"], "there is no directory"),
    ] {
        let refused = alice.run(arguments)?.exit(1)?;
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    }
    // In the REPL the conversation is the open one, and `~` and quotes are understood.
    let lines = ["/dm @me".to_owned(), "hello".into(), format!("/dl 2 \"{to}\""), format!("/dl 1 {to} --force")];
    let done = alice.repl(&lines)?.exit(1)?;
    assert!(done.stderr.contains("message 2 has no file") && done.stdout.contains("SHA-256"), "{}", done.stdout);
    let sent = alice.repl(&["/dm @me".into(), format!("/sf \"{}\"", text(&mine))])?.success()?;
    assert!(!sent.stderr.contains('%'), "no progress is shown on a pipe: {}", sent.stderr);
    let history = alice.run(&["history", "@me"])?.success()?;
    assert!(history.stdout.contains("[file notes, 15 B] /download 3"), "{}", history.stdout);
    Ok(())
}

/// A client in this process, for what the programs do not do.
fn client(person: &Person) -> Result<Client> {
    let options =
        Options { home: person.home.clone(), server: Some(person.server.parse()?), ca_cert: None, fingerprint: None };
    let client = Client::open(&options, &SecretString::new(PASSWORD.into()))?;
    client.connect();
    Ok(client)
}

/// Uploads something and tells about it with lies.
fn send_with<L: Fn(&mut Attachment)>(person: &Person, content: &[u8], lies: impl IntoIterator<Item = L>) -> Result<()> {
    let client = client(person)?;
    let notepad = ConversationId::Direct(client.whoami()?.identity);
    client.direct(client.whoami()?.identity)?;
    let patience = Duration::from_secs(60);
    let stored = client.upload(std::io::Cursor::new(content), None, patience, &mut |_| ControlFlow::Continue(()))?;
    for lie in lies {
        let mut file = Attachment {
            blob: stored.blob,
            key: stored.key,
            sha256: stored.sha256,
            size: stored.size,
            name: "honest".into(),
            media_type: "text/plain".into(),
        };
        lie(&mut file);
        let message = client.send_attachment(notepad, file, None)?;
        client.wait_sent(message, patience)?;
    }
    client.close();
    Ok(())
}

#[test]
fn whatever_its_name_a_file_lands_in_the_chosen_directory() -> Result<()> {
    let (folder, data, outer) = (tempdir()?, tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let absolute = format!("{}/absolute", outer.path().display());
    let cases = [
        ("../../x", "x"),
        ("../x", "x"),
        (&absolute[..], "absolute"),
        ("..\\..\\x", "x"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("a\0b\n\u{1b}[2J", "ab[2J"),
        ("CON.txt", "_CON.txt"),
        ("-rf", "_-rf"),
    ];
    let lies = cases.map(|(name, _)| move |file: &mut Attachment| file.name = name.to_owned());
    send_with(&alice, b"harmless", lies)?;
    for (number, (name, expected)) in (1..).zip(cases) {
        let directory = outer.path().join(format!("a/b/{number}"));
        fs::create_dir_all(&directory)?;
        let saved = download(&alice, "@me", number, &directory)?;
        assert_eq!(saved["path"], text(&directory.join(expected)), "{name:?}");
        assert_eq!(names(&directory)?, [expected], "{name:?}");
    }
    assert_eq!(names(outer.path())?, ["a"]);
    assert_eq!(names(&outer.path().join("a"))?, ["b"]);
    let shown = alice.run(&["history", "@me"])?.success()?.stdout;
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    Ok(())
}

#[test]
fn lies_about_a_file_are_refused_and_leave_nothing() -> Result<()> {
    let (folder, data, directory) = (tempdir()?, tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let lies: [&dyn Fn(&mut Attachment); 6] = [
        &|file| file.sha256[0] ^= 1,
        &|file| file.key[0] ^= 1,
        &|file| file.size -= 1,
        &|file| file.size += 1,
        &|file| file.size *= 100,
        &|file| file.size = u64::MAX,
    ];
    send_with(&alice, &content(200_000), lies)?;
    for number in 1..=lies.len() {
        let to = text(directory.path());
        let refused = alice.run(&["download", "@me", &number.to_string(), "--to", to])?.exit(1)?;
        let reasons = ["not what the message says", "no file has more than"];
        assert!(reasons.iter().any(|reason| refused.stderr.contains(reason)), "{number}: {}", refused.stderr);
        assert!(names(directory.path())?.is_empty(), "{number}: {:?}", names(directory.path())?);
    }
    Ok(())
}

/// Waits until the network has let through what it was allowed to.
fn run_dry(relay: &Relay) -> Result<()> {
    let began = Instant::now();
    while !relay.has_run_dry() {
        ensure!(began.elapsed() < PATIENCE, "the transfer did not come that far");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

struct Stage {
    folder: TempDir,
    data: TempDir,
    server: Server,
    relay: Relay,
    alice: Person,
    content: Vec<u8>,
    path: PathBuf,
}

/// Parts of the file.
const PARTS: usize = 4;

impl Stage {
    fn set() -> Result<Self> {
        let (folder, data) = (tempdir()?, tempdir()?);
        let server = Server::start(data.path())?;
        let relay = Relay::start(&server.address, 0)?;
        let alice = Person::registered(&folder, "alice", &relay.address)?;
        let content = content(PARTS * 65_536 - 9000);
        let path = write(&folder, "file", &content)?;
        Ok(Self { folder, data, server, relay, alice, content, path })
    }

    /// Kills the server and starts it again at the same address.
    fn restart(self) -> Result<Self> {
        let Self { folder, data, server, relay, alice, content, path } = self;
        let address = server.address.clone();
        server.kill()?;
        let server = Server::start_with(data.path(), &address, &[])?;
        Ok(Self { folder, data, server, relay, alice, content, path })
    }

    /// The network fails when it has let through about so many parts.
    fn fail_after(&self, direction: Direction, parts: usize) {
        self.relay.set_allowance(direction, HANDSHAKE + parts * (PART + 4000));
    }

    fn heal(&self) {
        self.relay.set_hole(Hole::Closed);
    }

    fn is_downloaded_from(&self, number: u64) -> Result<()> {
        let directory = tempdir()?;
        download(&self.alice, "@me", number, directory.path())?;
        ensure!(fs::read(directory.path().join("file"))? == self.content, "not what was sent");
        Ok(())
    }
}

#[test]
fn an_upload_survives_kills_of_the_client_at_every_part() -> Result<()> {
    let stage = Stage::set()?;
    for parts in 0..PARTS {
        // Another content each time: what is sent already is not gone on with.
        let content = [&[parts as u8], &stage.content[1..]].concat();
        fs::write(&stage.path, &content)?;
        stage.fail_after(Direction::ToServer, parts);
        let mut child = stage.alice.spawn(&["send-file", "@me", text(&stage.path)])?;
        run_dry(&stage.relay)?;
        child.kill()?;
        child.wait()?;
        stage.heal();
        assert_eq!(stage.alice.json(&["history", "@me"])?.len(), parts, "no message before the file is there");
        send(&stage.alice, "@me", &stage.path)?;
        let directory = tempdir()?;
        download(&stage.alice, "@me", parts as u64 + 1, directory.path())?;
        assert!(fs::read(directory.path().join("file"))? == content, "{parts}");
        // It went on: there is no second beginning of the same file.
        let size = sealed(content.len() as u64) as i64;
        assert_eq!(blobs(stage.data.path())?, vec![(size, size); parts + 1]);
    }
    Ok(())
}

#[test]
fn an_upload_survives_kills_of_the_server() -> Result<()> {
    let mut stage = Stage::set()?;
    for (number, parts) in (1..).zip([1, 3]) {
        stage.fail_after(Direction::ToServer, parts);
        let child = stage.alice.spawn(&["--timeout", "120s", "send-file", "@me", text(&stage.path)])?;
        run_dry(&stage.relay)?;
        stage = stage.restart()?;
        stage.heal();
        finish_child(child)?.success()?;
        stage.is_downloaded_from(number)?;
        assert_eq!(blobs(stage.data.path())?.len(), number as usize);
    }
    drop(stage.server);
    drop(stage.folder);
    Ok(())
}

#[test]
fn a_download_survives_kills_of_the_client_at_every_part() -> Result<()> {
    let stage = Stage::set()?;
    send(&stage.alice, "@me", &stage.path)?;
    for parts in 0..PARTS {
        let directory = tempdir()?;
        stage.fail_after(Direction::ToClient, parts);
        let mut child = stage.alice.spawn(&["download", "@me", "1", "--to", text(directory.path())])?;
        run_dry(&stage.relay)?;
        child.kill()?;
        child.wait()?;
        stage.heal();
        assert!(!directory.path().join("file").exists(), "nothing that is not complete has the name");
        download(&stage.alice, "@me", 1, directory.path())?;
        assert!(fs::read(directory.path().join("file"))? == stage.content, "{parts}");
        assert_eq!(names(directory.path())?, ["file"]);
    }
    Ok(())
}

#[test]
fn a_download_survives_kills_of_the_server() -> Result<()> {
    let mut stage = Stage::set()?;
    send(&stage.alice, "@me", &stage.path)?;
    for parts in [1, 3] {
        let directory = tempdir()?;
        stage.fail_after(Direction::ToClient, parts);
        let to = text(directory.path());
        let child = stage.alice.spawn(&["--timeout", "120s", "download", "@me", "1", "--to", to])?;
        run_dry(&stage.relay)?;
        stage = stage.restart()?;
        stage.heal();
        finish_child(child)?.success()?;
        assert!(fs::read(directory.path().join("file"))? == stage.content, "{parts}");
        assert_eq!(names(directory.path())?, ["file"]);
    }
    Ok(())
}

#[test]
fn without_a_server_a_transfer_says_that_it_goes_on_later() -> Result<()> {
    let stage = Stage::set()?;
    send(&stage.alice, "@me", &stage.path)?;
    let address = stage.server.address.clone();
    stage.server.kill()?;
    let other = write(&stage.folder, "other", b"another file")?;
    let unsent = stage.alice.run(&["--timeout", "1s", "send-file", "@me", text(&other)])?.exit(3)?;
    assert!(unsent.stderr.contains("the same command goes on"), "{}", unsent.stderr);
    let directory = tempdir()?;
    let to = text(directory.path());
    let unsaved = stage.alice.run(&["--timeout", "1s", "download", "@me", "1", "--to", to])?.exit(3)?;
    assert!(unsaved.stderr.contains("the same command goes on"), "{}", unsaved.stderr);
    let _server = Server::start_with(stage.data.path(), &address, &[])?;
    send(&stage.alice, "@me", &other)?;
    download(&stage.alice, "@me", 1, directory.path())?;
    assert_eq!(stage.alice.json(&["history", "@me"])?.len(), 2);
    Ok(())
}

/// What connecting takes in either direction, generously.
const HANDSHAKE: usize = 20_000;

const PATIENCE: Duration = Duration::from_secs(120);

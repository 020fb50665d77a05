//! The account through the C library: its password, its end, a further device, and files that are sent once.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use qpq_ffi::testing::Handle;
use qpq_io::db::{DbKey, OpenOptions, open};
use qpq_tests::world::{PASSWORD, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::handles::{code, refused};

const NEW: &str = "a new horse";

struct World {
    server: Server,
    data: TempDir,
    folder: TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        Ok(Self { server: Server::start(data.path())?, data, folder })
    }

    fn config(&self, home: &str) -> Value {
        json!({"home": self.folder.path().join(home), "password": PASSWORD, "server": self.server.address})
    }

    fn registered(&self, name: &str) -> Result<Handle> {
        let mut config = self.config(name);
        config["name"] = json!(name);
        Handle::register(&config).map_err(refused)
    }
}

/// Something that must work.
fn ask(handle: Handle, request: Value) -> Result<Value> {
    handle.request(&request).map_err(|error| anyhow::anyhow!("{request}: {error}"))
}

#[test]
fn the_password_is_changed_by_whoever_knows_it() -> Result<()> {
    let world = World::new()?;
    let alice = world.registered("alice")?;
    let change =
        |old: &str, new: &str| alice.request(&json!({"op": "change_password", "password": old, "new_password": new}));
    let wrong = change("wrong horse", NEW);
    assert_eq!(code(wrong.clone()), "wrong_password");
    ensure!(!format!("{wrong:?}").contains("horse"), "no secrets in errors: {wrong:?}");
    assert_eq!(code(change(PASSWORD, "")), "bad_input");
    let unquoted = alice.request(&json!({"op": "change_password", "password": 4711, "new_password": NEW}));
    ensure!(code(unquoted.clone()) == "bad_input" && !format!("{unquoted:?}").contains("4711"), "{unquoted:?}");
    let mut elsewhere = json!({"op": "change_password", "password": PASSWORD, "new_password": NEW});
    elsewhere["account_password"] = json!("another horse");
    let refused_there = alice.request(&elsewhere);
    ensure!(format!("{refused_there:?}").contains("account_password"), "{refused_there:?}");
    assert_eq!(code(refused_there), "wrong_password");
    assert_eq!(change(PASSWORD, NEW).map_err(refused)?, json!({"type": "password_changed"}));
    ask(alice, json!({"op": "sync"}))?;
    alice.close().map_err(refused)?;
    let mut config = world.config("alice");
    assert_eq!(code(Handle::open(&config)), "wrong_password");
    config["password"] = json!(NEW);
    config["name"] = json!("alice");
    Handle::login(&config).map_err(refused)?.close().map_err(refused)
}

#[test]
fn a_deleted_account_takes_its_handle_along() -> Result<()> {
    let world = World::new()?;
    let alice = world.registered("alice")?;
    let bob = world.registered("bob")?;
    ask(alice, json!({"op": "group_create", "name": "team", "members": ["@bob"]}))?;
    let delete = |password: &str, name: &str| {
        alice.request(&json!({"op": "delete_account", "password": password, "name": name}))
    };
    assert_eq!(code(delete("wrong horse", "alice")), "wrong_password");
    assert_eq!(code(delete(PASSWORD, "bob")), "bad_input");
    assert_eq!(code(alice.request(&json!({"op": "delete_account", "password": PASSWORD}))), "bad_input");
    while alice.next_event("c", Duration::ZERO).map_err(refused)?.is_some() {}
    // Eight threads that use it meanwhile.
    let deleted = thread::scope(|scope| -> Result<Value> {
        let users: Vec<_> = (0..8)
            .map(|worker| {
                scope.spawn(move || {
                    loop {
                        let outcome = match worker % 3 {
                            0 => alice.next_event("c", Duration::from_secs(60)).map(|_| ()),
                            1 => alice.request(&json!({"op": "contacts"})).map(|_| ()),
                            _ => alice.request(&json!({"op": "sync", "timeout_ms": 60_000})).map(|_| ()),
                        };
                        match code(outcome) {
                            ended if ended == "bad_handle" => return ended,
                            // The server knows it no more, and it is about to go.
                            going if ["ok", "canceled", "refused", "store"].contains(&&going[..]) => {}
                            other => return other,
                        }
                    }
                })
            })
            .collect();
        let deleted = delete(PASSWORD, "@alice").map_err(refused)?;
        for user in users {
            assert_eq!(user.join().expect("no panic"), "bad_handle");
        }
        Ok(deleted)
    })?;
    assert_eq!(deleted, json!({"type": "account_deleted", "name": "alice"}));
    assert_eq!(code(alice.request(&json!({"op": "whoami"}))), "bad_handle");
    assert_eq!(code(alice.next_event("c", Duration::ZERO).map(|_| ())), "bad_handle");
    assert_eq!([code(alice.connect()), code(alice.cancel()), code(alice.close())], ["bad_handle"; 3]);
    ensure!(!world.folder.path().join("alice").exists(), "the profile is gone");
    assert_eq!(code(Handle::open(&world.config("alice"))), "no_profile");
    ask(bob, json!({"op": "sync"}))?;
    let members = ask(bob, json!({"op": "group_members", "conversation": "#team"}))?;
    assert_eq!(members["items"].as_array().map(Vec::len), Some(1), "{members}");
    bob.close().map_err(refused)
}

#[test]
fn a_new_device_waits_until_it_is_told_otherwise() -> Result<()> {
    let world = World::new()?;
    let config = world.config("phone");
    let (phone, shown) = Handle::link(&config).map_err(refused)?;
    assert_eq!(shown["type"], "link_code");
    ensure!(shown["link"].as_str().is_some_and(|link| link.contains(&world.server.address)), "{shown}");
    let wait = |timeout: u32| phone.request(&json!({"op": "link_wait", "timeout_ms": timeout}));
    assert_eq!(code(wait(50)), "timed_out");
    assert_eq!(code(phone.request(&json!({"op": "link_accept"}))), "bad_input");
    assert_eq!(code(phone.request(&json!({"op": "whoami"}))), "bad_input");
    assert_eq!(code(phone.request(&json!({"op": "link_wait", "more": 1}))), "bad_input");
    assert_eq!(code(phone.connect()), "bad_input");
    assert_eq!(code(phone.next_event("c", Duration::ZERO).map(|_| ())), "bad_input");
    assert_eq!(code(Handle::link(&config)), "profile_in_use");
    for close in [false, true] {
        let outcomes = thread::scope(|scope| -> Result<Vec<String>> {
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| code(wait(600_000)))).collect();
            if close {
                phone.close().map_err(refused)?;
            } else {
                // Whoever begins to wait after this is not meant, so it is said until it was heard.
                while !waiting.iter().all(thread::ScopedJoinHandle::is_finished) {
                    phone.cancel().map_err(refused)?;
                    thread::sleep(Duration::from_millis(5));
                }
            }
            Ok(waiting.into_iter().map(|one| one.join().expect("no panic")).collect())
        })?;
        // One waits, and the others are told so.
        let expected: &[&str] =
            if close { &["canceled", "bad_input", "bad_handle"] } else { &["canceled", "bad_input"] };
        ensure!(outcomes.iter().all(|outcome| expected.contains(&&outcome[..])), "{outcomes:?}");
    }
    assert_eq!([code(wait(0)), code(phone.cancel()), code(phone.close())], ["bad_handle"; 3]);
    // The directory is free again.
    let (again, _) = Handle::link(&config).map_err(refused)?;
    again.close().map_err(refused)?;
    let alice = world.registered("alice")?;
    let offered =
        |code: &str, timeout: u32| alice.request(&json!({"op": "link_offered", "code": code, "timeout_ms": timeout}));
    assert_eq!(code(offered("no code", 1000)), "bad_input");
    // The one who shows it is gone.
    assert_eq!(code(offered(shown["code"].as_str().context("a code")?, 500)), "timed_out");
    for op in ["link_approve", "link_refuse"] {
        let mut request = json!({"op": op});
        if op == "link_approve" {
            request["number"] = json!("12345678");
        }
        assert_eq!(code(alice.request(&request)), "bad_input", "nobody waits");
    }
    alice.close().map_err(refused)
}

/// The number that both see, when the new device has a handle and the old one has its code.
fn introduced(phone: Handle, alice: Handle, code: &Value) -> Result<String> {
    thread::scope(|scope| {
        let seen = scope.spawn(move || ask(phone, json!({"op": "link_wait"})));
        let offered = ask(alice, json!({"op": "link_offered", "code": code, "timeout_ms": 60_000}))?;
        let seen = seen.join().expect("no panic")?;
        ensure!(seen["number"] == offered["number"] && seen["name"] == "alice", "{seen} {offered}");
        ensure!(offered["device"] == "phone", "{offered}");
        Ok(seen["number"].as_str().context("a number")?.to_owned())
    })
}

#[test]
fn a_device_is_linked_with_the_number_that_was_compared_and_gets_the_history() -> Result<()> {
    let world = World::new()?;
    let alice = world.registered("alice")?;
    ask(alice, json!({"op": "send", "conversation": "@me", "text": "from before"}))?;
    let mut config = world.config("phone");
    config["device_name"] = json!("phone");
    let (first, shown) = Handle::link(&config).map_err(refused)?;
    introduced(first, alice, &shown["code"])?;
    let approve = |number: &str| {
        alice.request(&json!({"op": "link_approve", "number": number, "history": true, "timeout_ms": 60_000}))
    };
    assert_eq!(code(approve("0")), "refused", "another number");
    assert_eq!(code(approve("0")), "bad_input", "and that was it");
    first.close().map_err(refused)?;

    let (phone, shown) = Handle::link(&config).map_err(refused)?;
    let number = introduced(phone, alice, &shown["link"])?;
    assert_eq!(code(phone.request(&json!({"op": "link_accept", "timeout_ms": 50}))), "timed_out", "nobody approved");
    let approved = approve(&number.replace(' ', "")).map_err(refused)?;
    assert_eq!(approved, json!({"type": "device_linked", "device": "phone", "history": true}));
    let linked = ask(phone, json!({"op": "link_accept"}))?;
    ensure!(linked["type"] == "linked" && linked["name"] == "alice" && linked["failed"] == 0, "{linked}");
    let carried = thread::scope(|scope| -> Result<Value> {
        let sent = scope.spawn(move || ask(alice, json!({"op": "carry_history", "timeout_ms": 60_000})));
        let carried = ask(phone, json!({"op": "carry_history", "timeout_ms": 60_000}))?;
        let sent = sent.join().expect("no panic")?;
        ensure!(sent["type"] == "history_carried" && sent["sent"] == 1, "{sent}");
        Ok(carried)
    })?;
    ensure!(carried["received"] == 1 && carried["messages"] == 1 && carried["failed"] == 0, "{carried}");
    let history = ask(phone, json!({"op": "history", "conversation": "@me"}))?;
    assert_eq!(history["items"][0]["content"]["text"], "from before", "{history}");
    assert_eq!(ask(alice, json!({"op": "devices"}))?["items"].as_array().map(Vec::len), Some(2));
    // From now on it is a client as any other.
    ask(phone, json!({"op": "send", "conversation": "@me", "text": "from the phone"}))?;
    ensure!(phone.next_event("c", Duration::from_secs(30)).map_err(refused)?.is_some());
    phone.close().map_err(refused)?;
    Handle::open(&config_without(config, "device_name")).map_err(refused)?.close().map_err(refused)?;
    alice.close().map_err(refused)
}

fn config_without(mut config: Value, field: &str) -> Value {
    config.as_object_mut().expect("an object").remove(field);
    config
}

#[test]
fn a_file_with_a_key_is_uploaded_and_sent_once() -> Result<()> {
    let world = World::new()?;
    let alice = world.registered("alice")?;
    let path = world.folder.path().join("note.txt");
    std::fs::write(&path, "a small note")?;
    let send = |handle: Handle, key: &str, timeout: u32| {
        let to = json!({"op": "send_file", "conversation": "@me", "path": path, "key": key, "timeout_ms": timeout});
        ask(handle, to)
    };
    let first = send(alice, "1", 60_000)?;
    assert_eq!(first["status"], "sent", "{first}");
    let again = send(alice, "1", 60_000)?;
    assert_eq!(again, first, "the same message");
    alice.close().map_err(refused)?;
    let alice = Handle::open(&world.config("alice")).map_err(refused)?;
    // Not even a connection is needed, nor the file.
    std::fs::rename(&path, world.folder.path().join("moved.txt"))?;
    assert_eq!(send(alice, "1", 0)?, first, "after it was closed and opened again");
    std::fs::rename(world.folder.path().join("moved.txt"), &path)?;
    assert_eq!(uploads(world.data.path())?, 1);
    alice.connect().map_err(refused)?;
    let other = send(alice, "2", 60_000)?;
    ensure!(other["id"] != first["id"] && other["number"] == 2, "{other}");
    assert_eq!(
        code(alice.request(&json!({"op": "send_file", "conversation": "@me", "path": path, "key": ""}))),
        "bad_input"
    );
    // A text under that key would be this message, too.
    let text = ask(alice, json!({"op": "send", "conversation": "@me", "text": "x", "key": "1"}))?;
    assert_eq!(text["id"], first["id"]);
    let history = ask(alice, json!({"op": "history", "conversation": "@me"}))?;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(2), "{history}");
    assert_eq!(uploads(world.data.path())?, 2);
    alice.close().map_err(refused)
}

/// How many files the server has.
fn uploads(data: &Path) -> Result<i64> {
    let key = DbKey::load_or_create(&data.join("db.key"), false)?;
    let database =
        open(&data.join("qpq.db"), &key, &OpenOptions { cache_kib: 1024, read_only: true, ..OpenOptions::default() })?;
    Ok(database.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0))?)
}

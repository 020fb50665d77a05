//! Handles, threads and events of the C library, with a real server.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_ffi::testing::Handle;
use qpq_tests::world::{PASSWORD, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

struct World {
    _server: Server,
    _data: TempDir,
    config: Value,
    handle: Handle,
    _home: TempDir,
}

fn world() -> Result<World> {
    let (data, home) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = Server::start(data.path())?;
    let mut config = json!({"home": home.path(), "password": PASSWORD, "server": server.address, "name": "alice"});
    let handle = Handle::register(&config).map_err(refused)?;
    config.as_object_mut().context("an object")?.remove("name");
    Ok(World { _server: server, _data: data, config, handle, _home: home })
}

pub fn refused(error: Value) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

fn note(handle: Handle, text: &str) -> Result<Value, Value> {
    handle.request(&json!({"op": "send", "conversation": "@me", "text": text, "timeout_ms": 0}))
}

pub fn code<T>(outcome: Result<T, Value>) -> String {
    outcome.err().map_or_else(|| "ok".into(), |error| error["code"].as_str().unwrap_or("none").to_owned())
}

#[test]
fn a_handle_is_good_until_it_is_closed_and_a_profile_is_open_once() -> Result<()> {
    let world = world()?;
    let old = world.handle;
    assert_eq!(code(Handle::open(&world.config)), "profile_in_use");
    old.close().map_err(refused)?;
    assert_eq!(code(old.close()), "bad_handle", "closed twice");
    assert_eq!(code(note(old, "x")), "bad_handle");
    let new = Handle::open(&world.config).map_err(refused)?;
    assert_ne!(old, new, "handles are not used again");
    assert_eq!(code(old.close()), "bad_handle");
    new.request(&json!({"op": "whoami"})).map_err(refused)?;
    new.close().map_err(refused)
}

#[test]
fn eight_threads_at_once_send_read_and_ask() -> Result<()> {
    let world = world()?;
    let handle = world.handle;
    let (each, threads) = (10, 8);
    let barrier = Barrier::new(threads);
    let seen: Vec<BTreeSet<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let barrier = &barrier;
                scope.spawn(move || -> Result<BTreeSet<u64>> {
                    barrier.wait();
                    for index in 0..each {
                        let text = format!("{worker}/{index}");
                        let request = json!({"op": "send", "conversation": "@me", "text": text});
                        let reply = handle.request(&request).map_err(refused)?;
                        ensure!(reply["status"] == "sent", "{reply}");
                        handle.request(&json!({"op": "history", "conversation": "@me"})).map_err(refused)?;
                    }
                    // Every message has its event by now; each goes to one of the threads.
                    let mut positions = BTreeSet::new();
                    while let Some(event) = handle.next_event("shared", Duration::ZERO).map_err(refused)? {
                        positions.insert(event["position"].as_u64().context("a position")?);
                    }
                    Ok(positions)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect::<Result<_>>()
    })?;
    let total: usize = seen.iter().map(BTreeSet::len).sum();
    let all: BTreeSet<u64> = seen.into_iter().flatten().collect();
    ensure!(all.len() == total, "an event went to two threads");
    let history = json!({"op": "history", "conversation": "@me", "limit": 1000});
    let messages = handle.request(&history).map_err(refused)?["items"].as_array().map_or(0, Vec::len);
    assert_eq!(messages, each * threads);
    let mut events = 0;
    while let Some(event) = handle.next_event("alone", Duration::ZERO).map_err(refused)? {
        events += usize::from(event["type"] == "sent");
    }
    assert_eq!(events, each * threads);
    handle.close().map_err(refused)
}

#[test]
fn calls_that_wait_end_when_they_are_canceled_or_the_client_is_closed() -> Result<()> {
    let world = world()?;
    let handle = world.handle;
    // Events that are there already are passed first, so that the call below waits.
    while handle.next_event("c", Duration::ZERO).map_err(refused)?.is_some() {}
    for close in [false, true] {
        let over = AtomicBool::new(false);
        let (waited, asked) = thread::scope(|scope| {
            let waiting = scope.spawn(|| code(handle.next_event("c", Duration::from_secs(600)).map(|_| ())));
            let request = json!({"op": "lookup", "user": "@alice", "timeout_ms": 0});
            let asking = scope.spawn(move || code(handle.request(&request)));
            let ending = scope.spawn(|| {
                if close {
                    return handle.close().map_err(refused);
                }
                // Whoever begins to wait after this is not meant, so it is said until it was heard.
                while !over.load(Ordering::Relaxed) {
                    handle.cancel().map_err(refused)?;
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            });
            let (waited, asked) = (waiting.join().expect("no panic"), asking.join().expect("no panic"));
            over.store(true, Ordering::Relaxed);
            ending.join().expect("no panic").map(|()| (waited, asked))
        })?;
        if close {
            ensure!(["canceled", "bad_handle"].contains(&&waited[..]), "{waited}");
        } else {
            assert_eq!((&waited[..], &asked[..]), ("canceled", "ok"));
        }
    }
    Ok(())
}

#[test]
fn a_consumer_goes_on_where_it_has_acknowledged() -> Result<()> {
    let world = world()?;
    let handle = world.handle;
    for text in ["one", "two", "three"] {
        note(handle, text).map_err(refused)?;
    }
    handle.request(&json!({"op": "sync"})).map_err(refused)?;
    let positions = |handle: Handle, consumer: &str| -> Result<Vec<u64>> {
        let mut positions = Vec::new();
        while let Some(event) = handle.next_event(consumer, Duration::ZERO).map_err(refused)? {
            positions.push(event["position"].as_u64().context("a position")?);
        }
        Ok(positions)
    };
    let all = positions(handle, "bot")?;
    ensure!(all.len() >= 3, "{all:?}");
    ensure!(positions(handle, "bot")?.is_empty(), "what was returned does not come again while it is open");
    assert_eq!(positions(handle, "other")?, all, "another consumer gets everything");
    handle.acknowledge("bot", all[1]).map_err(refused)?;
    handle.acknowledge("bot", all[0]).map_err(refused)?;
    assert_eq!(code(handle.acknowledge("bot", u64::MAX)), "bad_input");
    handle.close().map_err(refused)?;
    let handle = Handle::open(&world.config).map_err(refused)?;
    assert_eq!(positions(handle, "bot")?, all[2..], "what was not acknowledged comes again");
    assert_eq!(code(handle.next_event("", Duration::ZERO)), "bad_input");
    assert_eq!(code(handle.next_event(&"x".repeat(65), Duration::ZERO)), "bad_input");
    handle.close().map_err(refused)
}

#[test]
fn a_descriptor_is_readable_while_there_may_be_events() -> Result<()> {
    let world = world()?;
    let handle = world.handle;
    let fd = handle.event_fd("loop").map_err(refused)?.try_clone_to_owned()?;
    let socket = std::os::unix::net::UnixStream::from(fd);
    socket.set_nonblocking(true)?;
    // Also takes out what is there, which programs need not do.
    let is_readable = |patience: Duration| {
        let deadline = Instant::now() + patience;
        loop {
            match (&socket).read(&mut [0; 64]) {
                Ok(read) => return read > 0,
                Err(_) if Instant::now() >= deadline => return false,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    };
    ensure!(is_readable(Duration::from_secs(10)), "what was there before counts");
    handle.request(&json!({"op": "sync"})).map_err(refused)?;
    while handle.next_event("loop", Duration::ZERO).map_err(refused)?.is_some() {}
    ensure!(!is_readable(Duration::ZERO), "after looking there is nothing");
    note(handle, "wake up").map_err(refused)?;
    ensure!(is_readable(Duration::from_secs(30)), "something has happened");
    handle.close().map_err(refused)
}

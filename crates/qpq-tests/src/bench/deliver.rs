//! From sending to showing, both online, one message at a time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use qpq_client::{Client, EventKind, Options, SecretString};

use super::probe::flush_milliseconds;
use super::{Figure, Measured, Plot, Target, percentile};
use crate::world::{PASSWORD, Server};

/// 300 messages of 1 KiB.
pub fn run() -> Result<Measured> {
    let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let alice = person(&server, folder.path(), "alice")?;
    let bob = person(&server, folder.path(), "bob")?;
    let contact = alice.resolve(&"bob".parse()?, PATIENCE)?;
    let conversation = alice.direct(contact.identity)?;
    let mut events = bob.events("bench")?;
    let text = "x".repeat(1024);
    let mut times = Vec::new();
    let before = flush_milliseconds(data.path())?;
    for round in 0..ROUNDS {
        let begin = Instant::now();
        let message = alice.send_text(conversation, &text)?;
        loop {
            let event = events.next(PATIENCE)?.context("the message never came")?;
            if matches!(&event.kind, EventKind::Message(shown) if shown.id == message) {
                break;
            }
        }
        // The first ones make the conversation.
        if round >= 20 {
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let flush = f64::midpoint(before, flush_milliseconds(data.path())?);
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let limit = 2.0 * flush + 3.0;
    let plots = vec![Plot::distribution("deliver: send to shown", &mut times)];
    let figures = vec![Figure {
        name: "deliver: send to shown".into(),
        measured: format!("p50 {p50:.2} ms, p99 {p99:.2} ms"),
        limit: format!("2 flushes of {flush:.2} ms + 3 ms = {limit:.2} ms"),
        ratio: p50 / limit,
        target: Target::AtMost(1.0),
    }];
    Ok(Measured { figures, plots })
}

/// Somebody with a profile in this folder, connected.
pub fn person(server: &Server, folder: &std::path::Path, name: &str) -> Result<Client> {
    let options =
        Options { home: folder.join(name), server: Some(server.address.parse()?), ca_cert: None, fingerprint: None };
    let client = Client::register(&options, &name.parse()?, &SecretString::new(PASSWORD.into()), None)?;
    client.wait_settled(PATIENCE)?;
    Ok(client)
}

const ROUNDS: u32 = 320;
/// How long anything may take here.
pub const PATIENCE: Duration = Duration::from_secs(30);

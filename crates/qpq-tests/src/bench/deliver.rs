//! From sending to showing, both online, one message at a time.

use std::time::Instant;

use anyhow::{Context as _, Result};
use qpq_client::EventKind;

use super::peer::{ECHO, Peer, stream};
use super::people::{PATIENCE, person};
use super::probe::{Cpu, flush_milliseconds};
use super::session::block_on;
use super::text::text;
use super::{Figure, Measured, Plot, Target, median, percentile};
use crate::world::Server;

/// 1,000 messages of 1 KiB.
pub fn run() -> Result<Measured> {
    let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let alice = person(&server, folder.path(), "alice")?;
    let bob = person(&server, folder.path(), "bob")?;
    let contact = alice.resolve(&"bob".parse()?, PATIENCE)?;
    let conversation = alice.direct(contact.identity)?;
    let mut events = bob.events("bench")?;
    let text = text(0, 1024);
    let mut times = Vec::new();
    let before = flush_milliseconds(data.path())?;
    let cpu = Cpu::start(server.pid())?;
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
    let (server_cpu, client_cpu) = cpu.micros_each(f64::from(ROUNDS))?;
    let flush = f64::midpoint(before, flush_milliseconds(data.path())?);
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let echo = block_on(echo(text.as_bytes()))?;
    let plots = vec![Plot::distribution("deliver: send to shown", &mut times)];
    let figure = |name: &str, more: f64| {
        let limit = 2.0 * flush + more;
        Figure {
            name: name.into(),
            measured: format!(
                "p50 {p50:.2} ms, p99 {p99:.2} ms (CPU µs: server {server_cpu:.0}, clients {client_cpu:.0})"
            ),
            limit: format!("2 flushes of {flush:.2} ms + {more} ms = {limit:.2} ms (bare QUIC echo {echo:.2} ms)"),
            ratio: p50 / limit,
            target: Target::AtMost(1.0),
        }
    };
    let figures = vec![figure("deliver: send to shown", 3.0), figure("deliver: ambition", 1.0)];
    Ok(Measured { figures, plots })
}

/// Median milliseconds that the payload takes to a bare QUIC server and back.
async fn echo(payload: &[u8]) -> Result<f64> {
    let peer = Peer::start()?;
    let (_endpoint, connection) = peer.connect().await?;
    let (mut sender, mut receiver) = stream(&connection, ECHO).await?;
    let (mut times, mut back) = (Vec::new(), vec![0; payload.len()]);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        sender.write_all(payload).await?;
        receiver.read_exact(&mut back).await?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&mut times))
}

const ROUNDS: u32 = 1020;

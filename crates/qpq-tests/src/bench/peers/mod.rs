//! Servers of others, from the distribution's packages, for orientation: mosquitto, Prosody and ejabberd, as far as they are
//! installed. None of them speaks TLS here or knows what end-to-end encryption is, and mosquitto acknowledges before
//! anything is on a disk; we are measured with the encryption of the connection, durable, and without our engine.

mod mqtt;
mod programs;
mod xmpp;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use qpq_proto::stream::LogId;
use tempfile::tempdir;
use tokio::sync::mpsc;

use super::post::{notepad, post, private_message};
use super::probe::resident_kib;
use super::session::{Session, block_on, register, resume};
use super::sink::Sink;
use super::text::text;
use super::{Figure, Measured, Target, percentile};
use crate::world::Server;
use programs::{Other, PROGRAMS};

/// One after the other, so that none of them disturbs another one.
pub fn run() -> Result<Measured> {
    let ours = block_on(ours())?;
    let mut figures = Vec::new();
    for program in PROGRAMS {
        let Some(other) = Other::start(program)? else {
            println!("peers: {} is not installed", program.name);
            continue;
        };
        let theirs = block_on(measured(&other))?;
        let figure = |what: &str, ours: f64, theirs: f64, unit: &str| Figure {
            name: format!("peers: {what}, {}", program.name),
            measured: format!("{ours:.2} {unit}"),
            limit: format!("{theirs:.2} {unit} of {}", program.name),
            ratio: ours / theirs,
            target: Target::Orientation,
        };
        figures.push(figure("sent to received", ours.deliver_ms, theirs.deliver_ms, "ms"));
        figures.push(figure("64 senders", ours.rate, theirs.rate, "messages/s"));
        figures.push(figure("an idle client", ours.idle_kib, theirs.idle_kib, "KiB"));
    }
    ensure!(!figures.is_empty(), "none of mosquitto, prosody and ejabberd is installed");
    Ok(figures.into())
}

/// What is asked of everybody.
struct Measures {
    /// Median, from sending to receiving, one message at a time.
    deliver_ms: f64,
    /// Acknowledged messages per second of senders that wait for each acknowledgement; each writes to somebody else.
    rate: f64,
    idle_kib: f64,
}

async fn measured(server: &Other) -> Result<Measures> {
    let (mut alice, mut bob) = (server.connect("alice").await?, server.connect("bob").await?);
    let text = text(0, 1024);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        alice.send("bob", &text).await?;
        ensure!(bob.receive().await? == text.len(), "a message came damaged");
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        alice.acknowledged().await?;
    }
    // Before the load, which leaves memory behind for those who come later.
    let before = resident_kib(server.pid())?;
    let mut idle = Vec::new();
    for number in 0..IDLE {
        idle.push(server.connect(&format!("idle{number}")).await?);
    }
    let idle_kib = (resident_kib(server.pid())? - before) / f64::from(IDLE);
    let (mut senders, mut readers) = (Vec::new(), Vec::new());
    for number in 0..SENDERS {
        senders.push((server.connect(&format!("sender{number}")).await?, format!("reader{number}")));
        let mut reader = server.connect(&format!("reader{number}")).await?;
        readers.push(tokio::task::spawn_local(async move { while reader.receive().await.is_ok() {} }));
    }
    let begin = Instant::now();
    let sending = senders.iter_mut().map(async |(sender, to)| {
        let mut count = 0u32;
        while begin.elapsed() < DURATION {
            sender.send(to, &text).await?;
            sender.acknowledged().await?;
            count += 1;
        }
        anyhow::Ok(count)
    });
    let count: u32 = try_join_all(sending).await?.into_iter().sum();
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(Measures { deliver_ms: percentile(&mut times, 0.5), rate, idle_kib })
}

/// The same of ours: bare sessions that follow a group, over a server that has everything on disk before it answers.
async fn ours() -> Result<Measures> {
    let data = tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let address = server.address.parse()?;
    let alice = register(&address, "alice").await?;
    let group = notepad(&alice).await?;
    let bob = resume(&address, &alice.account).await?;
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let on_entry = move |payload: &[u8]| {
        let _ = arrived.send(payload.len());
    };
    let sink = Sink::client(on_entry, || {});
    let _stream = bob.listen(sink, &[LogId::Group(group)]).await?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let payload = private_message(group)?;
        let length = payload.len();
        let begin = Instant::now();
        let arrival = async {
            let arrived = arrivals.recv().await;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            arrived
        };
        let (posted, arrived) = tokio::join!(post(&alice, group, payload), arrival);
        posted?;
        ensure!(arrived == Some(length), "a message came damaged");
    }
    let before = resident_kib(server.pid())?;
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let session = register(&address, &format!("idle{number}")).await?;
        let stream = session.listen(Sink::silent(), &[LogId::Inbox]).await?;
        idle.push((session, stream));
    }
    let idle_kib = (resident_kib(server.pid())? - before) / f64::from(IDLE);
    let mut senders: Vec<(Session, _, _)> = Vec::new();
    for number in 0..SENDERS {
        let session = register(&address, &format!("sender{number}")).await?;
        let group = notepad(&session).await?;
        let stream = session.listen(Sink::silent(), &[LogId::Group(group)]).await?;
        senders.push((session, group, stream));
    }
    let begin = Instant::now();
    let sending = senders.iter().map(async |(session, group, _)| {
        let (mut count, mut payload) = (0u32, private_message(*group)?);
        while begin.elapsed() < DURATION {
            if let Some(end) = payload.last_chunk_mut::<4>() {
                *end = count.to_le_bytes();
            }
            post(session, *group, payload.clone()).await?;
            count += 1;
        }
        anyhow::Ok(count)
    });
    let count: u32 = try_join_all(sending).await?.into_iter().sum();
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    Ok(Measures { deliver_ms: percentile(&mut times, 0.5), rate, idle_kib })
}

const ROUNDS: u32 = 200;
const SENDERS: u32 = 64;
const DURATION: Duration = Duration::from_secs(3);
const IDLE: u32 = 1000;

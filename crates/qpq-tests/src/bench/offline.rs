//! A device that was away takes what waits for it: fetched, decrypted, stored, acknowledged, shown.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{MlsMessageIn, ProcessedMessageContent};
use qpq_client::{Client, ConversationId, EventKind, Options, Suite};
use tempfile::tempdir;

use super::mls::Device;
use super::people::{self, PATIENCE, person};
use super::probe::{Cpu, forget_peak, peak_kib, resident_kib, thread_seconds};
use super::text::text;
use super::{Figure, Measured, Target, median};
use crate::world::Server;

/// One group, so many members who were away; each of them comes back alone.
pub fn run() -> Result<Measured> {
    let (data, folder) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let absent = leave_messages(&server, folder.path())?;
    let (mut wall, mut cpu, mut server_cpu, mut first, mut memory) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut pure, mut ratios) = (vec![], vec![]);
    for options in absent {
        let back = come_back(&server, &options)?;
        let limit = pure_decryption()?;
        ratios.push(back.seconds / limit);
        pure.push(limit * 1000.0);
        wall.push(back.seconds * 1000.0);
        first.push(back.first * 1000.0);
        cpu.push(back.client_cpu);
        server_cpu.push(back.server_cpu);
        memory.push(back.memory_kib / 1024.0);
    }
    let first = median(&mut first);
    let figures = vec![
        Figure {
            name: format!("offline: {MESSAGES} messages"),
            measured: format!(
                "{:.0} ms (CPU µs a message: server {:.0}, client {:.0}; {:.0} MiB more)",
                median(&mut wall),
                median(&mut server_cpu),
                median(&mut cpu),
                median(&mut memory)
            ),
            limit: format!("{:.0} ms of pure MLS decryption", median(&mut pure)),
            ratio: median(&mut ratios),
            target: Target::AtMost(2.5),
        },
        Figure {
            name: "offline: first message shown".into(),
            measured: format!("{first:.1} ms after connecting"),
            limit: format!("{FIRST} ms"),
            ratio: first / FIRST,
            target: Target::AtMost(1.0),
        },
    ];
    Ok(figures.into())
}

/// Answers the profiles for which the messages wait.
fn leave_messages(server: &Server, folder: &std::path::Path) -> Result<Vec<Options>> {
    let sender = person(server, folder, "sender")?;
    let (mut absent, mut identities) = (Vec::new(), Vec::new());
    for number in 0..REPETITIONS {
        let name = format!("absent-{number}");
        absent.push((person(server, folder, &name)?, people::options(&server.address, folder, &name)?));
        identities.push(sender.resolve(&name.parse()?, PATIENCE)?.identity);
    }
    let (group, wish) = sender.create_group("bench", &identities, Suite::Hybrid)?;
    sender.wait(wish, PATIENCE)?;
    let first = sender.send_text(group, "first")?;
    sender.wait_sent(first, PATIENCE)?;
    let mut profiles = Vec::new();
    for (client, options) in absent {
        let mut events = client.events("bench")?;
        while !matches!(next(&mut events)?, EventKind::Message(_)) {}
        events.acknowledge()?;
        client.wait_settled(PATIENCE)?;
        client.close();
        profiles.push(options);
    }
    std::thread::scope(|scope| {
        let sender = &sender;
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(sender, group, writer))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?)
    })?;
    let last = sender.send_text(group, "last")?;
    sender.wait_sent(last, LONG)?;
    sender.close();
    Ok(profiles)
}

/// Several at once share the flushes of the sender's disk.
fn write(sender: &Client, group: ConversationId, writer: u32) -> Result<()> {
    for number in 0..MESSAGES / WRITERS {
        sender.send_text(group, &text(number * WRITERS + writer, 1024))?;
    }
    Ok(())
}

/// What a return cost.
struct Back {
    /// From connecting until everything is stored, acknowledged and shown.
    seconds: f64,
    /// From being online until the first message was shown.
    first: f64,
    /// Microseconds a message.
    server_cpu: f64,
    client_cpu: f64,
    /// More than before, at most.
    memory_kib: f64,
}

fn come_back(server: &Server, options: &Options) -> Result<Back> {
    let client = people::open(options)?;
    let mut events = client.events("bench")?;
    let own = std::process::id();
    forget_peak(own)?;
    let (idle, cpu) = (resident_kib(own)?, Cpu::start(server.pid())?);
    let begin = Instant::now();
    client.connect();
    let online = std::thread::scope(|scope| {
        let online = scope.spawn(|| {
            while client.offline().is_some() && begin.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_micros(100));
            }
            begin.elapsed().as_secs_f64()
        });
        let (mut shown, mut first) = (0, 0.0);
        while shown <= MESSAGES {
            if matches!(next(&mut events)?, EventKind::Message(_)) {
                first = if shown == 0 { begin.elapsed().as_secs_f64() } else { first };
                shown += 1;
            }
        }
        let online = online.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
        anyhow::Ok((first - online).max(0.0))
    })?;
    client.wait_settled(PATIENCE)?;
    let seconds = begin.elapsed().as_secs_f64();
    let (server_cpu, client_cpu) = cpu.micros_each(f64::from(MESSAGES))?;
    let memory_kib = peak_kib(own)? - idle;
    client.close();
    Ok(Back { seconds, first: online, server_cpu, client_cpu, memory_kib })
}

fn next(events: &mut qpq_client::EventStream) -> Result<EventKind> {
    Ok(events.next(PATIENCE)?.context("a message never came")?.kind)
}

/// Seconds that OpenMLS takes for as many messages, in memory.
fn pure_decryption() -> Result<f64> {
    let (alice, bob) = (Device::new()?, Device::new()?);
    let mut group = alice.group()?;
    let (_, welcome, _) = group.add_members_without_update(&alice.provider, &alice.signer, &[bob.package(false)?])?;
    group.merge_pending_commit(&alice.provider)?;
    let tree = group.export_ratchet_tree().tls_serialize_detached()?;
    let mut joined = bob.join(&welcome.tls_serialize_detached()?, &tree)?;
    let mut messages = Vec::new();
    for _ in 0..MESSAGES {
        messages.push(group.create_message(&alice.provider, &alice.signer, &[7; 1100])?.tls_serialize_detached()?);
    }
    let begin = thread_seconds();
    for bytes in &messages {
        let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes)?.try_into_protocol_message()?;
        let processed = joined.process_message(&bob.provider, message)?;
        let is_application = matches!(processed.into_content(), ProcessedMessageContent::ApplicationMessage(_));
        ensure!(is_application, "not an application message");
    }
    Ok(thread_seconds() - begin)
}

const MESSAGES: u32 = 10_000;
const WRITERS: u32 = 16;
const REPETITIONS: u32 = 5;
/// How long sending all of them may take.
const LONG: Duration = Duration::from_secs(600);
/// Milliseconds.
const FIRST: f64 = 10.0;

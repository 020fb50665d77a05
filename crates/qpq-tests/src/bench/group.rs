//! A group of many devices: what a message and an addition cost the server, and how fast a member catches up.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{MlsMessageIn, ProcessedMessageContent, StagedWelcome};
use openmls_traits::OpenMlsProvider as _;
use qpq_client::EventKind;

use super::mls::Device;
use super::people::{PATIENCE, person};
use super::probe::cpu_seconds;
use super::{Axis, Figure, Line, Measured, Plot, Target};
use crate::world::Server;

/// Catching up 1000 messages, and what 1000 members cost.
pub fn run() -> Result<Measured> {
    let mut figures = catching_up()?;
    let Measured { figures: sizes, plots } = sizes()?;
    figures.extend(sizes);
    Ok(Measured { figures, plots })
}

fn catching_up() -> Result<Vec<Figure>> {
    let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let alice = person(&server, folder.path(), "alice")?;
    let bob = person(&server, folder.path(), "bob")?;
    let contact = alice.resolve(&"bob".parse()?, PATIENCE)?;
    let conversation = alice.direct(contact.identity)?;
    let first = alice.send_text(conversation, "first")?;
    alice.wait_sent(first, PATIENCE)?;
    bob.wait_settled(PATIENCE)?;
    let bob_options = qpq_client::Options {
        home: folder.path().join("bob"),
        server: Some(server.address.parse()?),
        ca_cert: None,
        fingerprint: None,
    };
    bob.close();
    let text = "x".repeat(1024);
    let mut last = first;
    for _ in 0..MESSAGES {
        last = alice.send_text(conversation, &text)?;
    }
    alice.wait_sent(last, Duration::from_secs(120))?;
    let bob = qpq_client::Client::open(&bob_options, &qpq_client::SecretString::new(crate::world::PASSWORD.into()))?;
    let mut events = bob.events("bench")?;
    let before = cpu_seconds(std::process::id())?;
    let begin = Instant::now();
    bob.connect();
    let mut shown = 0;
    while shown <= MESSAGES {
        let event = events.next(PATIENCE)?.context("a message never came")?;
        shown += u32::from(matches!(event.kind, EventKind::Message(_)));
    }
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds(std::process::id())? - before);
    let pure = pure_decryption()?;
    Ok(vec![Figure {
        name: "catch up: 1000 messages".into(),
        measured: format!("{:.0} ms ({:.0} ms CPU)", wall * 1000.0, cpu * 1000.0),
        limit: format!("{:.0} ms of pure MLS decryption", pure * 1000.0),
        ratio: wall / pure,
        target: Target::AtMost(3.0),
    }])
}

/// Seconds that OpenMLS takes for the same messages, in memory.
fn pure_decryption() -> Result<f64> {
    let alice = Device::new()?;
    let bob = Device::new()?;
    let mut group = alice.group()?;
    let package = bob.package(false)?;
    let (_, welcome, _) = group.add_members_without_update(&alice.provider, &alice.signer, &[package])?;
    group.merge_pending_commit(&alice.provider)?;
    let tree = group.export_ratchet_tree().tls_serialize_detached()?;
    let tree = openmls::prelude::RatchetTreeIn::tls_deserialize_exact_bytes(&tree)?;
    let welcome = MlsMessageIn::tls_deserialize_exact_bytes(&welcome.tls_serialize_detached()?)?;
    let openmls::prelude::MlsMessageBodyIn::Welcome(welcome) = welcome.extract() else { anyhow::bail!("a Welcome") };
    let joined = StagedWelcome::new_from_welcome(&bob.provider, &qpq_trust::suite::join_config(), welcome, Some(tree))?;
    let mut joined = joined.into_group(&bob.provider)?;
    let mut messages = Vec::new();
    for _ in 0..MESSAGES {
        messages.push(group.create_message(&alice.provider, &alice.signer, &[7; 1100])?.tls_serialize_detached()?);
    }
    let begin = Instant::now();
    for bytes in &messages {
        let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes)?.try_into_protocol_message()?;
        let processed = joined.process_message(&bob.provider, message)?;
        let is_application = matches!(processed.into_content(), ProcessedMessageContent::ApplicationMessage(_));
        ensure!(is_application, "not an application message");
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// What the bytes of a commit that adds one are, in groups of up to 1000: without path and tree they are the same.
fn sizes() -> Result<Measured> {
    let (mut adding, mut updating, mut working) = (Vec::new(), Vec::new(), Vec::new());
    for members in [2u32, 10, 100, 1000] {
        let alice = Device::new()?;
        let mut group = alice.group()?;
        let packages = (1..members).map(|_| Device::new()?.package(false)).collect::<Result<Vec<_>>>()?;
        group.add_members_without_update(&alice.provider, &alice.signer, &packages)?;
        group.merge_pending_commit(&alice.provider)?;
        let newcomer = Device::new()?.package(false)?;
        let begin = Instant::now();
        let (commit, welcome, _) = group.add_members_without_update(&alice.provider, &alice.signer, &[newcomer])?;
        let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
        let bytes = commit.tls_serialize_detached()?.len() + welcome.tls_serialize_detached()?.len();
        group.clear_pending_commit(alice.provider.storage())?;
        let update =
            group.self_update(&alice.provider, &alice.signer, openmls::prelude::LeafNodeParameters::default())?;
        let size = f64::from(members);
        adding.push((size, bytes as f64 / 1024.0));
        updating.push((size, update.into_commit().tls_serialize_detached()?.len() as f64 / 1024.0));
        working.push((size, milliseconds));
    }
    let [_, ten, _, thousand] = adding[..] else { anyhow::bail!("four sizes") };
    let figures = vec![Figure {
        name: "add one to 1000 devices".into(),
        measured: format!("{:.0} bytes sent", thousand.1 * 1024.0),
        limit: format!("{:.0} bytes in a group of 10", ten.1 * 1024.0),
        ratio: thousand.1 / ten.1,
        target: Target::AtMost(1.05),
    }];
    let line = |name: &str, points| Line { name: name.into(), points };
    let plot = |title: &str, unit: &str, lines| Plot {
        title: title.into(),
        x: Axis::logarithmic("devices"),
        y: Axis::linear(unit),
        lines,
    };
    let plots = vec![
        plot(
            "group: bytes of a change against size",
            "KiB",
            vec![line("add one, without a path", adding), line("first refresh of a leaf", updating)],
        ),
        plot("group: work of adding one against size", "ms", vec![line("add one", working)]),
    ];
    Ok(Measured { figures, plots })
}

const MESSAGES: u32 = 1000;

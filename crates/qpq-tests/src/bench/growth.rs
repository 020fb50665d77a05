//! How the cost of a post and its delivery grows with what the server keeps: it should not.

use std::time::Duration;

use anyhow::{Context as _, Result};
use qpq_proto::stream::LogId;
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use super::post::{GENEROUS, Posts, notepad, post_all};
use super::probe::database;
use super::session::{block_on, register};
use super::sink::Sink;
use super::{Axis, Figure, Line, Measured, Plot, Target, median};
use crate::world::Server;

/// Servers with so many accounts, groups and stored messages, written into their databases before they start.
pub fn run() -> Result<Measured> {
    let mut servers = Vec::new();
    for size in SIZES {
        let data = tempdir()?;
        Server::start_with(data.path(), "127.0.0.1:0", GENEROUS)?.terminate()?;
        fill(&database(data.path())?, size)?;
        servers.push((data, Vec::new()));
    }
    // In turns, so that whatever else the machine does is the same for all of them.
    for round in 0..ROUNDS {
        for (data, rounds) in &mut servers {
            rounds.push(posts(data, round)?);
        }
    }
    let medians = |of: fn(&Posts) -> f64| {
        let of_size = |(_, rounds): &(TempDir, Vec<Posts>)| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
        SIZES.into_iter().map(f64::from).zip(servers.iter().map(of_size)).collect::<Vec<_>>()
    };
    let (cpu, rates) = (medians(|posts| posts.server), medians(|posts| posts.rate));
    let flushes = medians(|posts| posts.flushes);
    let (smallest, largest) = (cpu.first().context("sizes")?, cpu.last().context("sizes")?);
    let figures = vec![Figure {
        name: "growth: server CPU of a post".into(),
        measured: format!("{:.0} µs with {} of everything", largest.1, largest.0),
        limit: format!("{:.0} µs with {} ({SENDERS} senders, delivered too)", smallest.1, smallest.0),
        ratio: largest.1 / smallest.1,
        target: Target::AtMost(1.2),
    }];
    let line = |name: &str, points: Vec<(f64, f64)>| Line { name: name.into(), points };
    let plot = |title: &str, unit: &str, lines| Plot {
        title: title.into(),
        x: Axis::logarithmic("accounts, groups and messages"),
        y: Axis::linear(unit),
        lines,
    };
    let plots = vec![
        plot("growth: server CPU of a post", "µs", vec![line("CPU", cpu)]),
        plot("growth: throughput", "posts/s", vec![line("posts", rates)]),
        plot("growth: flushes of a post", "flushes", vec![line("flushes", flushes)]),
    ];
    Ok(Measured { figures, plots })
}

/// Senders post into a group of one and are online, so that everything comes back to one of them.
fn posts(data: &TempDir, round: u32) -> Result<Posts> {
    let server = Server::start_with(data.path(), "127.0.0.1:0", GENEROUS)?;
    let posts = block_on(async {
        let address = server.address.parse()?;
        let first = register(&address, &format!("poster-{round}")).await?;
        let group = notepad(&first).await?;
        let _stream = first.listen(Sink::silent(), &[LogId::Group(group)]).await?;
        let mut sessions = Vec::new();
        for _ in 1..SENDERS {
            sessions.push(super::session::resume(&address, &first.account).await?);
        }
        sessions.push(first);
        post_all(&server, &sessions, group, WARM_UP).await?;
        post_all(&server, &sessions, group, DURATION).await
    })?;
    server.terminate()?;
    Ok(posts)
}

/// Accounts, each with a device and a group of its own in which one message waits.
fn fill(connection: &Connection, size: u32) -> Result<()> {
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE numbers AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {size})
             SELECT i, randomblob(32) AS identity, randomblob(16) AS device, randomblob(16) AS group_id FROM n;
         INSERT INTO accounts (id, name, identity, opaque_record, manifest, manifest_version, created)
             SELECT i, 'resident-' || i, identity, randomblob(192), randomblob(600), 1, {NOW} FROM numbers;
         INSERT INTO devices (device, account) SELECT device, i FROM numbers ORDER BY device;
         INSERT INTO inboxes (device) SELECT device FROM numbers ORDER BY device;
         INSERT INTO groups (id, group_id, creator, request, head_seq, kept, created)
             SELECT i, group_id, device, randomblob(32), 1, 1, {NOW} FROM numbers;
         INSERT INTO members (group_no, device, joined_seq, identity, cursor)
             SELECT i, device, 0, identity, 0 FROM numbers;
         INSERT INTO log (id, group_no, seq, kind, epoch, at, hash, payload)
             SELECT i << 32 | 1, i, 1, 0, 0, {NOW}, randomblob(32), randomblob(1100) FROM numbers;
         DROP TABLE numbers;
         COMMIT;"
    ))?;
    Ok(())
}

const SIZES: [u32; 3] = [10, 1000, 100_000];
const SENDERS: u32 = 16;
const ROUNDS: u32 = 5;
const WARM_UP: Duration = Duration::from_millis(300);
const DURATION: Duration = Duration::from_millis(1200);
/// Milliseconds since 1970 that are not expired before long: whatever the clock says, they are in the future.
const NOW: u64 = 4_000_000_000_000;

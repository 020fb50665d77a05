//! What the C library costs: sending through it against sending through the Rust API, and memory.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use qpq_client::{Client, Options, SecretString};
use qpq_ffi::testing::Handle;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::probe::resident_kib;
use super::{Figure, Measured, Target, median};
use crate::world::{PASSWORD, Server};

/// Two people who write notes to themselves, in turns, on one disk: one in Rust, one through C. Then one of them goes on.
pub fn run() -> Result<Measured> {
    let (data, homes) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let options = Options {
        home: homes.path().join("rust"),
        server: Some(server.address.parse()?),
        ca_cert: None,
        fingerprint: None,
    };
    let client = Client::register(&options, &"rust".parse()?, &SecretString::new(PASSWORD.into()), None)?;
    let home = homes.path().join("c");
    let config = json!({"home": home, "server": server.address, "name": "c", "password": PASSWORD});
    let handle = Handle::register(&config).map_err(refused)?;
    let sending = in_turns(&client, handle)?;
    client.close();
    let memory = memory(grown(handle, WARM_UP, MESSAGES)?);
    handle.close().map_err(refused)?;
    Ok(vec![sending, memory].into())
}

/// Until the server has them, because its answers take their share of the owner's time. Rounds of a few messages each, so
/// that a disk that changes its mind does so for both.
fn in_turns(client: &Client, handle: Handle) -> Result<Figure> {
    let notepad = client.direct(client.whoami()?.identity)?;
    let note = json!({"op": "send", "conversation": "@c", "text": TEXT, "timeout_ms": 0});
    let settle = || handle.request(&json!({"op": "sync", "timeout_ms": 60_000})).map_err(refused);
    handle.request(&note).map_err(refused)?;
    let (mut in_rust, mut in_c) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        client.wait_settled(PATIENCE)?;
        settle()?;
        let began = Instant::now();
        for _ in 0..IN_A_ROUND {
            client.send_text(notepad, TEXT)?;
        }
        client.wait_settled(PATIENCE)?;
        in_rust.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(IN_A_ROUND));
        let began = Instant::now();
        for _ in 0..IN_A_ROUND {
            handle.request(&note).map_err(refused)?;
        }
        settle()?;
        in_c.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(IN_A_ROUND));
    }
    let (in_rust, in_c) = (median(&mut in_rust), median(&mut in_c));
    Ok(Figure {
        name: "ffi: send".into(),
        measured: format!("{in_c:.0} µs a message through C"),
        limit: format!("{in_rust:.0} µs through Rust"),
        ratio: in_c / in_rust,
        target: Target::AtMost(1.1),
    })
}

/// The KiB by which this process grows with some messages that are sent and read as events. The database's page cache has a
/// limit, and is filled by others first.
pub fn grown(handle: Handle, warm_up: u32, messages: u32) -> Result<f64> {
    let batch = |count: u32| -> Result<f64> {
        let note = json!({"op": "send", "conversation": "@me", "text": TEXT, "timeout_ms": 0});
        for _ in 0..count / IN_A_BATCH {
            for _ in 0..IN_A_BATCH {
                handle.request(&note).map_err(refused)?;
            }
            handle.request(&json!({"op": "sync", "timeout_ms": 60_000})).map_err(refused)?;
            let (mut read, mut last) = (0, 0);
            while let Some(event) = handle.next_event("bench", Duration::ZERO).map_err(refused)? {
                read += u32::from(event["type"] == "sent");
                last = event["position"].as_u64().unwrap_or_default();
            }
            handle.acknowledge("bench", last).map_err(refused)?;
            ensure!(read >= IN_A_BATCH, "{read} of {IN_A_BATCH} messages were sent");
        }
        resident_kib(std::process::id())
    };
    let before = batch(warm_up)?;
    Ok(batch(messages)? - before)
}

fn memory(grown: f64) -> Figure {
    Figure {
        name: "ffi: growth of memory".into(),
        measured: format!("{grown:.0} KiB with {MESSAGES} messages"),
        limit: format!("{ALLOWED_KIB:.0} KiB, page cache and fragmentation"),
        ratio: grown / ALLOWED_KIB,
        target: Target::AtMost(1.0),
    }
}

fn refused(error: Value) -> anyhow::Error {
    anyhow!("{error}")
}

const TEXT: &str = "a message of the length that people write to each other, more or less, on most days";
const ROUNDS: u32 = 20;
const IN_A_ROUND: u32 = 50;
/// After which the page cache is full.
const WARM_UP: u32 = 20_000;
const MESSAGES: u32 = 10_000;
const IN_A_BATCH: u32 = 100;
/// 10,000 leaked messages of any kind would be several times as much.
const ALLOWED_KIB: f64 = 4096.0;
const PATIENCE: Duration = Duration::from_secs(60);

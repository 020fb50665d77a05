//! What the C library keeps in memory: nothing that was given back. In a process of its own, because memory is counted by
//! process.

#![allow(clippy::unwrap_used)]

use anyhow::{Result, anyhow, ensure};
use qpq_ffi::testing::Handle;
use qpq_tests::bench::ffi::grown;
use qpq_tests::bench::probe::resident_kib;
use qpq_tests::world::{PASSWORD, Server};
use serde_json::json;

#[test]
fn replies_errors_and_messages_do_not_add_up() -> Result<()> {
    let (data, home) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", qpq_tests::bench::post::GENEROUS)?;
    let config = json!({"home": home.path(), "server": server.address, "name": "alice", "password": PASSWORD});
    let handle = Handle::register(&config).map_err(|error| anyhow!("{error}"))?;
    let ask = |times: u32| -> Result<f64> {
        for _ in 0..times {
            handle.request(&json!({"op": "whoami"})).map_err(|error| anyhow!("{error}"))?;
            ensure!(handle.request(&json!({"op": "fly"})).is_err());
        }
        resident_kib(std::process::id())
    };
    let (before, after) = (ask(500)?, ask(10_000)?);
    // A reply and an error have together more than 800 bytes: kept, they would be 8 MiB.
    ensure!(after - before < 2048.0, "{} KiB more", after - before);
    let grown = grown(handle, 300, 300)?;
    ensure!(grown < 4096.0, "{grown} KiB more");
    handle.close().map_err(|error| anyhow!("{error}"))
}

//! What people cost on the server's disk: an account, a message that waits, a message that everybody has.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::tempdir;

use super::probe::count;
use super::{Figure, Measured, Target};
use crate::world::{Person, Server, binaries};

/// Differences between vacuumed databases; the server is stopped for each of them.
pub fn run() -> Result<Measured> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let measure = || vacuumed(data.path());
    let server = start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "first"])?.success()?;
    bob.texts(1)?;
    let address = server.address.clone();
    server.terminate()?;
    let empty = measure()?;

    let server = Server::start_with(data.path(), &address, super::post::GENEROUS)?;
    for number in 0..ACCOUNTS {
        Person::registered(&folder, &format!("person-{number}"), &server.address)?;
    }
    server.terminate()?;
    let with_accounts = measure()?;

    let server = Server::start_with(data.path(), &address, super::post::GENEROUS)?;
    let text = "x".repeat(TEXT);
    let lines = std::iter::once("/switch @bob".to_owned()).chain((0..MESSAGES).map(|_| text.clone()));
    alice.repl(&lines.collect::<Vec<_>>())?.success()?;
    server.terminate()?;
    let with_waiting = measure()?;

    let server = Server::start_with(data.path(), &address, super::post::GENEROUS)?;
    bob.texts(MESSAGES as usize)?;
    let deadline = Instant::now() + PATIENCE;
    while count(&server, "qpq_swept_entries_total")? < f64::from(MESSAGES) {
        ensure!(Instant::now() < deadline, "nothing is swept");
        std::thread::sleep(Duration::from_secs(1));
    }
    server.terminate()?;
    let with_swept = measure()?;

    let each = |more: u64, less: u64, count: u32| more.saturating_sub(less) as f64 / f64::from(count);
    let account = each(with_accounts, empty, ACCOUNTS);
    let waiting = each(with_waiting, with_accounts, MESSAGES);
    let taken = each(with_swept, with_accounts, MESSAGES);
    let figure = |name: &str, bytes: f64, limit: f64, what: &str| Figure {
        name: name.into(),
        measured: format!("{bytes:.0} bytes"),
        limit: format!("{limit:.0} bytes: {what}"),
        ratio: bytes / limit,
        target: Target::AtMost(1.5),
    };
    // A key package has 2.7 KB, so that two of them are in a page of 8 KiB; a device keeps 32 and one of last resort.
    Ok(vec![
        figure("storage: an account", account, 33.0 * 4096.0, "its key packages"),
        figure("storage: a waiting message", waiting, TEXT as f64 + 246.0, "the ciphertext"),
        figure("storage: a message everybody has", taken, 120.0, "ids and a hash, twice"),
    ]
    .into())
}

fn start(data: &std::path::Path) -> Result<Server> {
    Server::start_with(data, "127.0.0.1:0", super::post::GENEROUS)
}

/// Bytes of the database without its gaps.
fn vacuumed(data: &std::path::Path) -> Result<u64> {
    let status = Command::new(binaries().join("qpq-server"))
        .arg("--data-dir")
        .arg(data)
        .arg("vacuum")
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "vacuum failed");
    Ok(std::fs::metadata(data.join("qpq.db"))?.len())
}

const ACCOUNTS: u32 = 20;
const MESSAGES: u32 = 1000;
const TEXT: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(180);

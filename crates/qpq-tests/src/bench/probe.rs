//! The limits of this machine (its disk's flush, SQLite), and what processes use of it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use qpq_io::db::{self, DbKey, OpenOptions};

use super::median;
use crate::exposition::{self, Sample};
use crate::world::Server;

/// Median milliseconds of a 4 KiB write and its flush.
pub fn flush_milliseconds(folder: &Path) -> Result<f64> {
    let mut file = std::fs::File::create(folder.join("flush-probe"))?;
    let mut times = Vec::new();
    for round in 0..60u64 {
        file.seek(SeekFrom::Start(round * 4096))?;
        let begin = Instant::now();
        file.write_all(&[round as u8; 4096])?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&mut times))
}

/// Inserts of 1 KiB per second, so many in each transaction, into plain SQLite (WAL, synchronous=FULL).
pub fn inserts_per_second(folder: &Path, inserts: u32, batch: u32) -> Result<f64> {
    let mut connection = rusqlite::Connection::open(folder.join("probe.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, payload BLOB)")?;
    let payload = [7u8; 1024];
    let begin = Instant::now();
    for _ in 0..inserts / batch {
        let transaction = connection.transaction()?;
        for _ in 0..batch {
            transaction.prepare_cached("INSERT INTO log (payload) VALUES (?1)")?.execute([&payload])?;
        }
        transaction.commit()?;
    }
    Ok(f64::from(inserts) / begin.elapsed().as_secs_f64())
}

/// What a server and this process, its clients, work from now on.
pub struct Cpu {
    server: u32,
    server_before: f64,
    own_before: f64,
}

impl Cpu {
    pub fn start(server: u32) -> Result<Self> {
        Ok(Self { server, server_before: threads_seconds(server)?, own_before: process_seconds() })
    }

    /// Microseconds of server and clients for each of so many operations.
    pub fn micros_each(&self, operations: f64) -> Result<(f64, f64)> {
        let (server, own) = (threads_seconds(self.server)? - self.server_before, process_seconds() - self.own_before);
        Ok((server * 1e6 / operations, own * 1e6 / operations))
    }
}

/// Seconds for which the threads of another process have run. Those that have ended are left out: servers keep theirs.
fn threads_seconds(pid: u32) -> Result<f64> {
    seconds_of_threads(pid, |_| true)
}

/// Seconds for which the relay has run, which is a thread of this process.
pub fn relay_seconds() -> Result<f64> {
    seconds_of_threads(std::process::id(), |name| name == "relay")
}

fn seconds_of_threads(pid: u32, is_counted: impl Fn(&str) -> bool) -> Result<f64> {
    let mut seconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path();
        let read = |file: &str| std::fs::read_to_string(path.join(file));
        // One that has just ended has neither.
        let (Ok(name), Ok(stat)) = (read("comm"), read("schedstat")) else { continue };
        if is_counted(name.trim()) {
            seconds += stat.split_whitespace().next().context("schedstat")?.parse::<f64>()? / 1e9;
        }
    }
    Ok(seconds)
}

/// Seconds for which this process has run.
pub fn process_seconds() -> f64 {
    seconds(rustix::time::ClockId::ProcessCPUTime)
}

/// Seconds for which the calling thread has run.
pub fn thread_seconds() -> f64 {
    seconds(rustix::time::ClockId::ThreadCPUTime)
}

fn seconds(clock: rustix::time::ClockId) -> f64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// The commits of the store, each with a flush.
pub const FLUSHES: &str = "qpq_store_flush_seconds_count";

/// A count among the server's metrics.
pub fn count(server: &Server, name: &str) -> Result<f64> {
    found(server, name, |_| true)
}

/// A count with a label of this value.
pub fn count_with(server: &Server, name: &str, value: &str) -> Result<f64> {
    found(server, name, |sample| sample.labels.values().any(|label| label == value))
}

fn found(server: &Server, name: &str, is_meant: impl Fn(&Sample) -> bool) -> Result<f64> {
    let families = exposition::parse(&server.http("/metrics")?.1)?;
    let mut samples = families.values().flat_map(|family| &family.samples);
    let sample = samples.find(|sample| sample.name == name && is_meant(sample));
    Ok(sample.with_context(|| format!("no metric {name}"))?.value)
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> Result<f64> {
    status_kib(pid, "VmRSS:")
}

/// The most of it since [`forget_peak`], in KiB.
pub fn peak_kib(pid: u32) -> Result<f64> {
    status_kib(pid, "VmHWM:")
}

/// The peak is what is resident now.
pub fn forget_peak(pid: u32) -> Result<()> {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status_kib(pid: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    Ok(number.parse()?)
}

/// The database of a server that does not run, for preparing what would take too long over the network.
pub fn database(data: &Path) -> Result<rusqlite::Connection> {
    let key = DbKey::load_or_create(&data.join("db.key"), false)?;
    Ok(db::open(
        &data.join("qpq.db"),
        &key,
        &OpenOptions { cache_kib: 64 * 1024, read_only: false, ..OpenOptions::default() },
    )?)
}

//! The limits of this machine: its disk's flush, and SQLite with one insert per transaction.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::median;

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

/// Inserts of 1 KiB per second, each in a transaction of its own, into plain SQLite (WAL, synchronous=FULL).
pub fn single_inserts_per_second(folder: &Path, count: u32) -> Result<f64> {
    let connection = rusqlite::Connection::open(folder.join("probe.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, payload BLOB)")?;
    let payload = [7u8; 1024];
    let begin = Instant::now();
    for _ in 0..count {
        connection.prepare_cached("INSERT INTO log (payload) VALUES (?1)")?.execute([&payload])?;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

/// User and system time of a process and all its threads, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// Linux has told user space the same for ever.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    Ok(number.parse()?)
}

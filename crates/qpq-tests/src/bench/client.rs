//! A profile with many messages: opening it, its last page, a search; and the memory of the program that does that.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use qpq_client::{ConversationId, Options};
use qpq_core::crypto::key_file;
use qpq_core::store::rows::conversation_key;
use qpq_io::db::{self, DbKey, OpenOptions};
use rusqlite::Connection;
use tempfile::tempdir;

use super::people::{self, PATIENCE, person};
use super::probe::{peak_kib, resident_kib};
use super::text::text;
use super::{Axis, Figure, Line, Measured, Plot, Target, median};
use crate::world::{PASSWORD, Server, program};

/// A profile that grows; at each size a process of its own reads it, and bare SQLCipher does.
pub fn run() -> Result<Measured> {
    let (data, folder) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let client = person(&server, folder.path(), "reader")?;
    let notepad = client.direct(client.whoami()?.identity)?;
    let first = client.send_text(notepad, "the first message")?;
    client.wait_sent(first, PATIENCE)?;
    client.wait_settled(PATIENCE)?;
    client.close();
    server.terminate()?;

    let home = folder.path().join("reader");
    let mut sizes = Vec::new();
    let mut present = 1;
    for size in SIZES {
        fill(&mut bare_open(&home)?, present, size)?;
        present = size;
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            ours.push(in_a_process(&home)?);
            bare.push(without_us(&home, notepad)?);
        }
        sizes.push(Size { messages: size, ours: medians(&ours), bare: medians(&bare) });
    }
    let Size { messages, ours, bare } = sizes.last().context("sizes")?;
    let mut figures = Vec::new();
    for (step, (ours, bare)) in STEPS.iter().zip(ours.iter().zip(bare)) {
        figures.push(Figure {
            name: format!("client: {step}, {messages} messages"),
            measured: format!("{ours:.2} ms"),
            limit: format!("{bare:.2} ms, bare SQLCipher"),
            ratio: ours / bare,
            target: Target::AtMost(1.5),
        });
    }
    figures.push(Figure {
        name: format!("client: memory, {messages} messages"),
        measured: format!("{:.1} MiB after that", ours[3]),
        limit: format!("{MEMORY} MiB"),
        ratio: ours[3] / MEMORY,
        target: Target::AtMost(1.0),
    });
    let line = |name: &str, of: &dyn Fn(&Size) -> f64| {
        let points = sizes.iter().map(|size| (f64::from(size.messages), of(size))).collect();
        Line { name: name.into(), points }
    };
    let plot = |title: String, unit: &str, lines| Plot {
        title,
        x: Axis::logarithmic("messages"),
        y: Axis::linear(unit),
        lines,
    };
    let mut plots: Vec<_> = (0..STEPS.len())
        .map(|step| {
            let lines = vec![line("ours", &|size| size.ours[step]), line("bare SQLCipher", &|size| size.bare[step])];
            plot(format!("client: {}", STEPS[step]), "ms", lines)
        })
        .collect();
    plots.push(plot("client: memory".into(), "MiB", vec![line("resident", &|size| size.ours[3])]));
    Ok(Measured { figures, plots })
}

/// Milliseconds of each step with so many messages; and the MiB of our own process after them.
struct Size {
    messages: u32,
    ours: [f64; 4],
    bare: [f64; 3],
}

const STEPS: [&str; 3] = ["open", "last page", "search"];

/// The option that makes the benchmark program the reader of a profile.
pub const OPTION: &str = "--read-profile";

/// The process itself: milliseconds of each step and MiB, separated by spaces.
pub fn read_profile(home: &Path) -> Result<()> {
    let options = Options { home: home.to_owned(), server: None, ca_cert: None, fingerprint: None };
    let mut begin = Instant::now();
    let mut lap = || std::mem::replace(&mut begin, Instant::now()).elapsed().as_secs_f64() * 1000.0;
    let client = people::open(&options)?;
    let open = lap();
    let notepad = client.direct(client.whoami()?.identity)?;
    lap();
    let page = client.history(notepad, None, PAGE, None)?.len();
    let last_page = lap();
    let found = client.history(notepad, None, PAGE, Some(NEEDLE))?.len();
    let search = lap();
    ensure!((page, found) == (PAGE, PAGE.min(found)) && found > 0, "{page} messages, {found} found");
    let own = std::process::id();
    println!("{open} {last_page} {search} {} {}", resident_kib(own)? / 1024.0, peak_kib(own)? / 1024.0);
    client.close();
    Ok(())
}

fn in_a_process(home: &Path) -> Result<[f64; 4]> {
    let mut command = Command::new(program());
    let output = command.arg(OPTION).arg(home).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the reader failed");
    let numbers = String::from_utf8(output.stdout)?;
    let numbers = numbers.split_whitespace().map(|number| Ok(number.parse()?)).collect::<Result<Vec<f64>>>()?;
    Ok(*numbers.first_chunk().context("the reader's numbers")?)
}

/// The same reads by hand, on a database that is opened with the same key and page cache.
fn without_us(home: &Path, notepad: ConversationId) -> Result<[f64; 3]> {
    let mut begin = Instant::now();
    let mut lap = || std::mem::replace(&mut begin, Instant::now()).elapsed().as_secs_f64() * 1000.0;
    let connection = bare_open(home)?;
    let open = lap();
    let order = "ORDER BY ifnull(seq, 9223372036854775807) DESC, number DESC LIMIT ?2";
    let read = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<usize> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map(values, |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?.len())
    };
    let (key, limit) = (conversation_key(notepad), PAGE as i64);
    let page = format!("SELECT text, content FROM messages WHERE conversation = ?1 {order}");
    read(&page, &[&key, &limit])?;
    let last_page = lap();
    let search = format!(
        "SELECT text, content FROM messages
         WHERE conversation = ?1 AND place IN (SELECT rowid FROM words WHERE words MATCH ?3) {order}"
    );
    ensure!(read(&search, &[&key, &limit, &format!("\"{NEEDLE}\"")])? > 0, "nothing is found");
    Ok([open, last_page, lap()])
}

/// The key file has to be unwrapped by anybody; that takes the time that it is meant to take.
fn bare_open(home: &Path) -> Result<Connection> {
    let key = key_file::unwrap(PASSWORD.as_bytes(), &std::fs::read(home.join("profile.key"))?)?;
    let options = OpenOptions { cache_kib: 16 * 1024, read_only: false, ..OpenOptions::default() };
    Ok(db::open(&home.join("qpq.db"), &DbKey::from_bytes(*key), &options)?)
}

/// Copies of the one message that is there, with texts of their own.
fn fill(connection: &mut Connection, present: u32, size: u32) -> Result<()> {
    let transaction = connection.transaction()?;
    let mut copy = transaction.prepare(
        "INSERT INTO messages (conversation, number, id, seq, sender, device, sent_at, received_at, status, held, text,
                               content)
         SELECT conversation, number + ?1, randomblob(16), seq + ?1, sender, device, sent_at + ?1, received_at + ?1, status,
                held, ?2, content
         FROM messages ORDER BY place LIMIT 1",
    )?;
    for number in present..size {
        let rare = if number % 500 == 7 { NEEDLE } else { "nothing" };
        copy.execute((number, format!("{rare} {}", text(number, LENGTH))))?;
    }
    drop(copy);
    Ok(transaction.commit()?)
}

fn medians<const N: usize>(rounds: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|step| median(&mut rounds.iter().map(|round| round[step]).collect::<Vec<_>>()))
}

const SIZES: [u32; 3] = [1000, 10_000, 100_000];
const REPETITIONS: u32 = 5;
const PAGE: usize = 50;
const NEEDLE: &str = "rhinoceros";
/// Bytes of a message: what people write.
const LENGTH: usize = 80;
/// MiB.
const MEMORY: f64 = 64.0;

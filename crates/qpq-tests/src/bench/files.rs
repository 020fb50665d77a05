//! Files up and down through the server, against a bare QUIC stream of sealed chunks.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use qpq_client::{Client, ConversationId, Destination};
use quinn::Connection;
use tempfile::tempdir;

use super::peer::{Peer, SINK, SOURCE, stream};
use super::people::{PATIENCE, person};
use super::probe::{Cpu, forget_peak, peak_kib, resident_kib};
use super::session::block_on;
use super::{Figure, Measured, Target, median};
use crate::world::Server;

/// In turns with the bare stream, so many times.
pub fn run() -> Result<Measured> {
    let (data, folder) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let person = person(&server, folder.path(), "person")?;
    let notepad = person.direct(person.whoami()?.identity)?;
    let path = folder.path().join("file");
    let (mut up, mut down) = (Way::default(), Way::default());
    block_on(async {
        let peer = Peer::start()?;
        let (_endpoint, connection) = peer.connect().await?;
        for round in 0..=ROUNDS {
            // Another content each time: the same one would be there already.
            std::fs::write(&path, content(round)?)?;
            let bare = bare_up(&connection).await?;
            let sent = measured(&server, || upload(&person, notepad, &path))?;
            let received = measured(&server, || download(&person, notepad, sent.0, folder.path()))?;
            let bare_down = bare_down(&connection).await?;
            // The first round fills caches.
            if round > 0 {
                up.add(sent.1, bare);
                down.add(received.1, bare_down);
            }
        }
        Ok(())
    })?;
    let mut figures = up.figures("up");
    figures.extend(down.figures("down"));
    Ok(figures.into())
}

/// What one transfer cost.
struct Transfer {
    seconds: f64,
    server_cpu: f64,
    client_cpu: f64,
    /// At most, above what was resident before.
    server_kib: f64,
    client_kib: f64,
}

fn measured<T>(server: &Server, transfer: impl FnOnce() -> Result<T>) -> Result<(T, Transfer)> {
    let (own, other) = (std::process::id(), server.pid());
    forget_peak(own)?;
    forget_peak(other)?;
    let (own_before, other_before) = (resident_kib(own)?, resident_kib(other)?);
    let (cpu, begin) = (Cpu::start(other)?, Instant::now());
    let outcome = transfer()?;
    let seconds = begin.elapsed().as_secs_f64();
    let (server_cpu, client_cpu) = cpu.micros_each(MIB as f64)?;
    let (server_kib, client_kib) = (peak_kib(other)? - other_before, peak_kib(own)? - own_before);
    Ok((outcome, Transfer { seconds, server_cpu, client_cpu, server_kib, client_kib }))
}

fn upload(person: &Client, notepad: ConversationId, path: &Path) -> Result<u64> {
    let message = person.send_file(notepad, path, None, PATIENCE, &mut |_| ControlFlow::Continue(()))?;
    Ok(person.sent_message(notepad, message)?.context("the message is gone")?.number)
}

fn download(person: &Client, notepad: ConversationId, number: u64, folder: &Path) -> Result<()> {
    let into = Destination { directory: folder.to_owned(), name: Some("back".into()), replace: true };
    person.download(notepad, number, &into, PATIENCE, &mut |_| ControlFlow::Continue(()))?;
    Ok(())
}

/// Seconds that sealing and sending takes.
async fn bare_up(connection: &Connection) -> Result<f64> {
    let (mut sender, mut receiver) = stream(connection, SINK).await?;
    let begin = Instant::now();
    let chunk = vec![7; CHUNK];
    for number in 0..MIB * 1024 * 1024 / CHUNK {
        sender.write_all(&sealed(number, &chunk)?).await?;
    }
    sender.finish()?;
    receiver.read_exact(&mut [0]).await?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Seconds that receiving and opening takes. What comes was never sealed; the work of both is the same.
async fn bare_down(connection: &Connection) -> Result<f64> {
    let (mut sender, mut receiver) = stream(connection, SOURCE).await?;
    let begin = Instant::now();
    let mut chunk = vec![0; CHUNK];
    sender.write_all(&((MIB * 1024 * 1024) as u64).to_le_bytes()).await?;
    for number in 0..MIB * 1024 * 1024 / CHUNK {
        receiver.read_exact(&mut chunk).await?;
        sealed(number, &chunk)?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn sealed(number: usize, chunk: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let cipher = ChaCha20Poly1305::new(&Key::from([7; 32]));
    cipher.encrypt(&Nonce::from(nonce), chunk).map_err(|_| anyhow!("sealing failed"))
}

/// Random enough that nothing is compressed or found again.
fn content(round: u32) -> Result<Vec<u8>> {
    let mut block = vec![0; 1024 * 1024];
    getrandom::fill(&mut block)?;
    block[..4].copy_from_slice(&round.to_le_bytes());
    Ok(block.repeat(MIB))
}

/// One direction.
#[derive(Default)]
struct Way {
    transfers: Vec<Transfer>,
    bare: Vec<f64>,
}

impl Way {
    fn add(&mut self, transfer: Transfer, bare: f64) {
        self.transfers.push(transfer);
        self.bare.push(bare);
    }

    fn figures(&self, way: &str) -> Vec<Figure> {
        let of = |what: fn(&Transfer) -> f64| median(&mut self.transfers.iter().map(what).collect::<Vec<_>>());
        let rate = |seconds: f64| MIB as f64 / seconds;
        let mut ratios: Vec<_> =
            self.transfers.iter().zip(&self.bare).map(|(ours, bare)| bare / ours.seconds).collect();
        let (server, client) = (of(|transfer| transfer.server_kib), of(|transfer| transfer.client_kib));
        vec![
            Figure {
                name: format!("files: {MIB} MiB {way}"),
                measured: format!(
                    "{:.0} MiB/s (CPU µs a MiB: server {:.0}, client {:.0})",
                    rate(of(|transfer| transfer.seconds)),
                    of(|transfer| transfer.server_cpu),
                    of(|transfer| transfer.client_cpu)
                ),
                limit: format!("{:.0} MiB/s, bare QUIC and cipher", rate(median(&mut self.bare.clone()))),
                ratio: median(&mut ratios),
                target: Target::AtLeast(0.6),
            },
            Figure {
                name: format!("files: memory, {way}"),
                measured: format!("server {:.1} MiB, client {:.1} MiB above idle", server / 1024.0, client / 1024.0),
                limit: format!("{MEMORY} MiB each"),
                ratio: server.max(client) / 1024.0 / MEMORY,
                target: Target::AtMost(1.0),
            },
        ]
    }
}

const MIB: usize = 50;
const ROUNDS: u32 = 5;
const CHUNK: usize = 64 * 1024;
const MEMORY: f64 = 8.0;
